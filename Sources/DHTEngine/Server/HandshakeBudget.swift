import HyperCollections
import HyperEncoding

/// The way on which a first message has come. Each has a share of the work and of the table that the others cannot use
/// up.
enum HandshakeOrigin: Int, CaseIterable {
  /// From the client itself.
  case direct
  /// Over a node that the server is announced at, now or until lately.
  case relay
  /// Over any other node: there is little reason to ask one.
  case stranger

  /// Sessions of unproven clients that always find a place.
  var reserve: Int {
    switch self {
    case .direct, .relay: Limits.Server.reservedHandshakes
    case .stranger: Limits.Server.reservedStrangerHandshakes
    }
  }

  fileprivate var total: Rate {
    switch self {
    case .direct: Rate(burst: Limits.Server.directBurst, perSecond: Limits.Server.directPerSecond)
    case .relay: Rate(burst: Limits.Server.relayedBurst, perSecond: Limits.Server.relayedPerSecond)
    case .stranger: Rate(burst: Limits.Server.strangerBurst, perSecond: Limits.Server.strangersPerSecond)
    }
  }

  /// Of messages that were refused and come again: a quarter of the others.
  fileprivate var repetitions: Rate { Rate(burst: total.burst / 4, perSecond: total.perSecond / 4) }

  /// Of one node that passes messages on.
  fileprivate var perNode: Rate {
    self == .relay
      ? Rate(burst: Limits.Server.relayBurst, perSecond: Limits.Server.relayPerSecond)
      : Rate(burst: Limits.Server.handshakeBurst, perSecond: Limits.Server.handshakesPerSecond)
  }
}

/// Tells first messages apart: the end of one is the tag of its cipher.
struct FirstMessageTag: Hashable {
  private var low: UInt64 = 0
  private var high: UInt64 = 0

  init(_ message: [UInt8]) {
    for byte in message.suffix(16) {
      high = high << 8 | low >> 56
      low = low << 8 | UInt64(byte)
    }
  }
}

/// The time that new first messages of one origin take (microseconds). A machine that is slow, or has other work, has
/// fewer handshakes, and not ever more of them waiting: what clients that have got in send waits behind them.
struct WorkShare {
  private var level = WorkShare.capacity
  private var filledAt: UInt64
  private static let capacity = Int64(Limits.Server.workBurst)

  init(now: UInt64) { filledAt = now }

  /// Whether more than `reserve` thousandths of the burst are left.
  mutating func hasRoom(above reserve: Int64, now: UInt64) -> Bool {
    if now > filledAt {
      let elapsed = min(now - filledAt, Limits.Server.workBurst * 1_000_000 / Limits.Server.workPerSecond)
      level = min(level + Int64(elapsed * Limits.Server.workPerSecond / 1_000_000), WorkShare.capacity)
      filledAt = now
    }
    return level * 1000 > WorkShare.capacity * reserve
  }

  /// What is not there is owed, up to a burst.
  mutating func spend(_ microseconds: UInt64) {
    level = max(level - Int64(clamping: microseconds), -WorkShare.capacity)
  }
}

/// Which new first messages are looked at (hyperdht.md B-1): the client that is claimed is charged, then the node that
/// sent the packet, with what all of its kind may cause together. Nothing is spent on a message that is refused.
///
/// A refused one that comes again is likely to have a client that waits: such messages have a rate of their own, and
/// the last part of the time.
struct HandshakeBudget {
  private var repeaters: [SourceBudget]
  private var refusals: [Refusals<FirstMessageTag>]
  private var work: [WorkShare]
  /// What a handshake takes of late, microseconds: the unit of `clients` and `senders`.
  private var cost = Limits.Server.handshakeWork
  /// By origin: what one overloads leaves the hosts of the others as they were. A relay's word for a client must not
  /// charge one that comes itself.
  private var clients: [SourceBudget]
  private var senders: [SourceBudget]

  init(now: UInt64) {
    let perClient = Rate(burst: Limits.Server.handshakeBurst, perSecond: Limits.Server.handshakesPerSecond).asWork
    let perRepeater = Rate(burst: Limits.Server.repetitionBurst, perSecond: Limits.Server.repetitionsPerSecond)
    clients = HandshakeOrigin.allCases.map { origin in
      SourceBudget(
        .init(
          perSource: perClient, total: origin == .direct ? origin.total.asWork : nil,
          maximumSources: Limits.Server.trackedClientHosts), now: now)
    }
    senders = HandshakeOrigin.allCases.map { origin in
      SourceBudget(
        .init(
          perSource: origin.perNode.asWork, total: origin.total.asWork,
          maximumSources: Limits.Server.trackedClientHosts), now: now)
    }
    repeaters = HandshakeOrigin.allCases.map { origin in
      SourceBudget(
        .init(
          perSource: perRepeater, total: origin.repetitions, maximumSources: Limits.Server.trackedClientHosts), now: now
      )
    }
    refusals = HandshakeOrigin.allCases.map { _ in
      Refusals(
        maximumEntries: Limits.Server.trackedRefusals, leastAge: Limits.Router.refusalAge,
        memory: Limits.Router.refusalMemory, now: now)
    }
    work = HandshakeOrigin.allCases.map { _ in WorkShare(now: now * 1000) }
  }

  /// `now` in microseconds. What an admitted one takes is to be told (``spent(_:_:)``).
  mutating func admits(_ request: HandshakeRequest, _ origin: HandshakeOrigin, now: UInt64) -> Bool {
    let index = origin.rawValue
    let milliseconds = now / 1000
    // Loopback is exempt, as from the rates.
    let isExempt = request.from.isLoopback
    if isExempt || work[index].hasRoom(above: Limits.Server.workForRepetitions, now: now),
      take(origin, client: request.chargedClient, sender: request.from.host, now: milliseconds)
    {
      return true
    }
    let tag = FirstMessageTag(request.noise)
    if refusals[index].isAgain(tag, now: milliseconds), isExempt || work[index].hasRoom(above: 0, now: now),
      repeaters[index].take(request.chargedClient, now: milliseconds)
    {
      return true
    }
    refusals[index].insert(tag, now: milliseconds)
    return false
  }

  mutating func spent(_ microseconds: UInt64, _ origin: HandshakeOrigin) {
    work[origin.rawValue].spend(microseconds)
    let one = min(microseconds, Limits.Server.maximumHandshakeWork)
    cost = max(Limits.Server.handshakeWork, (7 * cost + one) / 8)
  }

  mutating func take(_ origin: HandshakeOrigin, client: IPv4Address, sender: IPv4Address, now: UInt64) -> Bool {
    // Relays have a share of the time (`work`); clients that wait behind them are many.
    let cost = origin == .relay ? Limits.Server.handshakeWork : cost
    guard clients[origin.rawValue].take(client, cost: cost, now: now) else { return false }
    return origin == .direct || senders[origin.rawValue].take(sender, cost: cost, now: now)
  }
}

extension Rate {
  /// In microseconds of work instead of handshakes.
  fileprivate var asWork: Rate {
    Rate(burst: burst * Limits.Server.handshakeWork, perSecond: perSecond * Limits.Server.handshakeWork)
  }
}
