import CHyperSodium
import HyperCrypto
import HyperEncoding
import HyperEnvironment

extension EncryptedStream {
  /// Starts with the keys of a handshake that ran elsewhere (secret-stream.md 5) and takes over the transport's
  /// callbacks. The own header is handed to the transport inside this call, `onOpen` follows in the next turn.
  ///
  /// A stream that is already destroyed (or started) destroys the transport instead.
  /// - Parameters:
  ///   - head: bytes already read from the transport; they come first.
  ///   - ended: the transport's reading half has already ended.
  ///   - opening: the own header, if it was written to the transport already.
  ///   - opensWithHeader: `onOpen` waits for the peer's header, for a path that may lead nowhere.
  package func start(
    transport: any ByteTransport, keys: SessionKeys, head: [UInt8] = [], ended: Bool = false,
    opening: StreamOpening? = nil, opensWithHeader: Bool = false
  ) {
    guard attach(transport) else { return }
    keep(head: head, ended: ended)
    install(keys, confirms: sendsConfirmation ?? keys.isInitiator, opening: opening)
    guard isLive else { return }
    environment.defer { [self] in
      if !opensWithHeader { emitOpen() }
      readKept()
    }
  }

  /// Starts with a Noise handshake as the first frames on the transport (secret-stream.md 7).
  ///
  /// `ik` as initiator needs the remote key given at `init`; throws without touching anything if it is missing, and for
  /// patterns without static keys. `ephemeral` is drawn from the environment unless given.
  package func startInBand(
    transport: any ByteTransport, pattern: NoisePattern = .xx, keyPair: KeyPair, ephemeral: KeyPair? = nil,
    head: [UInt8] = [], ended: Bool = false
  ) throws(NoiseError) {
    guard pattern == .ik || pattern == .xx else { throw .preSharedKeyMismatch }
    var handshake = try NoiseHandshake(
      pattern: pattern, isInitiator: isInitiator, staticKey: NoiseKey(keyPair), remotePublicKey: given?.value.remote,
      ephemeral: ephemeral.map { NoiseKey($0) } ?? NoiseKey(seed: environment.random32()))
    var first: [UInt8]?
    if isInitiator { first = try handshake.send() }
    guard attach(transport) else { return }
    phase = .handshaking
    given = Box((keyPair.publicKey, given?.value.remote))
    self.handshake = handshake
    keep(head: head, ended: ended)
    if let first {
      appendClear(first)
      pushBatch()
    }
    guard isLive, !head.isEmpty || ended else { return }
    environment.defer { [self] in readKept() }
  }

  private func attach(_ transport: any ByteTransport) -> Bool {
    guard phase == .created else {
      transport.destroy()
      return false
    }
    byteTransport = transport
    self.transport = transport as? any TransportStream
    // Strong references: a started stream lives until its transport has closed.
    transport.onData = { [self] in transportDelivered($0) }
    transport.onEnd = { [self] in transportEnded() }
    transport.onDrain = { [self] in transportDrained() }
    transport.onClose = { [self] in transportClosed($0) }
    self.transport?.onMessage = { [self] in transportMessage($0) }
    lastSent = environment.now
    lastReceived = lastSent
    armTimers()
    meetStranger()
    if transport.isClosed { transportClosed(nil) }
    return isLive
  }

  private func keep(head: [UInt8], ended: Bool) {
    if !head.isEmpty, !head.withUnsafeBytes({ reader.append($0) }) { fail(.queueOverflow) }
    if ended { remoteHasEnded = true }
  }

  /// Handles one frame of the handshake.
  func receiveHandshake(_ body: UnsafeRawBufferPointer) {
    guard var next = handshake else { return fail(.handshakeFailed(.outOfTurn)) }
    do throws(NoiseError) {
      _ = try next.receive(body)
      if let expected = given?.value.remote, let proved = next.remotePublicKey, proved != expected {
        return fail(.remoteKeyMismatch)
      }
      if !next.isComplete { appendClear(try next.send()) }
    } catch {
      return fail(.handshakeFailed(error))
    }
    handshake = next
    if let keys = next.sessionKeys() {
      handshake = nil
      install(keys, confirms: sendsConfirmation ?? false)
      emitOpen()
    } else {
      pushBatch()
    }
  }

  /// Body sizes that the next handshake frame may have: what Noise needs, and a payload of the largest size.
  var handshakeBounds: ClosedRange<Int> {
    let minimum = handshake?.nextMessageMinimumSize ?? 0
    return minimum...(minimum + Limits.Noise.maximumCiphertext)
  }

  /// The keys exist: sends the header and everything that waited for it, in one go with a last handshake message.
  private func install(_ keys: SessionKeys, confirms: Bool, opening: StreamOpening? = nil) {
    self.keys = keys
    identity = keys.identity
    given = nil
    take(&onHandshake)?()
    guard isLive else { return }
    phase = .keyed
    if checksSources { checkSources() }

    if let opening {
      sealer = opening.makeSealer(keys)
      if opening.confirms { countWritten(frame: Limits.Stream.frameOverhead) }
    } else {
      let header = environment.random(count: Limits.Stream.streamHeader)
      sealer = FrameCipher(key: keys.sendKeyBytes, header: header)
      appendClear(keys.streamID(ofInitiator: keys.isInitiator).bytes + header)
      if confirms { seal(UnsafeRawBufferPointer(start: nil, count: 0), tag: .message) }
    }
    sendEarly()
    pushBatch()
    if isEnding { finishEnd() }
    let waiting = earlyFlushes
    earlyFlushes = []
    for done in waiting { flush(done) }
    if needsDrain, !isBlocked { environment.defer { [self] in drained() } }
  }

  /// Handles the peer's stream header; the length is checked already.
  func receiveHeader(_ body: UnsafeRawBufferPointer) {
    guard let keys, let id = Bytes32(UnsafeRawBufferPointer(rebasing: body[..<32])),
      constantTimeEqual(id, keys.streamID(ofInitiator: !keys.isInitiator)),
      let header = body.baseAddress
    else { return fail(.invalidHeader) }
    opener = FrameCipher(key: keys.receiveKeyBytes, header: (header + 32).assumingMemoryBound(to: UInt8.self))
    phase = .receiving
    handshakeTimer?.cancel()
    handshakeTimer = nil
    emitOpen()
    guard isLive else { return }
    take(&onRemoteHeader)?()
  }

  func emitOpen() {
    guard isLive, sealer != nil, !wasOpened else { return }
    wasOpened = true
    for index in observers.indices { take(&observers[index].open)?() }
    take(&onOpen)?()
  }

  /// What is called once does not stay.
  func take(_ callback: inout (() -> Void)?) -> (() -> Void)? {
    defer { callback = nil }
    return callback
  }
}
