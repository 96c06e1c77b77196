import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import HyperSecretStream
import HyperUDX

/// An encrypted, authenticated stream of messages over any transport: what JavaScript calls a `NoiseSecretStream`, with
/// the same bytes.
///
/// ```swift
/// let (a, b) = MemoryTransport.pair()
/// let alice = try SecretStream(isInitiator: true, over: a)
/// let bob = try SecretStream(isInitiator: false, over: b)
/// try await alice.write("hello")
/// for try await message in bob.inbound { print(String(decoding: message, as: UTF8.self)) }
/// ```
///
/// One side begins (`isInitiator`), the other one answers; both say so. The handshake is the first thing on the
/// transport, and begins with the making of the stream: `opened` waits for it. What is written before is kept and sent
/// then.
///
/// What one `write` sends arrives as one element of the peer's `inbound`. Both directions have back-pressure: `write`
/// suspends while the transport is slower than the writer, and a reader that stops reading stops reading from the
/// transport. Memory per stream is bounded by about 1 MiB of unsent and 2 MiB of unread messages, plus one message of
/// the largest size each way.
///
/// May be used from any thread. Keep the stream as long as you use it: when the last reference goes, what was written
/// is still sent (for up to ten seconds), then the transport is released. The shutdown of its loop aborts the stream.
///
/// A call that fails throws why the stream has closed, or `closed` after a regular end and a local `destroy`; and
/// `cancelled`, at once, when its task is cancelled: the stream goes on. The protocol is secret-stream.md.
public final class SecretStream: Sendable, CustomStringConvertible {
  /// Bytes in one message at most, 16,777,198: what the framing can express less the encryption's overhead
  /// (secret-stream.md 7).
  public static let maximumMessageSize = Limits.message

  /// Whether this side has begun the handshake.
  public let isInitiator: Bool
  /// This side's key.
  public let publicKey: Bytes32
  let state: SecretStreamState

  // MARK: Making

  /// Over a transport of the program's own, which the stream holds and uses alone from the call on, also when it
  /// throws. Returns at once: the handshake goes on by itself.
  /// - Parameters:
  ///   - isInitiator: whether this side begins the handshake: one of the two does.
  ///   - transport: ordered, reliable bytes to the peer.
  ///   - options: keys, handshake and limits.
  /// - Throws: `missingRemoteKey`; `loop`; `closed` when the given loop has ended. The transport is destroyed then.
  public init(
    isInitiator: Bool, over transport: some SecretStreamTransport, _ options: Options = Options()
  ) throws(SecretStreamError) {
    let place: Place
    do throws(SecretStreamError) {
      place = try Place(options, isInitiator: isInitiator)
    } catch {
      transport.destroy()
      throw error
    }
    self.isInitiator = isInitiator
    publicKey = place.publicKey
    state = SecretStreamState(place, options, isInitiator: isInitiator)
    let bridge = TransportBridge(loop: place.loop, base: transport)
    let isPosted = state.begin {
      $0.onTransportFailure = { bridge.failure }
      $0.start(over: bridge, head: [], ended: false)
      bridge.startReading()
    }
    if !isPosted {
      transport.destroy()
      throw .closed
    }
  }

  /// Over a stream socket, or a pipe for each direction, by their descriptors.
  ///
  /// The stream owns the descriptors from the call on, also when it throws: it makes them non-blocking and closes them.
  /// What cannot be waited for, such as a regular file, closes the stream with `transport`.
  /// - Parameters:
  ///   - isInitiator: whether this side begins the handshake: one of the two does.
  ///   - reading: the descriptor to read from.
  ///   - writing: the one to write to; the same, or `nil`, for a socket.
  ///   - options: keys, handshake and limits.
  /// - Throws: `missingRemoteKey`; `loop`; `transport` when the system has no descriptor left for the other direction
  ///   of a socket; `closed` when the given loop has ended.
  public init(
    isInitiator: Bool, reading: Int32, writing: Int32? = nil, _ options: Options = Options()
  ) throws(SecretStreamError) {
    let descriptors = try Descriptors(reading: reading, writing: writing)
    let place: Place
    do throws(SecretStreamError) {
      place = try Place(options, isInitiator: isInitiator)
    } catch {
      descriptors.close()
      throw error
    }
    self.isInitiator = isInitiator
    publicKey = place.publicKey
    state = SecretStreamState(place, options, isInitiator: isInitiator)
    let isPosted = state.begin { state in
      let transport = DescriptorTransport(
        loop: state.loop, reading: descriptors.reading, writing: descriptors.writing)
      state.start(over: transport, head: [], ended: false)
      transport.start()
    }
    if !isPosted {
      descriptors.close()
      throw .closed
    }
  }

  /// Over UDX, with datagrams beside the stream. The connection is used up: its own calls end as after a close, and
  /// what it has received and not handed out comes first here. A connection that has closed closes the stream.
  /// - Parameters:
  ///   - isInitiator: whether this side begins the handshake: one of the two does.
  ///   - connection: held by the stream until it has closed. After a call that throws it is still the caller's.
  ///   - options: keys, handshake and limits; `Options.loop` has no meaning here.
  /// - Throws: `missingRemoteKey`; `closed` when the connection's loop has ended.
  public init(
    isInitiator: Bool, over connection: UDXConnection, _ options: Options = Options()
  ) throws(SecretStreamError) {
    var options = options
    options.loop = connection.loop
    let place = try Place(options, isInitiator: isInitiator)
    self.isInitiator = isInitiator
    publicKey = place.publicKey
    state = SecretStreamState(place, options, isInitiator: isInitiator)
    let isPosted = state.begin { state in
      guard let taken = connection.handOver() else { return state.stream.destroy() }
      state.anchor = connection
      state.start(over: taken.stream, head: taken.head, ended: taken.ended)
    }
    if !isPosted { throw .closed }
  }

