/// What a bounded store holds since its last rotation.
public protocol CacheGeneration {
  /// An empty generation.
  init()
}

/// A young and an old generation of a bounded store (hyperdht.md 5.1 and 12.1).
///
/// A rotation forgets the old generation and makes the young one the old one. It happens when the store finds the young
/// generation full, and every ceil(2/3 of the maximum age), unless a rotation by size has happened since the last of
/// those ticks. So what is written once and never again lives between 2/3 and 4/3 of the age.
///
/// The time (milliseconds, monotonic) comes with every call. Public, as everything on the way of a datagram in this
/// module: the compiler makes no versions of `package` generics for the types of other modules.
public struct TwoGenerations<Generation: CacheGeneration> {
  public var young = Generation()
  public var old = Generation()
  /// Milliseconds between ticks; 0 for none.
  @usableFromInline let interval: UInt64
  @usableFromInline var nextTick: UInt64
  @usableFromInline var hasRotatedBySize = false
  /// Rotations so far.
  public var rotations: UInt64 = 0

  /// `maximumAge` in milliseconds; 0 for no age.
  @inlinable public init(maximumAge: UInt64, now: UInt64) {
    interval = (maximumAge &* 2 &+ 2) / 3
    nextTick = now &+ interval
  }

  @inlinable public mutating func rotateBySize() {
    rotate()
    hasRotatedBySize = true
  }

  /// Rotates as often as ticks have passed.
  @inlinable public mutating func expire(_ now: UInt64) {
    let ticks = ticksPassed(at: now)
    guard ticks > 0 else { return }
    for _ in 0..<rotationsDue(ticks) { rotate() }
    nextTick = nextTick &+ ticks &* interval
    hasRotatedBySize = false
  }

  /// Since the last tick.
  @inlinable public func hasRotatedBySize(at now: UInt64) -> Bool { hasRotatedBySize && ticksPassed(at: now) == 0 }

  /// Rotations that ``expire(_:)`` would do now, 0...2; two of them forget everything.
  @inlinable public func rotationsDue(at now: UInt64) -> Int { rotationsDue(ticksPassed(at: now)) }

  /// Forgets everything.
  @inlinable public mutating func removeAll() {
    young = Generation()
    old = Generation()
    rotations &+= 1
  }

  @inlinable func ticksPassed(at now: UInt64) -> UInt64 {
    guard interval > 0, now >= nextTick else { return 0 }
    return 1 &+ (now &- nextTick) / interval
  }

  @inlinable func rotationsDue(_ ticks: UInt64) -> Int {
    guard ticks > 0 else { return 0 }
    return Int(min(hasRotatedBySize ? ticks &- 1 : ticks, 2))
  }

  @inlinable mutating func rotate() {
    old = young
    young = Generation()
    rotations &+= 1
  }
}
