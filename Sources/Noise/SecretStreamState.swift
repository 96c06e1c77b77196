import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import HyperSecretStream

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The loop's side of a `SecretStream`: joins the engine with the reader and the writers.
///
/// Held by the stream's callbacks until the stream closes, and by the handle. Everything but the boxes is confined to
/// the loop.
final class SecretStreamState: @unchecked Sendable {
  /// For any thread.
  struct Shared {
    var remotePublicKey: Bytes32?
    var handshakeHash: Bytes64?
    var userData: (any Sendable)?
    /// Known before the loop comes to it: a handle that goes on the loop overtakes what other threads have posted.
    var isDestructionDue = false
  }

  let loop: UVEventLoop
  let stream: EncryptedStream
  let inbox = Inbox()
  let writing: MessagePump
  let datagrams = EventQueue<[UInt8], Never>(capacity: Limits.datagrams)
  let shared: Locked<Shared>
  let closing = ClosingFlag<SecretStreamError>()
  /// Each closes without a reason when it comes about, with one if the stream closes before.
  let opening = ClosingFlag<SecretStreamError>()
  let proof = ClosingFlag<SecretStreamError>()
  /// What a transport of the program's own has thrown.
  var onTransportFailure: (() -> String?)?
  /// What the transport needs to live.
  var anchor: (any Sendable)?

  private let place: Place
  private let options: SecretStream.Options
  private let arrivals: Arrivals
  private var hook: Int?

  init(_ place: Place, _ options: SecretStream.Options, isInitiator: Bool) {
    self.place = place
    self.options = options
    loop = place.loop
    let stream = EncryptedStream(
      environment: LoopEnvironment(loop: place.loop), isInitiator: isInitiator, publicKey: place.publicKey,
      remotePublicKey: options.remotePublicKey ?? options.keys?.remotePublicKey)
    self.stream = stream
    shared = Locked(Shared(remotePublicKey: stream.remotePublicKey))
    writing = MessagePump(loop: place.loop, sink: StreamSink(stream))
    arrivals = Arrivals(loop: place.loop, inbox: inbox) { stream.pause() }
  }

  /// Runs `start` on the loop, first of all that this stream does there.
  /// - Returns: `false` when the loop has ended.
  func begin(_ start: @escaping @Sendable (SecretStreamState) -> Void) -> Bool {
    loop.post { [self] in
      configure()
      hook = loop.addShutdownHook { [self] closed in
        closing.whenClosed(closed)
        stream.destroy()
      }
      start(self)
    }
  }

  private func configure() {
    stream.keepAlive = options.keepAlive.wholeMilliseconds
    stream.timeout = options.timeout.wholeMilliseconds
    stream.handshakeTimeout = options.handshakeTimeout.wholeMilliseconds
    stream.maximumFrame =
      min(max(options.maximumMessageSize, 0), Limits.message) + HyperSecretStream.Limits.Stream.messageOverhead
    stream.receivesDatagrams = options.receivesDatagrams
    stream.sendsConfirmation = options.provesKeyAtOnce
    stream.onHandshake = { [self] in
      shared.withLock { shared in
        shared.remotePublicKey = stream.remotePublicKey
        shared.handshakeHash = stream.handshakeHash
      }
    }
    let provesByHandshake = options.keys == nil && (options.pattern == .xx || stream.isInitiator)
    stream.onOpen = { [self] in
      if provesByHandshake { proof.close() }
      opening.close()
    }
    stream.onAuthenticated = { [self] in proof.close() }
    stream.onOwnedMessage = { [arrivals] in arrivals.add(message: $0) }
    stream.onDatagram = { [datagrams] bytes in datagrams.push(Array(bytes)) }
    stream.onDrain = { [writing] in writing.drained() }
    stream.onEnd = { [arrivals, inbox] in
      arrivals.deliver()
      inbox.finish(.success(()))
    }
    stream.onClose = { [self] in closed($0) }
  }