  deinit {
    let state = state
    state.loop.post { state.abandon() }
  }

  // MARK: Identity

  /// The peer's key: the one that the options name, and from the handshake on the one that it has proved there; `nil`
  /// while neither is known.
  public var remotePublicKey: Bytes32? { state.shared.withLock { $0.remotePublicKey } }
  /// The hash of the handshake, 64 bytes (secret-stream.md 4): the same for both sides and for no other stream; not a
  /// secret. `nil` until the keys exist, kept after the close. Protocols above may bind themselves to it.
  public var handshakeHash: Bytes64? { state.shared.withLock { $0.handshakeHash } }
  /// Free for a layer above, as a place for what belongs to the stream.
  public var userData: (any Sendable)? {
    get { state.shared.withLock { $0.userData } }
    set { state.shared.withLock { $0.userData = newValue } }
  }

  /// The id, 32 bytes, that a role puts at the head of its half of the stream (secret-stream.md 6.2 and 8): known from
  /// the handshake, and no secret.
  public static func id(handshakeHash: Bytes64, isInitiator: Bool) -> Bytes32 {
    SessionKeys(
      sendKey: Bytes32(), receiveKey: Bytes32(), handshakeHash: handshakeHash, isInitiator: isInitiator,
      publicKey: Bytes32(), remotePublicKey: Bytes32()
    ).streamID(ofInitiator: isInitiator)
  }

  /// Role, state and the peer's key.
  public var description: String {
    let condition = isClosed ? "closed" : isOpen ? "open" : "opening"
    let peer = remotePublicKey.map { "\($0)" } ?? "unknown"
    return "SecretStream(\(isInitiator ? "initiator" : "responder"), \(condition), peer: \(peer))"
  }

  // MARK: Opening

  /// The handshake is done and the stream has not closed.
  public var isOpen: Bool { state.opening.isClosed && state.opening.reason == nil && !isClosed }

  /// Waits until the handshake is done; returns at once for a stream that was open and has closed.
  /// - Throws: why the handshake failed, `closed` when this side has ended it; `cancelled`.
  public nonisolated(nonsending) func opened() async throws(SecretStreamError) {
    try await state.opening.waitForSuccess(or: state.closing)
  }

  /// The peer has proved on this very stream that it holds `remotePublicKey`: with the handshake, except on the
  /// answering side of IK, and on both sides of `Options.keys`. There an old handshake may have been sent again, and
  /// the proof is the first message that decrypts. Nothing that is read comes from anyone else.
  public var isPeerProven: Bool { state.proof.isClosed && state.proof.reason == nil }

  /// Waits until `isPeerProven`. A peer that never sends anything may never get there: give it a time limit.
  /// - Throws: why the stream closed before, `closed` for a regular end; `cancelled`.
  public nonisolated(nonsending) func waitUntilPeerProven() async throws(SecretStreamError) {
    try await state.proof.waitForSuccess(or: state.closing)
  }

  // MARK: Reading

  /// Received messages in order. Ends when the peer has ended its half; fails when the stream broke.
  ///
  /// Each message goes to one reader. Leaving the loop loses nothing: a later loop goes on with the next message.
  public var inbound: Inbound { Inbound(stream: self) }

  /// The received messages of a stream as an async sequence.
  public struct Inbound: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = SecretStreamError
    let stream: SecretStream

    /// Another reader of the same messages.
    public func makeAsyncIterator() -> Iterator { Iterator(stream: stream) }

    /// Takes the messages one by one.
    public struct Iterator: AsyncIteratorProtocol {
      let stream: SecretStream

      public mutating func next(
        isolation actor: isolated (any Actor)?
      ) async throws(SecretStreamError) -> [UInt8]? {
        try await stream.read()
      }

      public mutating func next() async throws(SecretStreamError) -> [UInt8]? {
        try await stream.read()
      }
    }
  }

  /// Waits for the next message; `nil` after the peer has ended its half, and again at each further call. What has
  /// arrived before the stream closed is read first.
  /// - Throws: why the stream broke; `cancelled`, and no message is lost by it.
  public nonisolated(nonsending) func read() async throws(SecretStreamError) -> [UInt8]? {
    let state = state
    do throws(CallFailure) {
      return try await state.inbox.next { state.loop.post { state.stream.resume() } }
    } catch {
      throw state.closing.error(error)
    }
  }

  // MARK: Closing

  /// Ends the writing half after everything written so far. Reading goes on, `write` fails with `closed`; the
  /// keep-alive is off. Returns at once; a second call does nothing. The stream closes when the peer has ended its
  /// half, too.
  public func end() { state.writing.end() }

  /// Ends the writing half, drops what still arrives, and waits until the peer has ended its half, too: for ten seconds
  /// at most, then the stream is aborted. A task that is cancelled does not wait; the rest goes on.
  public nonisolated(nonsending) func close() async {
    let state = state
    state.loop.post { state.abandon() }
    _ = try? await state.closing.wait()
  }

  /// Aborts: unsent messages are dropped, the transport is destroyed. Returns at once.
  public func destroy() { state.destroySoon() }

  /// Whether the stream has closed, regularly or not.
  public var isClosed: Bool { state.closing.isClosed }

  /// Waits until the stream is closed.
  /// - Returns: why, `nil` for a regular end or a local `destroy`.
  /// - Throws: `cancelled`, nothing else.
  public nonisolated(nonsending) func waitUntilClosed() async throws(SecretStreamError) -> SecretStreamError? {
    do throws(CallFailure) {
      return try await state.closing.wait()
    } catch {
      throw state.closing.error(error)
    }
  }
}
