import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

extension NoisePayload {
  /// Why there is no connection with the server that has answered so.
  var refusal: DHTError? {
    if version != Self.currentVersion { return .serverIncompatible }
    guard error == .none else {
      let reason = error == .tryLater ? "is busy" : "answered the handshake with error \(error.rawValue)"
      return .serverError("the server \(reason)")
    }
    return udx == nil ? .serverError("Server did not send UDX data") : nil
  }
}

extension PeerHandshake {
  /// What `relay` has answered to our message 1; `nil` if that is not the server's. A reply may be anybody's: it works
  /// on a copy of the handshake (hyperdht.md 4.6, hyperdht.md B-7).
  func read(_ reply: HandshakeMessage, in response: Response, from relay: Endpoint) -> Handshaken? {
    var attempt = self
    guard reply.mode == .reply, let bytes = try? attempt.receive(reply.noise),
      let payload = try? CompactReader.decode(NoisePayload.self, from: bytes), let keys = attempt.sessionKeys()
    else { return nil }
    return Handshaken(
      keys: keys, payload: payload, message: reply.noise, streamID: payload.udx?.id ?? 0, relay: relay,
      serverAddress: reply.peerAddress ?? relay, clientAddress: response.to, socket: response.socket)
  }
}

/// What a finished handshake says.
struct Handshaken {
  var keys: SessionKeys
  var payload: NoisePayload
  /// Noise message 2.
  var message: [UInt8]
  /// The server's transport stream.
  var streamID: UInt32
  /// The node that we asked.
  var relay: Endpoint
  /// Where the server's reply came from, as the relay saw it.
  var serverAddress: Endpoint
  /// Our address as the relay saw it.
  var clientAddress: Endpoint
  var socket: any DatagramSocket

  /// Whether bytes that came after `head` from elsewhere than it are the server's. Before there is a handshake nothing
  /// can be told: what arrives is kept, and shows a way to the server.
  func judge(_ pieces: [UnsafeRawBufferPointer], after head: [UInt8]) -> SourceVerdict {
    head.withUnsafeBytes { StreamOpening.judge(pieces, after: $0, keys: keys) }
  }

  /// Not the server itself was asked.
  var isRelayed: Bool { serverAddress != relay }

  /// The server's own list, cut to a size that is not the peer's to choose.
  var serverAddresses: [Endpoint] { Array(payload.addresses4.prefix(Limits.Punch.peerAddresses)) }

  var relayedPeer: RelayedPeer {
    RelayedPeer(remoteID: streamID, hosts: Set(serverAddresses.map(\.host) + [serverAddress.host]))
  }
}
