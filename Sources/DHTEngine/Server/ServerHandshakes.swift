import HyperCrypto
import HyperEncoding

/// What the router hands to a server (hyperdht.md 7.2, 7.5).
extension DHTServer: LocalServer {
  /// Message 1 of a client, or a copy of it.
  package func handleHandshake(_ request: HandshakeRequest, _ completion: @escaping (HandshakeReply?) -> Void) {
    guard accepts, let keyPair, request.noise.count <= Limits.Server.handshakeMessageSize else {
      return completion(nil)
    }
    if let session = table.session(for: request.noise) {
      // A client that finds us on its own network expects the answer from where it asked.
      return session.wait { reply in
        completion(request.isDirect ? reply.map { HandshakeReply(noise: $0.noise) } : reply)
      }
    }
    guard !table.isRefused(request.noise) else { return completion(nil) }
    let origin = origin(of: request)
    guard charge(request, origin, { begin(request, origin, keyPair, completion) }) else {
      node.statistics.handshakes.dropped += 1
      return completion(nil)
    }
  }

  private func begin(
    _ request: HandshakeRequest, _ origin: HandshakeOrigin, _ keyPair: KeyPair,
    _ completion: @escaping (HandshakeReply?) -> Void
  ) {
    node.statistics.handshakes.received += 1
    guard let session = ServerSession(server: self, request: request, origin: origin, keyPair: keyPair) else {
      node.statistics.handshakes.refused += 1
      return completion(nil)
    }
    session.doubts = session.remoteKey.flatMap { table.latest(of: $0) }?.lesson ?? .none
    // Before any asynchronous step: simultaneous copies must find it (hyperdht.md 4.6).
    insert(session)
    session.wait(completion)
    session.begin()
  }

  /// One round of hole punching.
  package func handleHolepunch(_ request: HolepunchRequest, _ completion: @escaping (HolepunchReply?) -> Void) {
    guard accepts, let session = table.session(at: request.id) else { return completion(nil) }
    session.receiveHolepunch(request, completion)
  }
}
