import HyperCollections
import HyperEncoding

/// Smoothed round-trip time and its variation (RFC 6298 section 2), in microseconds.
struct RoundTripEstimate {
  let smoothed: UInt64
  let variation: UInt64

  /// A first measurement, or a further one with gains of 1/8 and 1/4.
  init(_ before: RoundTripEstimate? = nil, adding sample: UInt64) {
    guard let before else {
      smoothed = sample
      variation = sample / 2
      return
    }
    let error = sample > before.smoothed ? sample - before.smoothed : before.smoothed - sample
    variation = (3 * before.variation + error) / 4
    smoothed = (7 * before.smoothed + sample) / 8
  }

  /// `SRTT + 4 RTTVAR`, rounded up to milliseconds.
  var timeout: UInt64 { (smoothed + 4 * variation + 999) / 1000 }
}

/// How long answers take: per path, and over all paths for nodes that have not been asked yet (dht-rpc.md 11.4
/// and dht-rpc.md C-3).
///
/// Bounded by two generations of paths. No jitter: equal events give equal timeouts.
struct RoundTripTimes {
  private struct Path {
    var estimate: RoundTripEstimate
    /// Milliseconds.
    var updated: UInt64
  }

  /// Nodes that a query has ended without.
  private var silent = ExpiringKeys<Endpoint>(limit: Limits.silentPaths)
  private var paths = TwoGenerationCache<Endpoint, Path>(
    .init(maximumEntries: Limits.trackedPaths / 2, maximumAge: 0), now: 0)
  private var overall: RoundTripEstimate?

  var trackedCount: Int { paths.count }

  /// A measurement, in microseconds; `now` in milliseconds. Longer ones than any timeout count as that: a node that
  /// stalls its answers must not make us wait for minutes.
  mutating func add(_ microseconds: UInt64, of endpoint: Endpoint, now: UInt64) {
    let sample = min(microseconds, Limits.maximumTimeout * 1000)
    overall = RoundTripEstimate(overall, adding: sample)
    let estimate = RoundTripEstimate(known(endpoint, now: now)?.estimate, adding: sample)
    paths.set(endpoint, Path(estimate: estimate, updated: now), now: now)
  }

  // MARK: Silence

  /// Several transmissions to the node stayed without an answer; `now` in milliseconds.
  mutating func markSilent(_ endpoint: Endpoint, now: UInt64) {
    silent.insert(endpoint, until: now &+ Limits.silentMemory &+ 1)
  }

  mutating func heard(_ endpoint: Endpoint) { silent.remove(endpoint) }

  /// Whether the node was silent lately and has not been heard since.
  func isSilent(_ endpoint: Endpoint, now: UInt64) -> Bool {
    silent.contains(endpoint, at: now)
  }

  private func known(_ endpoint: Endpoint, now: UInt64) -> Path? {
    guard let path = paths.peek(endpoint, now: now), now &- path.updated <= Limits.pathMemory else { return nil }
    return path
  }

  /// Milliseconds to wait for the answer to a first transmission. Of a path that is not known: what all the others
  /// suggest, never more than the fixed second and never less than half of it; without any measurement the second.
  func timeout(for endpoint: Endpoint, now: UInt64) -> UInt64 {
    if let path = known(endpoint, now: now) {
      return min(max(path.estimate.timeout, Limits.minimumTimeout), Limits.maximumTimeout)
    }
    guard let overall else { return Limits.requestTimeout }
    return min(max(overall.timeout, Limits.minimumUnknownTimeout), Limits.requestTimeout)
  }
}
