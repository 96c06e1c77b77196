import HyperCrypto
import HyperEncoding

/// The two ends of a connection, as the handshake has proved them: nothing of it is secret. One object for all that
/// keep it.
package final class SessionIdentity: Sendable {
  /// Channel binding, equal on both sides. Never derive secrets from it.
  package let handshakeHash: Bytes64
  package let publicKey: Bytes32
  package let remotePublicKey: Bytes32

  init(handshakeHash: Bytes64, publicKey: Bytes32, remotePublicKey: Bytes32) {
    self.handshakeHash = handshakeHash
    self.publicKey = publicKey
    self.remotePublicKey = remotePublicKey
  }
}

/// What a finished handshake leaves (secret-stream.md 6).
///
/// The two stream keys are secret and wiped with the last copy. Everything derived from `handshakeHash` is **not**
/// secret: an observer of the handshake messages that knows the responder's public key can compute it, including the
/// datagram keys (secret-stream.md 19).
package struct SessionKeys: Sendable {
  package let identity: SessionIdentity
  package let isInitiator: Bool
  package var handshakeHash: Bytes64 { identity.handshakeHash }
  package var publicKey: Bytes32 { identity.publicKey }
  package var remotePublicKey: Bytes32 { identity.remotePublicKey }
  private let secret: WipedMemory  // initiator to responder, then back

  /// Keys of a handshake that was run elsewhere.
  package init(
    sendKey: Bytes32, receiveKey: Bytes32, handshakeHash: Bytes64, isInitiator: Bool, publicKey: Bytes32,
    remotePublicKey: Bytes32
  ) {
    let memory = WipedMemory(count: 64)
    (isInitiator ? sendKey : receiveKey).withUnsafePointer { memory.base.update(from: $0, count: 32) }
    (isInitiator ? receiveKey : sendKey).withUnsafePointer { (memory.base + 32).update(from: $0, count: 32) }
    self.init(
      split: memory, handshakeHash: handshakeHash, isInitiator: isInitiator, publicKey: publicKey,
      remotePublicKey: remotePublicKey)
  }

  init(split: WipedMemory, handshakeHash: Bytes64, isInitiator: Bool, publicKey: Bytes32, remotePublicKey: Bytes32) {
    secret = split
    self.isInitiator = isInitiator
    identity = SessionIdentity(
      handshakeHash: handshakeHash, publicKey: publicKey, remotePublicKey: remotePublicKey)
  }

  /// For sending on the ordered stream.
  package var sendKey: Bytes32 { Bytes32(copying: sendKeyBytes) }
  package var receiveKey: Bytes32 { Bytes32(copying: receiveKeyBytes) }

  // Valid as long as this value is.
  var sendKeyBytes: UnsafePointer<UInt8> { UnsafePointer(secret.base + (isInitiator ? 0 : 32)) }
  var receiveKeyBytes: UnsafePointer<UInt8> { UnsafePointer(secret.base + (isInitiator ? 32 : 0)) }

  /// The id that a role puts into its stream header.
  package func streamID(ofInitiator: Bool) -> Bytes32 {
    derive((ofInitiator ? StreamNamespace.initiator : StreamNamespace.responder).bytes)
  }

  /// For datagrams; not secret from an observer of the handshake.
  package var datagramSendKey: Bytes32 { datagramKey(ofInitiator: isInitiator) }
  package var datagramReceiveKey: Bytes32 { datagramKey(ofInitiator: !isInitiator) }

  private func datagramKey(ofInitiator: Bool) -> Bytes32 {
    derive((ofInitiator ? StreamNamespace.initiator : StreamNamespace.responder).bytes + StreamNamespace.send.bytes)
  }

  /// Authenticates the messages that move the stream to another path, one key for each direction. Secret: made of the
  /// stream keys, not only of the handshake hash, which an observer may know.
  package var migrationSendKey: Bytes32 { migrationKey(from: sendKeyBytes) }
  package var migrationReceiveKey: Bytes32 { migrationKey(from: receiveKeyBytes) }

  /// Each side's message that shows where it is (hyperdht-extensions.md 6).
  var pathProof: Bytes32 { Blake2b.hash32(StreamNamespace.path.bytes, key: migrationSendKey.bytes) }
  var remotePathProof: Bytes32 { Blake2b.hash32(StreamNamespace.path.bytes, key: migrationReceiveKey.bytes) }

  private func migrationKey(from streamKey: UnsafePointer<UInt8>) -> Bytes32 {
    Blake2b.hash32(
      StreamNamespace.migration.bytes + handshakeHash.bytes, key: UnsafeBufferPointer(start: streamKey, count: 32))
  }

  /// For further streams of the same two peers, one set for each context (hyperdht-extensions.md 7). All three are
  /// secret: the hash is made of both keys, too.
  package func derived(for context: [UInt8]) -> (sendKey: Bytes32, receiveKey: Bytes32, handshakeHash: Bytes64) {
    func make(_ namespace: Bytes32, _ key: UnsafePointer<UInt8>) -> Bytes32 {
      Blake2b.hash32(
        namespace.bytes + handshakeHash.bytes + context, key: UnsafeBufferPointer(start: key, count: Bytes32.count))
    }
    let (initiator, responder) = isInitiator ? (sendKeyBytes, receiveKeyBytes) : (receiveKeyBytes, sendKeyBytes)
    let hash = Blake2b.hash64(
      make(StreamNamespace.derivedHash, initiator).bytes, make(StreamNamespace.derivedHash, responder).bytes)
    return (make(StreamNamespace.derivedKey, sendKeyBytes), make(StreamNamespace.derivedKey, receiveKeyBytes), hash)
  }

  /// BLAKE2b-256 of `namespace` with the handshake hash as the key: stream ids, hole-punch secret and the like.
  package func derive(_ namespace: [UInt8]) -> Bytes32 { Blake2b.hash32(namespace, key: handshakeHash.bytes) }
  package func derive(_ namespace: Bytes32) -> Bytes32 { derive(namespace.bytes) }
}

/// `NS(name, i) = H32(H32(name) ‖ i)` (secret-stream.md 6.1).
package enum StreamNamespace {
  package static let initiator = make("hyperswarm/secret-stream", 0)
  package static let responder = make("hyperswarm/secret-stream", 1)
  package static let send = make("hyperswarm/secret-stream", 2)
  /// Ours; deployed peers derive nothing under this name.
  package static let migration = make("hyperswarm-swift/migration", 0)
  package static let path = make("hyperswarm-swift/path", 0)
  package static let derivedKey = make("hyperswarm-swift/derived", 0)
  package static let derivedHash = make("hyperswarm-swift/derived", 1)

  package static func make(_ name: String, _ index: UInt8) -> Bytes32 {
    Blake2b.hash32(Blake2b.hash32(Array(name.utf8)).bytes, [index])
  }
}
