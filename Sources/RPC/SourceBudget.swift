import HyperEncoding

/// Token buckets per source address (dht-rpc.md C-11): bounds what a forged source address can make us send to its
/// owner. Remembers a bounded number of sources: two generations, the older one is dropped when the newer one is full.
struct SourceBudget {
  private struct Bucket {
    /// In thousandths, at time `updated` (milliseconds).
    var level: UInt64
    var updated: UInt64
  }

  private let perSecond: UInt64
  private let burst: UInt64
  private var recent: [IPv4Address: Bucket] = [:]
  private var older: [IPv4Address: Bucket] = [:]

  init(perSecond: UInt64, burst: UInt64) {
    self.perSecond = perSecond
    self.burst = burst
  }

  var trackedCount: Int { recent.count + older.count }

  /// Takes one unit; `false` when the source has used its budget up. `now` in milliseconds.
  mutating func take(_ source: IPv4Address, now: UInt64) -> Bool {
    // Cannot be forged from outside, and hosts whole test networks.
    if source.value >> 24 == 127 { return true }
    var bucket = recent[source] ?? older[source] ?? Bucket(level: burst * 1000, updated: now)
    let elapsed = min(now &- bucket.updated, 3_600_000)
    bucket.level = min(bucket.level + elapsed * perSecond, burst * 1000)
    bucket.updated = now
    let isAllowed = bucket.level >= 1000
    if isAllowed { bucket.level -= 1000 }
    if recent[source] == nil, recent.count >= RPCLimits.trackedSources / 2 {
      older = recent
      recent = [:]
    }
    recent[source] = bucket
    return isAllowed
  }
}
