/// So many units at once, and so many per second in the long run.
public struct Rate: Sendable {
  public var burst: UInt64
  public var perSecond: UInt64

  public init(burst: UInt64, perSecond: UInt64) {
    self.burst = burst
    self.perSecond = perSecond
  }

  /// Milliseconds that an empty bucket takes to be full again; 0 when it never is.
  public var refillTime: UInt64 { perSecond == 0 ? 0 : (burst &* 1000 &+ perSecond &- 1) / perSecond }
}

/// A token bucket: full at first, refilled at its rate, never above its burst.
public struct TokenBucket {
  private let rate: Rate
  /// Thousandths of a unit, so that slow rates lose nothing to rounding.
  private var level: UInt64
  private var filledAt: UInt64

  public init(_ rate: Rate, now: UInt64) { self.init(rate, holding: rate.burst, now: now) }

  /// With so many units at first, of those that fit.
  public init(_ rate: Rate, holding units: UInt64, now: UInt64) {
    self.rate = rate
    level = min(units, rate.burst) &* 1000
    filledAt = now
  }

  /// Takes `cost` units if they are there. `now` in milliseconds.
  public mutating func take(_ cost: UInt64 = 1, now: UInt64) -> Bool {
    refill(now)
    guard level >= cost &* 1000 else { return false }
    level -= cost &* 1000
    return true
  }

  /// Takes one unit if one is there and the bucket holds more than `reserve` thousandths of its capacity.
  public mutating func take(above reserve: UInt64, now: UInt64) -> Bool {
    refill(now)
    guard level >= 1000, level > rate.burst &* reserve else { return false }
    level -= 1000
    return true
  }

  private mutating func refill(_ now: UInt64) {
    let elapsed = now > filledAt ? now - filledAt : 0
    filledAt = max(now, filledAt)
    // A gap longer than a full refill counts as one, which also keeps the product small.
    level = min(rate.burst &* 1000, level &+ min(elapsed, rate.refillTime) &* rate.perSecond)
  }
}
