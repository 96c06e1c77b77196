/// What was refused lately, for want of room: of messages that look alike, one that comes again has a sender that waits
/// for its answer. A flood of invented ones does not come again, or is half as wide.
public struct Refusals<Key: Hashable> {
  /// Milliseconds after which a copy counts: before them a sender that waits does not repeat itself.
  @usableFromInline let leastAge: UInt64
  @usableFromInline var times: TwoGenerationCache<Key, UInt64>

  /// - Parameters:
  ///   - maximumEntries: per generation, of which there are two.
  ///   - leastAge: and `memory`, milliseconds.
  @inlinable public init(maximumEntries: Int, leastAge: UInt64, memory: UInt64, now: UInt64) {
    self.leastAge = leastAge
    times = TwoGenerationCache(.init(maximumEntries: maximumEntries, maximumAge: memory), now: now)
  }

  public var count: Int { times.count }

  /// Whether it was refused before, long enough ago.
  @inlinable public func isAgain(_ key: Key, now: UInt64) -> Bool {
    times.peek(key, now: now).map { now >= $0 + leastAge } ?? false
  }

  /// Refused now; the first time counts.
  @inlinable public mutating func insert(_ key: Key, now: UInt64) {
    if times.peek(key, now: now) == nil { times.set(key, now, now: now) }
  }
}