  /// Hands the transport over; its callbacks are the stream's from now on.
  func start(over transport: any ByteTransport, head: [UInt8], ended: Bool) {
    let head = head + options.head
    if let keys = options.keys {
      stream.start(
        transport: transport,
        keys: SessionKeys(
          sendKey: keys.sendKey, receiveKey: keys.receiveKey, handshakeHash: keys.handshakeHash,
          isInitiator: stream.isInitiator, publicKey: keys.publicKey, remotePublicKey: keys.remotePublicKey),
        head: head, ended: ended)
      return
    }
    do throws(NoiseError) {
      try stream.startInBand(
        transport: transport, pattern: options.pattern == .ik ? .ik : .xx, keyPair: place.keyPair, head: head,
        ended: ended)
    } catch {
      transport.destroy()
      stream.destroy(.handshakeFailed(error))
    }
  }

  /// Last act of the stream.
  private func closed(_ error: EncryptedStreamError?) {
    if let hook { loop.removeShutdownHook(hook) }
    arrivals.deliver()
    let reason = error.map { SecretStreamError($0, transport: onTransportFailure?()) }
    onTransportFailure = nil
    closing.record(reason)
    // Writing fails first: a reader that learns of the end may write at once.
    writing.close()
    inbox.finish(reason == nil ? .success(()) : .failure(.closed))
    datagrams.finish()
    for flag in [opening, proof] {
      flag.record(reason ?? .closed)
      flag.close()
    }
    anchor = nil
    closing.close()
  }

  /// From any thread.
  func destroySoon() {
    shared.withLock { $0.isDestructionDue = true }
    loop.post { self.stream.destroy() }
  }

  /// The handle is gone: what was written is still sent, what arrives is dropped.
  func abandon() {
    guard !stream.isDestroying else { return }
    if shared.withLock({ $0.isDestructionDue }) { return stream.destroy() }
    arrivals.abandon()
    inbox.abandon()
    stream.resume()
    writing.end()
    let deadline = loop.schedule(after: Limits.abandonedGrace) { [stream] in stream.destroy() }
    closing.whenClosed { deadline.cancel() }
  }
}

/// Where a stream lives, and as which identity.
struct Place: Sendable {
  let loop: UVEventLoop
  let keyPair: KeyPair
  let publicKey: Bytes32
  private let shared: SharedLoop?

  init(_ options: SecretStream.Options, isInitiator: Bool) throws(SecretStreamError) {
    Limits.check()
    if options.keys == nil, options.pattern == .ik, isInitiator, options.remotePublicKey == nil {
      throw .missingRemoteKey
    }
    if let given = options.loop {
      loop = given
      shared = nil
    } else {
      do throws(EventLoopError) {
        let shared = try SharedLoop.current()
        self.shared = shared
        loop = shared.loop
      } catch {
        throw .loop(error)
      }
    }
    keyPair = options.keyPair ?? .random()
    publicKey = options.keys?.publicKey ?? keyPair.publicKey
  }
}

/// Descriptors that are owned: one for each direction.
struct Descriptors: Sendable {
  let reading: Int32
  let writing: Int32

  init(reading: Int32, writing: Int32?) throws(SecretStreamError) {
    self.reading = reading
    if let writing, writing != reading {
      self.writing = writing
      return
    }
    // A number of its own: libuv watches a descriptor once.
    self.writing = fcntl(reading, F_DUPFD_CLOEXEC, 0)
    if self.writing < 0 {
      let reason = String(cString: strerror(errno))
      Descriptors.close(reading)
      throw .transport(reason)
    }
  }

  func close() {
    Descriptors.close(reading)
    Descriptors.close(writing)
  }

  static func close(_ descriptor: Int32) {
    #if canImport(Darwin)
      _ = Darwin.close(descriptor)
    #elseif canImport(Musl)
      _ = Musl.close(descriptor)
    #else
      _ = Glibc.close(descriptor)
    #endif
  }
}

/// Where what is written goes.
private final class StreamSink: MessageSink {
  private let stream: EncryptedStream

  init(_ stream: EncryptedStream) { self.stream = stream }

  /// A stream that is about to close has room for everything, and drops it.
  func send(_ message: [UInt8]) -> Bool { stream.write(message) || stream.isDestroying }
  func send(owned message: OwnedMessage) -> Bool { stream.write(message) || stream.isDestroying }
  func sendDatagram(_ bytes: [UInt8]) -> Bool { stream.sendDatagram(bytes) }
  func flush(_ done: @escaping (Bool) -> Void) { stream.flush(done) }
  func end() { stream.end() }
}
