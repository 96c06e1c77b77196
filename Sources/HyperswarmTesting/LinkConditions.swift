/// What happens to the packets on their way. Equal seeds and equal conditions give equal runs. Durations are whole
/// microseconds: the rest of one is cut off, a negative one counts as zero, and one above 35,000 years as these.
public struct LinkConditions: Sendable, Hashable {
  /// One way, zero by default.
  public var latency: Duration
  /// Added to the latency: uniform between zero and this, one millisecond by default. Packets may overtake each other
  /// by it.
  public var jitter: Duration
  /// Probability between 0 and 1 that a packet is lost.
  public var loss: Double
  /// Probability between 0 and 1 that a packet arrives twice; the copy has a delay of its own.
  public var duplication: Double
  /// Probability between 0 and 1 that a packet is held back by `reorderingDelay`, so that later ones overtake it.
  public var reordering: Double
  /// How long such a packet is held back, 10 milliseconds by default.
  public var reorderingDelay: Duration

  /// The defaults are a quick and clean network: up to one millisecond, no loss.
  public init(
    latency: Duration = .zero, jitter: Duration = .milliseconds(1), loss: Double = 0, duplication: Double = 0,
    reordering: Double = 0, reorderingDelay: Duration = .milliseconds(10)
  ) {
    self.latency = latency
    self.jitter = jitter
    self.loss = loss
    self.duplication = duplication
    self.reordering = reordering
    self.reorderingDelay = reorderingDelay
  }
}

/// The conditions of a link in whole microseconds.
struct Link {
  private let latency: UInt64
  private let jitter: UInt64
  private let reorderingDelay: UInt64
  private let reordering: Double
  let loss: Double
  let duplication: Double

  init(_ conditions: LinkConditions) {
    latency = conditions.latency.microseconds
    jitter = conditions.jitter.microseconds
    reorderingDelay = conditions.reorderingDelay.microseconds
    reordering = conditions.reordering
    loss = conditions.loss
    duplication = conditions.duplication
  }

  func delay(_ random: inout SeededRandom) -> UInt64 {
    let delay = latency &+ random.next() % (jitter &+ 1)
    return random.chance(reordering) ? delay &+ reorderingDelay : delay
  }
}

extension Duration {
  /// 35,000 years: what it takes for "never" can be added to the clock.
  private static let longestVirtual = Duration.seconds(1 << 40)

  /// Whole microseconds, 0 for a negative duration, `longestVirtual` at most.
  var microseconds: UInt64 {
    let (seconds, attoseconds) = min(max(self, .zero), .longestVirtual).components
    return UInt64(seconds) * 1_000_000 + UInt64(attoseconds / 1_000_000_000_000)
  }

  /// The same, rounded up.
  var microsecondsRoundedUp: UInt64 {
    let (seconds, attoseconds) = min(max(self, .zero), .longestVirtual).components
    return UInt64(seconds) * 1_000_000 + UInt64((attoseconds + 999_999_999_999) / 1_000_000_000_000)
  }
}
