import HyperCollections
import HyperEncoding

/// Sessions by the sender of their message, and behind each sender by client.
struct SessionQueue {
  struct Entry: Hashable {
    var order: UInt64
    var origin: HandshakeOrigin
    /// Where the packet came from: a relay, or the client.
    var sender: IPv4Address
    var client: IPv4Address
  }

  private var senders = HostQueue()
  private var clients: [IPv4Address: HostQueue] = [:]

  var count: Int { senders.count }

  mutating func insert(_ entry: Entry) {
    senders.insert(entry.order, of: entry.sender)
    clients[entry.sender, default: HostQueue()].insert(entry.order, of: entry.client)
  }

  mutating func remove(_ entry: Entry) {
    senders.remove(entry.order, of: entry.sender)
    clients[entry.sender]?.remove(entry.order, of: entry.client)
    if clients[entry.sender]?.count == 0 { clients[entry.sender] = nil }
  }

  /// The oldest session of the heaviest client behind the heaviest sender.
  var victim: UInt64? { senders.heaviest.flatMap { clients[$0.address]?.heaviest?.oldest } }
}

/// The sessions whose client has not shown that it has got message 2, and which of them makes room for a newcomer: one
/// of the origin that is furthest above its share.
struct WaitingSessions {
  private var queues = [SessionQueue](repeating: SessionQueue(), count: HandshakeOrigin.allCases.count)

  var count: Int { queues.reduce(0) { $0 + $1.count } }
  func count(of origin: HandshakeOrigin) -> Int { queues[origin.rawValue].count }

  mutating func insert(_ entry: SessionQueue.Entry) { queues[entry.origin.rawValue].insert(entry) }
  mutating func remove(_ entry: SessionQueue.Entry) { queues[entry.origin.rawValue].remove(entry) }

  /// The number of the session that makes room for one of this origin; `nil` while there is room.
  func victim(for newcomer: HandshakeOrigin) -> UInt64? {
    guard count >= Limits.Server.waitingHandshakes else { return nil }
    var loser = newcomer
    for origin in HandshakeOrigin.allCases where excess(origin, newcomer) > excess(loser, newcomer) { loser = origin }
    return queues[loser.rawValue].victim
  }

  /// By how much an origin is above its share once the newcomer is in.
  private func excess(_ origin: HandshakeOrigin, _ newcomer: HandshakeOrigin) -> Int {
    count(of: origin) + (origin == newcomer ? 1 : 0) - origin.reserve
  }
}
