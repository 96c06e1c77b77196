/// What a bounded store holds since its last rotation.
package protocol CacheGeneration {
  /// An empty generation.
  init()
}

/// A young and an old generation of a bounded store (hyperdht.md 5.1 and 12.1).
///
/// A rotation forgets the old generation and makes the young one the old one. It happens when the store finds the young
/// generation full, and every ceil(2/3 of the maximum age), unless a rotation by size has happened since the last of
/// those ticks. So what is written once and never again lives between 2/3 and 4/3 of the age.
///
/// The time (milliseconds, monotonic) comes with every call.
package struct TwoGenerations<Generation: CacheGeneration> {
  package var young = Generation()
  package var old = Generation()
  /// Milliseconds between ticks; 0 for none.
  @usableFromInline let interval: UInt64
  @usableFromInline var nextTick: UInt64
  @usableFromInline var hasRotatedBySize = false
  /// Rotations so far.
  package var rotations: UInt64 = 0

  /// `maximumAge` in milliseconds; 0 for no age.
  @inlinable package init(maximumAge: UInt64, now: UInt64) {
    interval = (maximumAge &* 2 &+ 2) / 3
    nextTick = now &+ interval
  }

  @inlinable package mutating func rotateBySize() {
    rotate()
    hasRotatedBySize = true
  }

  /// Rotates as often as ticks have passed.
  @inlinable package mutating func expire(_ now: UInt64) {
    let ticks = ticksPassed(at: now)
    guard ticks > 0 else { return }
    for _ in 0..<rotationsDue(ticks) { rotate() }
    nextTick = nextTick &+ ticks &* interval
    hasRotatedBySize = false
  }

  /// Since the last tick.
  package func hasRotatedBySize(at now: UInt64) -> Bool { hasRotatedBySize && ticksPassed(at: now) == 0 }

  /// Rotations that ``expire(_:)`` would do now, 0...2; two of them forget everything.
  @inlinable package func rotationsDue(at now: UInt64) -> Int { rotationsDue(ticksPassed(at: now)) }

  /// Forgets everything.
  @inlinable package mutating func removeAll() {
    young = Generation()
    old = Generation()
    rotations &+= 1
  }

  @usableFromInline func ticksPassed(at now: UInt64) -> UInt64 {
    guard interval > 0, now >= nextTick else { return 0 }
    return 1 &+ (now &- nextTick) / interval
  }

  @usableFromInline func rotationsDue(_ ticks: UInt64) -> Int {
    guard ticks > 0 else { return 0 }
    return Int(min(hasRotatedBySize ? ticks &- 1 : ticks, 2))
  }

  @inlinable mutating func rotate() {
    old = young
    young = Generation()
    rotations &+= 1
  }
}
