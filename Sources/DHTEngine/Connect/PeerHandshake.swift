import HyperCrypto
import HyperEncoding
import HyperSecretStream

/// A handshake of two messages, each with a payload inside, that an application brings in the place of the network's
/// own. A value: a copy is tried on a message that may be anybody's, and what throws is thrown away.
package protocol ForeignHandshake {
  mutating func send(_ payload: [UInt8]) throws -> [UInt8]
  mutating func receive(_ message: [UInt8]) throws -> [UInt8]
  /// On the answering side from message 1 on.
  var remotePublicKey: Bytes32? { get }
  /// After both messages.
  var secrets: ForeignSecrets? { get }
}

/// What such a handshake leaves.
package struct ForeignSecrets {
  package var sendKey: Bytes32
  package var receiveKey: Bytes32
  package var handshakeHash: Bytes64

  package init(sendKey: Bytes32, receiveKey: Bytes32, handshakeHash: Bytes64) {
    self.sendKey = sendKey
    self.receiveKey = receiveKey
    self.handshakeHash = handshakeHash
  }
}

/// Makes one for a connection: of the dialling side with the server's key. `nil` is the network's own handshake.
package typealias HandshakeHook = (
  _ isInitiator: Bool, _ keyPair: KeyPair, _ remotePublicKey: Bytes32?
) throws -> (any ForeignHandshake)?

/// The handshake of a connection (hyperdht.md 4): Noise IK, or one that the application has brought.
struct PeerHandshake {
  private enum Kind {
    case own(NoiseHandshake)
    indirect case foreign(Foreign)
  }

  private struct Foreign {
    var handshake: any ForeignHandshake
    let isInitiator: Bool
    let publicKey: Bytes32
    /// The server's key, or what the client has shown itself with: a firewall has decided about that one.
    var remotePublicKey: Bytes32?

    mutating func receive(_ message: [UInt8]) throws -> [UInt8] {
      let payload = try handshake.receive(message)
      guard let shown = handshake.remotePublicKey, shown == remotePublicKey ?? shown else {
        throw DHTError.handshakeInvalid
      }
      remotePublicKey = shown
      return payload
    }

    func sessionKeys() -> SessionKeys? {
      guard let secrets = handshake.secrets, let remotePublicKey, handshake.remotePublicKey == remotePublicKey else {
        return nil
      }
      return SessionKeys(
        sendKey: secrets.sendKey, receiveKey: secrets.receiveKey, handshakeHash: secrets.handshakeHash,
        isInitiator: isInitiator, publicKey: publicKey, remotePublicKey: remotePublicKey)
    }
  }

  private var kind: Kind

  /// Of the dialling side. `ephemeral`: for the network's own handshake.
  init(
    dialling remotePublicKey: Bytes32, as keyPair: KeyPair, ephemeral: @autoclosure () -> NoiseKey, hook: HandshakeHook?
  ) throws {
    if let foreign = try hook?(true, keyPair, remotePublicKey) {
      kind = .foreign(
        Foreign(
          handshake: foreign, isInitiator: true, publicKey: keyPair.publicKey, remotePublicKey: remotePublicKey))
    } else {
      kind = .own(
        try NoiseHandshake(
          pattern: .ik, isInitiator: true, staticKey: NoiseKey(keyPair), remotePublicKey: remotePublicKey,
          prologue: Namespaces.peerHandshake.bytes, ephemeral: ephemeral()))
    }
  }

  /// Of the answering side; `provide` gives the rest once message 1 has proved to be readable.
  init(answeringAs keyPair: KeyPair, hook: HandshakeHook?) throws {
    if let foreign = try hook?(false, keyPair, nil) {
      kind = .foreign(Foreign(handshake: foreign, isInitiator: false, publicKey: keyPair.publicKey))
    } else {
      kind = .own(
        try NoiseHandshake(
          pattern: .ik, isInitiator: false, keyPair: keyPair, prologue: Namespaces.peerHandshake.bytes,
          ephemeral: nil))
    }
  }

  mutating func provide(ephemeral: @autoclosure () -> NoiseKey) {
    guard case .own(var handshake) = kind else { return }
    handshake.provide(ephemeral: ephemeral())
    kind = .own(handshake)
  }

  var remotePublicKey: Bytes32? {
    switch kind {
    case .own(let handshake): handshake.remotePublicKey
    case .foreign(let foreign): foreign.remotePublicKey
    }
  }

  mutating func send(payload: [UInt8]) throws -> [UInt8] {
    switch kind {
    case .own(var handshake):
      let message = try handshake.send(payload: payload)
      kind = .own(handshake)
      return message
    case .foreign(var foreign):
      let message = try foreign.handshake.send(payload)
      guard message.count <= Limits.Server.handshakeMessageSize else {
        throw DHTError.other(
          "a message of the handshake has \(message.count) bytes, at most \(Limits.Server.handshakeMessageSize) fit")
      }
      kind = .foreign(foreign)
      return message
    }
  }

  mutating func receive(_ message: [UInt8]) throws -> [UInt8] {
    switch kind {
    case .own(var handshake):
      let payload = try handshake.receive(message)
      kind = .own(handshake)
      return payload
    case .foreign(var foreign):
      let payload = try foreign.receive(message)
      kind = .foreign(foreign)
      return payload
    }
  }

  /// After both messages.
  func sessionKeys() -> SessionKeys? {
    switch kind {
    case .own(let handshake): handshake.sessionKeys()
    case .foreign(let foreign): foreign.sessionKeys()
    }
  }
}
