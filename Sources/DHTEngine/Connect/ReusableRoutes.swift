import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// Direct paths to peers that both sides have agreed to use again (hyperdht.md 14.3): a later connection with the same
/// key goes straight to where the peer was met, from the same socket, without a look-up, a relay and hole punching.
///
/// The first path to a peer that is registered stays. It goes with its socket, when a connection on it breaks, and
/// ``Limits/Connect/routeLinger`` after the last connection on it: a NAT forgets a mapping that nothing uses.
final class ReusableRoutes {
  private final class Route {
    let socket: any DatagramSocket
    let remote: Endpoint
    private let lease: SocketLease?
    /// Open connections over it.
    var users = 0
    var timer: (any ScheduledAction)?

    init(socket: any DatagramSocket, remote: Endpoint, lease: SocketLease?) {
      self.socket = socket
      self.remote = remote
      self.lease = lease
    }
  }

  private let environment: any Environment
  private var routes: [Bytes32: Route] = [:]

  init(environment: any Environment) { self.environment = environment }

  var count: Int { routes.count }

  /// The path to this peer.
  subscript(publicKey: Bytes32) -> SocketRoute? {
    guard let route = routes[publicKey] else { return nil }
    guard !route.socket.isClosed else {
      forget(publicKey)
      return nil
    }
    return SocketRoute(socket: route.socket, remote: route.remote)
  }

  /// The stream has reached this peer directly, also after it began over a relay, and both sides have agreed. `lease`:
  /// of the stream's socket, if it is one of the pool, from before the hole punching gave it back.
  func register(_ publicKey: Bytes32, raw: any TransportStream, stream: EncryptedStream, lease: SocketLease?) {
    guard let socket = raw.socket, let remote = raw.remote, !socket.isClosed else { return }
    if let known = self[publicKey], known.socket !== socket || known.remote != remote { return }
    guard let route = routes[publicKey] ?? make(publicKey, socket, remote, lease) else { return }
    route.users += 1
    route.timer?.cancel()
    route.timer = nil
    stream.observe(close: { [weak self, weak route] error in
      guard let self, let route, routes[publicKey] === route else { return }
      route.users -= 1
      if error?.isOfPath ?? false { return forget(publicKey) }
      guard route.users == 0 else { return }
      route.timer = environment.schedule(after: Limits.Connect.routeLinger) { [weak self] in self?.forget(publicKey) }
    })
  }

  private func make(
    _ publicKey: Bytes32, _ socket: any DatagramSocket, _ remote: Endpoint, _ lease: SocketLease?
  ) -> Route? {
    guard routes.count < Limits.Connect.routes else { return nil }
    let route = Route(socket: socket, remote: remote, lease: lease)
    routes[publicKey] = route
    return route
  }

  /// The path leads nowhere.
  func forget(_ publicKey: Bytes32) {
    routes.removeValue(forKey: publicKey)?.timer?.cancel()
  }

  /// The node is about to close its sockets.
  func removeAll() {
    for publicKey in Array(routes.keys) { forget(publicKey) }
  }
}

extension EncryptedStreamError {
  /// The path may be what has failed; a peer that resets a stream is there.
  fileprivate var isOfPath: Bool {
    switch self {
    case .timedOut, .handshakeTimedOut: true
    case .transport(let error): error != .reset
    default: false
    }
  }
}
