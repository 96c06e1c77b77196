import HyperEncoding
import HyperEnvironment

// What a connection knows of its time and of its ways to the server.
extension Connector {
  /// At least 1 while there is a deadline.
  var timeLeft: UInt64? { deadline.map { $0 > now ? $0 - now : 1 } }
  var now: UInt64 { node.environment.nowMilliseconds }

  /// Nodes that may route to the server.
  func hints() -> [Endpoint] {
    // We are the server's relay ourselves: straight to it.
    if node.rpc.id != nil, let own = node.router.relay(target: target) { return [own] }
    let known = options.relayAddresses.isEmpty ? node.relayHints[publicKey] : options.relayAddresses
    return lastRelay.map { last in [last] + known.filter { $0 != last } } ?? known
  }

  /// A server that was not asked may say that it can.
  var canMigrate: Bool { mayMigrate && handshaken?.payload.migration != nil }
  var mayMigrate: Bool { node.options.migration && !options.relayOnly }

  /// A deployed peer that has nothing to say cannot show where it is; beside a relay the departure from it decides what
  /// its packets mean (`RelayDeparture`).
  var checksSources: Bool { driver.relay == nil || canMigrate }

  /// What message 1 says of us. With an address that the network sees us at, we say that we are reachable there.
  func firstPayload(ownAddress: Endpoint?) -> NoisePayload {
    var addresses = ownAddress.map { [$0] } ?? []
    if options.localConnection {
      addresses += LocalAddresses.list(environment: node.environment, serverSocket: node.rpc.serverSocket)
    }
    return NoisePayload(
      firewall: ownAddress == nil ? .unknown : .open, addresses4: addresses,
      udx: .init(reusableSocket: wantsRoute, id: raw.localID), secretStream: .init(),
      relayThrough: ticket.map { .init(publicKey: $0.publicKey, token: $0.token) },
      migration: mayMigrate ? .init() : nil)
  }

  func movable(_ handshaken: Handshaken, isRelayed: Bool) -> MovablePeer {
    MovablePeer(
      keyPair: keyPair, keys: handshaken.keys, remoteID: handshaken.streamID, isRelayed: isRelayed,
      handshake: options.handshake)
  }

  var relayedPeer: RelayedPeer? {
    var peer = handshaken?.relayedPeer
    if keepsRoute { peer?.routeKey = publicKey }
    return peer
  }

  /// Tells the server, and uses the path again if it wants that, too.
  var wantsRoute: Bool { options.reusableSocket && !options.relayOnly }

  /// Both sides want the path again: also a direct one that follows a relay.
  var keepsRoute: Bool { wantsRoute && handshaken?.payload.udx?.reusableSocket ?? false }

  /// Of a socket that hole punching is about to give back.
  func leaseForRoute(_ socket: any DatagramSocket) -> SocketLease? { keepsRoute ? node.sockets.lease(socket) : nil }

  /// The stream runs over a direct path.
  func registerRoute() {
    if keepsRoute { node.routes.register(publicKey, raw: raw, stream: stream, lease: lease) }
  }
}
