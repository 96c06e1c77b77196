import HyperEncoding

/// What a packet may be charged to.
public protocol BudgetSource: Hashable {
  /// Loopback is exempt: it cannot be forged from outside, and whole test networks live there.
  var isExempt: Bool { get }
}

extension IPv4Address: BudgetSource {
  public var isExempt: Bool { isLoopback }
}

extension Endpoint: BudgetSource {
  package var isLoopback: Bool { host.isLoopback }
  public var isExempt: Bool { isLoopback }
}

/// What one source address may make this node do.
public typealias SourceBudget = KeyedBudget<IPv4Address>

/// What one source may make this node do, for a bounded number of sources: a token bucket for each of them, and
/// optionally one for all of them together (dht-rpc.md C-11, hyperdht.md 17).
public struct KeyedBudget<Source: BudgetSource> {
  public struct Policy: Sendable {
    public var perSource: Rate
    /// Over all sources together; `nil` for no such bound.
    public var total: Rate?
    /// Sources remembered per generation, of which there are two.
    public var maximumSources: Int

    public init(perSource: Rate, total: Rate? = nil, maximumSources: Int) {
      self.perSource = perSource
      self.total = total
      self.maximumSources = maximumSources
    }
  }

  @usableFromInline let policy: Policy
  @usableFromInline var total: TokenBucket?
  @usableFromInline var sources: TwoGenerationCache<Source, TokenBucket>

  public init(_ policy: Policy, now: UInt64) {
    self.policy = policy
    total = policy.total.map { TokenBucket($0, now: now) }
    // A forgotten source starts full again: twice the time of a refill makes sure that it would be full by then.
    sources = TwoGenerationCache(
      .init(
        maximumEntries: policy.maximumSources,
        maximumAge: max(2 * policy.perSource.refillTime, Limits.minimumSourceMemory)), now: now)
  }

  public var trackedCount: Int { sources.count }

  /// Whether `source` may cause `cost` more units of work now (milliseconds). The total is charged only with what the
  /// source's own bucket has let through, and a source is remembered only if the total has room, so that a flood of
  /// invented sources makes this node forget real ones no faster than that.
  @inlinable public mutating func take(_ source: Source, cost: UInt64 = 1, now: UInt64) -> Bool {
    if source.isExempt { return true }
    var total = total
    if total?.take(cost, now: now) == false { return false }
    var bucket = sources.peek(source, now: now) ?? newBucket(now)
    let isAllowed = bucket.take(cost, now: now)
    sources.set(source, bucket, now: now)
    guard isAllowed else { return false }
    self.total = total
    return true
  }

  /// The same for one unit, where `reserve` thousandths of the source's bucket are for other work.
  public mutating func take(_ source: Source, above reserve: UInt64, now: UInt64) -> Bool {
    if source.isExempt { return true }
    var total = total
    if total?.take(now: now) == false { return false }
    var bucket = sources.peek(source, now: now) ?? newBucket(now)
    let isAllowed = bucket.take(above: reserve, now: now)
    sources.set(source, bucket, now: now)
    guard isAllowed else { return false }
    self.total = total
    return true
  }

  /// Sources that came faster than they could be remembered may be old ones: these get no second burst.
  @inlinable func newBucket(_ now: UInt64) -> TokenBucket {
    let rate = policy.perSource
    return TokenBucket(rate, holding: sources.isCrowded(at: now) ? max(rate.perSecond, 1) : rate.burst, now: now)
  }
}
