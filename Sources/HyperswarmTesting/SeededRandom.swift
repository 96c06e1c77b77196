/// SplitMix64: small, seeded, the same on every machine. Not for secrets.
public struct SeededRandom: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// A generator that gives the same numbers for the same seed.
  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  package mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

  /// `true` with a probability between 0 and 1. Draws nothing for a probability of 0.
  mutating func chance(_ probability: Double) -> Bool {
    // 53 bits are what a double holds exactly: the result is the same on every processor.
    probability > 0 && Double(next() >> 11) < probability * 9_007_199_254_740_992
  }
}
