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

  /// Of one node that passes messages on.
  fileprivate var perNode: Rate {
    self == .relay
      ? Rate(burst: Limits.Server.relayBurst, perSecond: Limits.Server.relayPerSecond)
      : Rate(burst: Limits.Server.handshakeBurst, perSecond: Limits.Server.handshakesPerSecond)
  }
}

/// Which new first messages are looked at (hyperdht.md B-1): the client that is claimed is charged, then the node that
/// sent the packet, with what all of its kind may cause together. Nothing is spent on a message that is refused.
struct HandshakeBudget {
  /// By origin: what one overloads leaves the hosts of the others as they were. A relay's word for a client must not
  /// charge one that comes itself.
  private var clients: [SourceBudget]
  private var senders: [SourceBudget]

  init(now: UInt64) {
    let perClient = Rate(burst: Limits.Server.handshakeBurst, perSecond: Limits.Server.handshakesPerSecond)
    clients = HandshakeOrigin.allCases.map { origin in
      SourceBudget(
        .init(
          perSource: perClient, total: origin == .direct ? origin.total : nil,
          maximumSources: Limits.Server.trackedClientHosts), now: now)
    }
    senders = HandshakeOrigin.allCases.map { origin in
      SourceBudget(
        .init(perSource: origin.perNode, total: origin.total, maximumSources: Limits.Server.trackedClientHosts),
        now: now)
    }
  }

  mutating func take(_ origin: HandshakeOrigin, client: IPv4Address, sender: IPv4Address, now: UInt64) -> Bool {
    guard clients[origin.rawValue].take(client, now: now) else { return false }
    return origin == .direct || senders[origin.rawValue].take(sender, now: now)
  }
}
