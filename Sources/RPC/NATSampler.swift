import HyperEncoding

/// Finds the public address that most of the recent peers agree on (dht-rpc.md 14).
///
/// `host` and `port` are what a majority of up to 16 observations says: port 0 when only the host is agreed on, host
/// `nil` when not even that.
final class NATSampler {
  private final class Counter {
    let host: IPv4Address
    let port: UInt16
    var hits = 0

    init(host: IPv4Address, port: UInt16) {
      self.host = host
      self.port = port
    }
  }

  private struct Sample {
    var pair: Counter
    var host: Counter
  }

  private(set) var host: IPv4Address?
  private(set) var port: UInt16 = 0
  /// Observations in the ring, at most 16.
  var count: Int { ring.count }
  private(set) var threshold = 0

  private var ring: [Sample] = []
  private var oldest = 0
  private var bestPair: Counter?
  private var bestHost: Counter?

  var isRandomized: Bool { host != nil && port == 0 }

  /// Adds an observation; returns the hits of its address.
  @discardableResult
  func add(_ endpoint: Endpoint) -> Int {
    var pair: Counter?
    var hostCounter: Counter?
    for back in 0..<min(Limits.natLookback, ring.count) {
      let sample = ring[newestIndex(back)]
      if pair == nil, sample.pair.host == endpoint.host, sample.pair.port == endpoint.port { pair = sample.pair }
      if hostCounter == nil, sample.host.host == endpoint.host { hostCounter = sample.host }
    }
    let touchedPair = pair ?? Counter(host: endpoint.host, port: endpoint.port)
    let touchedHost = hostCounter ?? Counter(host: endpoint.host, port: 0)
    touchedPair.hits += 1
    touchedHost.hits += 1

    let sample = Sample(pair: touchedPair, host: touchedHost)
    if ring.count < Limits.natSamples {
      ring.append(sample)
      threshold = ring.count - (ring.count < 4 ? 0 : ring.count < 8 ? 1 : ring.count < 12 ? 2 : 3)
    } else {
      ring[oldest].pair.hits -= 1
      ring[oldest].host.hits -= 1
      ring[oldest] = sample
      oldest = (oldest + 1) % Limits.natSamples
    }

    // Replaced only by a counter that has just been touched, never re-elected when its hits drop.
    if (bestPair?.hits ?? -1) < touchedPair.hits { bestPair = touchedPair }
    if (bestHost?.hits ?? -1) < touchedHost.hits { bestHost = touchedHost }

    if let bestPair, bestPair.hits >= threshold {
      host = bestPair.host
      port = bestPair.port
    } else if let bestHost, bestHost.hits >= threshold {
      host = bestHost.host
      port = 0
    } else {
      host = nil
      port = 0
    }
    return touchedPair.hits
  }

  /// Position of the newest sample (0), the one before (1), ...
  private func newestIndex(_ back: Int) -> Int {
    ring.count < Limits.natSamples
      ? ring.count - 1 - back : (oldest + Limits.natSamples - 1 - back) % Limits.natSamples
  }
}
