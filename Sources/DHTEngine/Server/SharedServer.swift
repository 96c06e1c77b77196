import HyperEncoding
import HyperRPC

// A key on several loops: one server announces it, and hands what its relays bring to the servers of other nodes of
// this host that listen under the same key and announce nothing. That takes what any node does for a server that has
// announced itself to it (hyperdht.md 5.3, second relay): the chosen server answers the client's relay itself, from its
// own port, and has the connection from the first message on.

/// The servers that take handshakes for another one.
struct ServerShare {
  /// Those that are there, of `roster`; in no order that means anything.
  private(set) var present: [(id: ObjectIdentifier, endpoint: Endpoint)] = []
  private var roster: Set<ObjectIdentifier> = []
  /// Streams may be on another node than where a later handshake goes.
  private(set) var isUsed = false

  /// Only these may come, and none is there yet.
  mutating func expect(_ ids: [ObjectIdentifier]) {
    roster = Set(ids)
    present = []
    isUsed = isUsed || !ids.isEmpty
  }

  mutating func set(_ id: ObjectIdentifier, _ endpoint: Endpoint?) {
    present.removeAll { $0.id == id }
    if let endpoint, roster.contains(id) { present.append((id, endpoint)) }
  }

  /// The same for every copy of a message; `nil` is the server itself, which has a share like the others. Message 1
  /// begins with the client's ephemeral key, so its bytes are as good as random, and a client that chooses them gains
  /// nothing: every server has the bounds that the only one would have.
  func taker(of message: [UInt8]) -> Endpoint? {
    guard !present.isEmpty else { return nil }
    let number = message.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let place = Int(number % UInt64(present.count + 1))
    return place < present.count ? present[place].endpoint : nil
  }
}

extension DHTServer {
  /// Hands over to these and no others; they report themselves by ``setMember(_:_:)``.
  package func share(with ids: [ObjectIdentifier]) { sharing.expect(ids) }

  /// Where a member is now; `nil` when it takes nothing.
  package func setMember(_ id: ObjectIdentifier, _ endpoint: Endpoint?) { sharing.set(id, endpoint) }

  /// Takes what a server of this host hands over, and says where, now and whenever that changes.
  package func follow(host: IPv4Address, _ report: @escaping (Endpoint?) -> Void) {
    frontHost = host
    onPresence = report
    reportPresence()
  }

  /// Tells nodes apart.
  package var nodeIdentity: ObjectIdentifier { ObjectIdentifier(node) }

  func reportPresence() {
    guard let onPresence, let frontHost else { return }
    onPresence(accepts && state == .listening ? localEndpoint(seenFrom: frontHost) : nil)
  }

  /// Where nodes of this host reach the node of this server.
  package func localEndpoint(seenFrom host: IPv4Address) -> Endpoint? {
    node.rpc.serverSocket?.localEndpoint.map { $0.host == .any ? Endpoint(host: host, port: $0.port) : $0 }
  }

  /// Neither this server nor its clients may count on finding each other's streams by another handshake.
  var isShared: Bool { sharing.isUsed || !options.isAnnounced }

  package func isHandedOver(by host: IPv4Address) -> Bool { host == frontHost }

  /// What strangers and clients themselves bring stays here: members give all that is handed over the share of work of
  /// a server's own relays.
  package func taker(of message: [UInt8], from sender: Endpoint) -> Endpoint? {
    guard accepts, announcer?.isRelay(sender) == true, table.session(for: message) == nil else { return nil }
    return sharing.taker(of: message)
  }
}
