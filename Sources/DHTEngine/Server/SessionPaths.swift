import HyperEnvironment
import HyperSecretStream

// What a session knows of its ways to the client.
extension ServerSession {
  /// Only a client that can do it, too, is told.
  var canMigrate: Bool {
    node.options.migration && remotePayload.migration != nil && !server.options.relayOnly && !server.isShared
  }

  /// A deployed peer that has nothing to say cannot show where it is; beside a relay the departure from it decides what
  /// its packets mean (`RelayDeparture`).
  var checksSources: Bool { !hasRelay || canMigrate }

  /// Tells the client, and keeps the path if it wants that, too.
  var wantsRoute: Bool { server.options.reusableSocket && !server.options.relayOnly }

  /// Both sides want the path again: also a direct one that follows a relay.
  var keepsRoute: Bool { wantsRoute && remotePayload.udx?.reusableSocket ?? false }

  /// Of a socket that hole punching is about to give back.
  func leaseForRoute(_ socket: any DatagramSocket) -> SocketLease? { keepsRoute ? node.sockets.lease(socket) : nil }

  /// The client has shown itself on this stream.
  func registerRoute(_ stream: EncryptedStream) {
    defer { lease = nil }
    guard keepsRoute, !hasRelay, let raw, let remoteKey else { return }
    node.routes.register(remoteKey, raw: raw, stream: stream, lease: lease)
  }
}
