import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream

extension HyperDHT {
  /// How two peers prove their keys to each other and agree on those of their connection, in the place of the network's
  /// own handshake (Noise IK, hyperdht.md 4): a group that strangers cannot even ask, keys that a device keeps, other
  /// primitives. Given by `ConnectOptions.handshake` and `ServerOptions.handshake`; both sides need the same one. A
  /// peer with another one finds the server, and gets no answer: `peerConnectionFailed`.
  ///
  /// Two messages: the dialling side calls `send`, then `receive`; the answering side `receive`, then `send`. The first
  /// message has at most 1,200 bytes with its payload, which is about 100 bytes long (a longer one is dropped); what is
  /// above some 1,100 may be lost on the way. Called on the loop: return at once.
  ///
  /// A conformance is a struct or an enum, because a copy is tried on each message that may be the peer's; a class
  /// fails with `other`. What the network relies on, and no test here can find out:
  ///
  /// - `receive` throws for whatever the peer has not sent in this handshake, and changes nothing then;
  /// - the payload of both messages is encrypted and authenticated: it has addresses and the ids of streams;
  /// - message 2 proves that the peer holds `remotePublicKey`, and that it answers to message 1. Message 1 may be a
  ///   copy; that its sender holds its key is proved by the first packets of the connection, with `secrets`;
  /// - `secrets` are new for each handshake, known to the two sides only, and remain so if a key pair becomes known.
  public protocol Handshake {
    /// Makes the next message of this side, with the payload inside: called once. What it throws ends the handshake; a
    /// dial fails with that error if it is a `DHTError`, else with `handshakeInvalid`.
    mutating func send(_ payload: [UInt8]) throws -> [UInt8]
    /// Takes the peer's next message, or what another host has sent in its place: called on a copy each time, until
    /// one does not throw.
    /// - Returns: its payload.
    mutating func receive(_ message: [UInt8]) throws -> [UInt8]
    /// The peer's key. Of the dialling side the one that was dialled; of the answering side the client's, from the
    /// first message on: a firewall decides about it, and it does not change.
    var remotePublicKey: Bytes32? { get }
    /// What the connection is encrypted with; `nil` before both messages. Read once both have been made or taken.
    var secrets: HandshakeSecrets? { get }
  }

  /// What a handshake leaves on one side, and what `Connection.derivedKeys` makes of it.
  public struct HandshakeSecrets: Sendable {
    /// 32 secret bytes that encrypt what this side sends: the peer's `receiveKey`.
    public var sendKey: Bytes32
    /// 32 secret bytes that encrypt what the peer sends.
    public var receiveKey: Bytes32
    /// The same for both sides and for no other handshake: a hash of everything that was said. Hole punching and
    /// datagrams are encrypted with what is derived from it.
    public var handshakeHash: Bytes64

    /// All parts.
    public init(sendKey: Bytes32, receiveKey: Bytes32, handshakeHash: Bytes64) {
      self.sendKey = sendKey
      self.receiveKey = receiveKey
      self.handshakeHash = handshakeHash
    }
  }

  /// The sides of a handshake that begins.
  public struct HandshakeParties: Sendable {
    /// Whether this side dials.
    public var isInitiator: Bool
    /// This side's identity.
    public var keyPair: KeyPair
    /// The key that is dialled; `nil` on the answering side, which learns the client's from its message.
    public var remotePublicKey: Bytes32?
  }

  /// The network's own handshake, Noise IK (hyperdht.md 4.1): for a handshake that adds something to it.
  public struct NoiseHandshake: Handshake {
    private var noise: HyperSecretStream.NoiseHandshake

    /// A handshake that begins.
    /// - Parameters:
    ///   - parties: its sides.
    ///   - prologue: what both sides have to know beforehand; with 32 secret bytes no other peer can dial, or
    ///     be dialled. Empty, it is what every peer of the network understands.
    /// - Throws: `handshakeInvalid` for a key that is none.
    public init(_ parties: HandshakeParties, prologue: [UInt8] = []) throws(DHTError) {
      do {
        noise = try HyperSecretStream.NoiseHandshake(
          pattern: .ik, isInitiator: parties.isInitiator, keyPair: parties.keyPair,
          remotePublicKey: parties.remotePublicKey, prologue: Namespaces.peerHandshake.bytes + prologue,
          ephemeral: .random())
      } catch {
        throw .handshakeInvalid
      }
    }

    public mutating func send(_ payload: [UInt8]) throws -> [UInt8] { try noise.send(payload: payload) }
    public mutating func receive(_ message: [UInt8]) throws -> [UInt8] { try noise.receive(message) }
    public var remotePublicKey: Bytes32? { noise.remotePublicKey }

    public var secrets: HandshakeSecrets? {
      noise.sessionKeys().map {
        HandshakeSecrets(sendKey: $0.sendKey, receiveKey: $0.receiveKey, handshakeHash: $0.handshakeHash)
      }
    }
  }
}

extension HyperDHT.Connection {
  /// Secret keys for another stream between the same two peers, which need no second handshake for it: both sides get
  /// the same ones, with `sendKey` and `receiveKey` exchanged, and other ones for each connection and each `context`.
  ///
  /// With them a program puts a stream of its own on the connection's path, in the place of this one: a
  /// `SecretStream` of the product HyperNoise with other options (`SecretStream.Options.keys`), or another cipher, over
  /// a `makeRawStream` whose ids the two sides tell each other over the connection.
  /// - `context`: what the keys are for; not a secret. Two streams with the same keys would repeat what must not be
  ///   repeated: one context for each.
  /// - Throws: `closed`, whatever the reason. Not for the cancellation of its task.
  public nonisolated(nonsending) func derivedKeys(
    for context: String
  ) async throws(ConnectionError) -> HyperDHT.HandshakeSecrets {
    let state = inner
    let context = Array(context.utf8)
    let derived = await onLoop(state.loop) { () -> HyperDHT.HandshakeSecrets? in
      state.stream.sessionKeys.map { keys in
        let (sendKey, receiveKey, hash) = keys.derived(for: context)
        return HyperDHT.HandshakeSecrets(sendKey: sendKey, receiveKey: receiveKey, handshakeHash: hash)
      }
    }
    guard let derived, let derived else { throw .closed }
    return derived
  }
}

/// A handshake of the application as the engine calls it.
private struct HandshakeAdapter: ForeignHandshake {
  var handshake: any HyperDHT.Handshake

  mutating func send(_ payload: [UInt8]) throws -> [UInt8] { try handshake.send(payload) }
  mutating func receive(_ message: [UInt8]) throws -> [UInt8] { try handshake.receive(message) }
  var remotePublicKey: Bytes32? { handshake.remotePublicKey }

  var secrets: ForeignSecrets? {
    handshake.secrets.map {
      ForeignSecrets(sendKey: $0.sendKey, receiveKey: $0.receiveKey, handshakeHash: $0.handshakeHash)
    }
  }
}

/// The engine's hook for that of the application.
func handshakeHook(
  _ make: (@Sendable (HyperDHT.HandshakeParties) throws -> (any HyperDHT.Handshake)?)?
) -> HandshakeHook? {
  guard let make else { return nil }
  return { isInitiator, keyPair, remotePublicKey in
    let parties = HyperDHT.HandshakeParties(
      isInitiator: isInitiator, keyPair: keyPair, remotePublicKey: remotePublicKey)
    guard let handshake = try make(parties) else { return nil }
    guard !(type(of: handshake) is AnyClass) else { throw DHTError.other("a handshake has to be a struct or an enum") }
    return HandshakeAdapter(handshake: handshake)
  }
}
