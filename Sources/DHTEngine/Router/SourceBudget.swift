import HyperEncoding

/// A token bucket: `burst` units at once, `perSecond` in the long run.
struct TokenBucket {
  private let burst: UInt64
  private let perSecond: UInt64
  /// Thousandths of a unit.
  private var level: UInt64
  private var filledAt: UInt64

  init(burst: UInt64, perSecond: UInt64, now: UInt64) {
    self.burst = burst
    self.perSecond = perSecond
    level = burst &* 1000
    filledAt = now
  }

  /// Takes `cost` units if they are there. `now` in milliseconds.
  mutating func take(_ cost: UInt64, now: UInt64) -> Bool {
    let capacity = burst &* 1000
    let elapsed = now > filledAt ? now - filledAt : 0
    filledAt = max(now, filledAt)
    // A gap longer than a full refill counts as one, which also keeps the product small.
    let refill = perSecond == 0 ? 0 : min(elapsed, capacity / perSecond &+ 1) &* perSecond
    level = min(capacity, level &+ refill)
    guard level >= cost &* 1000 else { return false }
    level -= cost &* 1000
    return true
  }
}

/// A token bucket per source host, for a bounded number of hosts, and one for all of them together.
struct SourceBudget {
  private let burst: UInt64
  private let perSecond: UInt64
  private var total: TokenBucket?
  private var hosts: TwoGenerationCache<IPv4Address, TokenBucket>

  init(
    burst: UInt64, perSecond: UInt64, total: (burst: UInt64, perSecond: UInt64)? = nil, maximumHosts: Int, now: UInt64
  ) {
    self.burst = burst
    self.perSecond = perSecond
    self.total = total.map { TokenBucket(burst: $0.burst, perSecond: $0.perSecond, now: now) }
    // A forgotten host starts full again; the age makes sure that it would be full by then.
    let refillTime = perSecond == 0 ? 0 : (burst &* 1000) / perSecond &* 2
    hosts = TwoGenerationCache(
      limits: .init(maximumEntries: maximumHosts, maximumAge: max(refillTime, 60_000)), now: now)
  }

  /// Whether `host` may cause `cost` more units of work now (milliseconds). Loopback always may.
  mutating func take(_ host: IPv4Address, cost: UInt64 = 1, now: UInt64) -> Bool {
    if host.isLoopback { return true }
    var bucket = hosts.get(host, now: now) ?? TokenBucket(burst: burst, perSecond: perSecond, now: now)
    let allowed = bucket.take(cost, now: now)
    hosts.set(host, bucket, now: now)
    guard allowed else { return false }
    return total?.take(cost, now: now) ?? true
  }
}
