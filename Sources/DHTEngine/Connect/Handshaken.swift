import HyperEncoding
import HyperEnvironment
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
