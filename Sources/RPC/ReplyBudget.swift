import HyperCollections
import HyperEncoding

/// Which requests are answered (dht-rpc.md C-11).
///
/// The source of a request may be forged: what it costs is charged to the IP address that it names, and to all such
/// sources together. A source that has shown that it gets what is sent to it (it answered a request, or echoed a token)
/// has a bucket of its own, by IP address and port, which packets in the name of another port cannot drain.
struct ReplyBudget {
  static let policy = SourceBudget.Policy(
    perSource: Rate(burst: Limits.requestBurst, perSecond: Limits.requestsPerSecond),
    total: Rate(burst: Limits.totalRequestBurst, perSecond: Limits.totalRequestsPerSecond),
    maximumSources: Limits.trackedSources / 2)

  private var unproven: SourceBudget
  private var proven: TwoGenerationCache<Endpoint, TokenBucket>

  init(now: UInt64) {
    unproven = SourceBudget(ReplyBudget.policy, now: now)
    proven = TwoGenerationCache(
      .init(
        maximumEntries: Limits.provenSources / 2, entriesPerHost: Limits.provenSourcesPerHost,
        maximumAge: Limits.proofAge), now: now)
  }

  /// Unproven ones.
  var trackedCount: Int { unproven.trackedCount }

  func isProven(_ source: Endpoint, now: UInt64) -> Bool { proven.peek(source, now: now) != nil }

  /// `source` gets what is sent to it.
  mutating func prove(_ source: Endpoint, now: UInt64) {
    guard proven.get(source, now: now) == nil else { return }
    proven.set(source, TokenBucket(ReplyBudget.policy.perSource, now: now), host: source.host, now: now)
  }

  /// Whether a request of this source is answered now (milliseconds). When its own bucket is empty it is one of those
  /// that share its IP address.
  /// - Parameter leaving: thousandths of what that address has that are for other requests.
  mutating func take(_ source: Endpoint, now: UInt64, leaving reserve: () -> UInt64 = { 0 }) -> Bool {
    if source.isLoopback { return true }
    if var bucket = proven.get(source, now: now) {
      let isAllowed = bucket.take(now: now)
      proven.set(source, bucket, host: source.host, now: now)
      if isAllowed { return true }
    }
    return unproven.take(source.host, above: reserve(), now: now)
  }
}

/// Requests that this node has forwarded for others: an answer that comes back through it is part of an exchange that
/// has been charged already, and has the transaction id and target of the request, which only its path knows.
struct ForwardedRequests {
  struct Key: Hashable {
    var tid: UInt16
    var target: Bytes32?
  }

  private struct Entry {
    var requester: Endpoint
    var answers: Int
  }

  private var entries: TwoGenerationCache<Key, Entry>

  init(now: UInt64) {
    entries = TwoGenerationCache(
      .init(maximumEntries: Limits.forwardedRequests / 2, maximumAge: Limits.forwardedRequestAge), now: now)
  }

  mutating func insert(_ key: Key, from requester: Endpoint, now: UInt64) {
    let before = entries.peek(key, now: now)
    let left = before?.requester == requester ? before?.answers ?? 0 : 0
    let answers = min(left + Limits.answersPerForward, Limits.answersPerRequest)
    entries.set(key, Entry(requester: requester, answers: answers), now: now)
  }

  /// The requester that a message from `source` may be the answer for; each forward allows a few.
  mutating func takeAnswer(_ key: Key, from source: Endpoint, now: UInt64) -> Endpoint? {
    guard var entry = entries.peek(key, now: now), entry.requester != source, entry.answers > 0 else { return nil }
    entry.answers -= 1
    entries.set(key, entry, now: now)
    return entry.requester
  }
}
