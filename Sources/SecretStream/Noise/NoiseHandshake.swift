import HyperCrypto
import HyperEncoding

/// A Noise handshake over Ed25519, ChaCha20-Poly1305 and BLAKE2b-512 (secret-stream.md 4).
///
/// A value: a copy can be tried on an untrusted message. A call that throws leaves the value as it was, so a forged
/// message never spoils the handshake. All secrets are wiped when the last copy goes away, and on completion.
package struct NoiseHandshake {
  package let pattern: NoisePattern
  package let isInitiator: Bool
  private var state: State

  private struct State {
    var symmetric: SymmetricState
    var messageIndex = 0
    var staticKey: NoiseKey
    var ephemeral: NoiseKey?
    var remoteStatic: Bytes32?
    var remoteEphemeral: Bytes32?
    var preSharedKey: WipedMemory?
    var keys: SessionKeys?
  }

  /// - Parameters:
  ///   - remotePublicKey: the responder's static key; needed for `ik` as initiator, else ignored.
  ///   - prologue: data that both sides must agree on.
  ///   - ephemeral: a key pair for this handshake only, fresh from the environment's random source; a responder may
  ///     leave it out and give it with `provide` once it has read the first message.
  ///   - preSharedKey: for the psk patterns only.
  package init(
    pattern: NoisePattern, isInitiator: Bool, keyPair: KeyPair, remotePublicKey: Bytes32? = nil,
    prologue: [UInt8] = [], ephemeral: KeyPair?, preSharedKey: Bytes32? = nil
  ) throws(NoiseError) {
    try self.init(
      pattern: pattern, isInitiator: isInitiator, staticKey: NoiseKey(keyPair), remotePublicKey: remotePublicKey,
      prologue: prologue, ephemeral: ephemeral.map { NoiseKey($0) }, preSharedKey: preSharedKey)
  }

  /// The same with prepared keys, which may carry raw scalars.
  package init(
    pattern: NoisePattern, isInitiator: Bool, staticKey: NoiseKey, remotePublicKey: Bytes32? = nil,
    prologue: [UInt8] = [], ephemeral: NoiseKey?, preSharedKey: Bytes32? = nil
  ) throws(NoiseError) {
    self.pattern = pattern
    self.isInitiator = isInitiator
    guard pattern.usesPreSharedKey == (preSharedKey != nil) else { throw .preSharedKeyMismatch }
    let symmetric = SymmetricState(protocolName: "Noise_\(pattern.name)_Ed25519_ChaChaPoly_BLAKE2b")
    prologue.withUnsafeBytes { symmetric.mixHash($0) }
    state = State(symmetric: symmetric, staticKey: staticKey, ephemeral: ephemeral)
    if pattern.hasPreMessage {
      if isInitiator {
        guard let remotePublicKey else { throw .missingRemoteKey }
        state.remoteStatic = remotePublicKey
        symmetric.mixHash(remotePublicKey)
      } else {
        symmetric.mixHash(staticKey.publicKey)
      }
    }
    if let preSharedKey {
      let memory = WipedMemory(count: 32)
      preSharedKey.withUnsafePointer { memory.base.update(from: $0, count: 32) }
      state.preSharedKey = memory
    }
  }

  /// The key pair for this handshake, where there was none at first.
  package mutating func provide(ephemeral: NoiseKey) {
    precondition(!isComplete && state.ephemeral == nil, "a handshake has one ephemeral key pair")
    state.ephemeral = ephemeral
  }

  package var isComplete: Bool { state.keys != nil }

  /// The peer's static key: known from the start for `ik` as initiator, else once its message has been accepted.
  package var remotePublicKey: Bytes32? { state.remoteStatic }

  /// Whether the next step is `send` (else `receive`, unless complete).
  package var isMyTurn: Bool { !isComplete && (state.messageIndex % 2 == 0) == isInitiator }

  /// The keys, once complete.
  package func sessionKeys() -> SessionKeys? { state.keys }

  /// Bytes of the next message with an empty payload; `nil` when complete.
  package var nextMessageMinimumSize: Int? {
    isComplete ? nil : pattern.minimumSize(ofMessage: state.messageIndex)
  }

  /// The next message of this side, with `payload` inside.
  package mutating func send(payload: [UInt8] = []) throws(NoiseError) -> [UInt8] {
    guard isMyTurn else { throw .outOfTurn }
    var next = state
    next.symmetric = state.symmetric.copy()
    var out: [UInt8] = []
    for token in pattern.messages[next.messageIndex] {
      switch token {
      case .e:
        guard let ephemeral = next.ephemeral else { throw .outOfTurn }
        out.append(contentsOf: ephemeral.publicKey.bytes)
        mixEphemeral(ephemeral.publicKey, next.symmetric)
      case .s:
        let key = next.staticKey.publicKey.bytes
        try key.withUnsafeBufferPointer { (bytes) throws(NoiseError) in
          try next.symmetric.encryptAndHash(UnsafeRawBufferPointer(bytes), into: &out)
        }
      default:
        try mix(token, &next)
      }
      trace?(token, next.symmetric)
    }
    try payload.withUnsafeBufferPointer { (bytes) throws(NoiseError) in
      try next.symmetric.encryptAndHash(UnsafeRawBufferPointer(bytes), into: &out)
    }
    advance(&next)
    state = next
    return out
  }

  /// Takes the peer's next message and returns its payload.
  package mutating func receive(_ message: UnsafeRawBufferPointer) throws(NoiseError) -> [UInt8] {
    guard !isComplete, !isMyTurn else { throw .outOfTurn }
    var next = state
    next.symmetric = state.symmetric.copy()
    var rest = message
    func take(_ count: Int) throws(NoiseError) -> UnsafeRawBufferPointer {
      guard rest.count >= count else { throw .messageTooShort }
      let taken = UnsafeRawBufferPointer(rebasing: rest[..<count])
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      return taken
    }
    for token in pattern.messages[next.messageIndex] {
      switch token {
      case .e:
        guard let key = Bytes32(try take(32)) else { throw .messageTooShort }
        next.remoteEphemeral = key
        mixEphemeral(key, next.symmetric)
      case .s:
        let field = try take(next.symmetric.hasKey ? 32 + HyperCrypto.Limits.mac : 32)
        guard let key = Bytes32(try next.symmetric.decryptAndHash(field)) else { throw .messageTooShort }
        next.remoteStatic = key
      default:
        try mix(token, &next)
      }
      trace?(token, next.symmetric)
    }
    let payload = try next.symmetric.decryptAndHash(rest)
    advance(&next)
    state = next
    return payload
  }

  package mutating func receive(_ message: [UInt8]) throws(NoiseError) -> [UInt8] {
    try message.withUnsafeBufferPointer { (bytes) throws(NoiseError) in
      try receive(UnsafeRawBufferPointer(bytes))
    }
  }

  private func mixEphemeral(_ key: Bytes32, _ symmetric: SymmetricState) {
    symmetric.mixHash(key)
    if pattern.usesPreSharedKey { key.withUnsafeBytes { symmetric.mixKey($0) } }
  }

  /// A Diffie-Hellman or psk token. The first letter names the initiator's key, the second the responder's.
  private func mix(_ token: NoisePattern.Token, _ next: inout State) throws(NoiseError) {
    let local: NoiseKey?
    let remote: Bytes32?
    switch token {
    case .ee: (local, remote) = (next.ephemeral, next.remoteEphemeral)
    case .ss: (local, remote) = (next.staticKey, next.remoteStatic)
    case .es:
      (local, remote) = isInitiator ? (next.ephemeral, next.remoteStatic) : (next.staticKey, next.remoteEphemeral)
    case .se:
      (local, remote) = isInitiator ? (next.staticKey, next.remoteEphemeral) : (next.ephemeral, next.remoteStatic)
    case .psk:
      guard let key = next.preSharedKey else { throw .preSharedKeyMismatch }
      next.symmetric.mixKeyAndHash(UnsafeRawBufferPointer(start: key.base, count: key.count))
      return
    case .e, .s: return
    }
    guard let local, let remote else { throw .missingRemoteKey }
    let symmetric = next.symmetric
    try withSecretScratch(EdwardsDH.count) { (shared) throws(NoiseError) in
      guard EdwardsDH.multiply(scalar: local.scalar.base, point: remote, into: shared) else { throw .invalidKey }
      symmetric.mixKey(UnsafeRawBufferPointer(start: shared, count: EdwardsDH.count))
    }
  }

  private func advance(_ next: inout State) {
    trace?(nil, next.symmetric)
    next.messageIndex += 1
    guard next.messageIndex == pattern.messages.count else { return }
    // `nn` exchanges no static keys, and no stream uses it; after the others the peer's key is known.
    precondition(next.remoteStatic != nil || !pattern.messages.joined().contains(.s), "a handshake without peer")
    let hash = next.symmetric.handshakeHash
    next.keys = SessionKeys(
      split: next.symmetric.split(), handshakeHash: hash, isInitiator: isInitiator,
      publicKey: next.staticKey.publicKey, remotePublicKey: next.remoteStatic ?? Bytes32())
    next.ephemeral = nil
    next.preSharedKey = nil
  }

  /// For tests only: the state after each token and payload (`nil`), before a final message wipes it.
  var trace: ((NoisePattern.Token?, SymmetricState) -> Void)?
  var symmetricState: SymmetricState { state.symmetric }
}
