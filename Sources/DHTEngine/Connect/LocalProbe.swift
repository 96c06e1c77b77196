import HyperEncoding
import HyperEnvironment
import HyperRPC

/// Both seem to be on one network: tells whether the server's local address is right (hyperdht.md 6.5).
struct LocalProbe {
  /// The server's address that fits our own best.
  let candidate: Endpoint

  private let node: DHTNode
  private let target: Bytes32
  /// Our message 1, and the server's answer to it.
  private let message: [UInt8]
  private let answer: [UInt8]
  private let session: RequestSession
  /// The socket that the stream will use, so that a host firewall that admits the pong admits the stream
  /// (hyperdht.md C-10).
  private let socket: any DatagramSocket

  /// `nil` where the server is on another network, or has named no local address.
  init?(node: DHTNode, target: Bytes32, message: [UInt8], handshaken: Handshaken, session: RequestSession) {
    guard handshaken.clientAddress.host == handshaken.serverAddress.host else { return nil }
    let usable = handshaken.serverAddresses.filter { !$0.host.isReserved && $0.port != 0 }
    let own = LocalAddresses.list(environment: node.environment, serverSocket: node.rpc.serverSocket)
    guard let candidate = AddressMatch.best(own: own, other: usable) ?? usable.first,
      let socket = node.rpc.serverSocket
    else { return nil }
    self.candidate = candidate
    self.node = node
    self.target = target
    self.message = message
    answer = handshaken.message
    self.session = session
    self.socket = socket
  }

  /// `report` runs once, unless the session is destroyed. `adopts`: whether another answer to our message 1 than the
  /// one that we have is the server's, and the one that counts from now on: for a server that has forgotten the
  /// message, because too many clients came, it is a new one.
  func start(
    adopts: @escaping (Response, HandshakeMessage) -> Bool, _ report: @escaping (RaceEvent<SocketRoute>) -> Void
  ) {
    node.rpc.ping(candidate, options: RequestOptions(session: session, socket: socket)) { result in
      switch result {
      case .success: verify(adopts, report)
      case .failure:
        report(.failed(.local, .holepunchAborted("the server does not answer at its local address")))
      }
    }
  }

  /// Private addresses are not unique: another host of our own network may have answered the ping. Only the server can
  /// repeat its answer to our message 1, or make another one.
  private func verify(
    _ adopts: @escaping (Response, HandshakeMessage) -> Bool, _ report: @escaping (RaceEvent<SocketRoute>) -> Void
  ) {
    let request = RequestMessage(
      command: Command.peerHandshake.rawValue, target: target,
      value: HandshakeMessage(mode: .fromClient, noise: message).encoded)
    let options = RequestOptions(retries: 1, session: session, socket: socket)
    let route = SocketRoute(socket: socket, remote: candidate)
    node.rpc.request(request, to: candidate, options: options) { result in
      if case .success(let response) = result, let value = response.value,
        let reply = try? CompactReader.decode(HandshakeMessage.self, from: value),
        reply.noise == answer || adopts(response, reply)
      {
        return report(.opened(.local, route))
      }
      report(.unproven(route, .holepunchAborted("another host answers at the server's local address")))
    }
  }
}
