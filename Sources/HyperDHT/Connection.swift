import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream

extension HyperDHT {
  /// An encrypted, authenticated connection with one peer: a two-way stream of messages, and datagrams beside it.
  ///
  /// What one `write` sends arrives as one element of the peer's `inbound`. Both directions have back-pressure: `write`
  /// suspends while the network is slower than the writer, and a reader that stops reading closes the window towards
  /// the peer. Memory per connection is bounded by about 1 MiB of unsent and 2 MiB of unread messages above the
  /// transport's own window (4 MiB), plus one message of the largest size each way.
  ///
  /// May be used from any thread. Keep the connection as long as you use it: when the last reference goes, what was
  /// written is still sent (for up to ten seconds), then the connection closes.
  ///
  /// A call that fails throws why the connection has closed, or `closed` after a regular end and a local `destroy`; and
  /// `cancelled`, at once, when its task is cancelled: the connection goes on.
  public final class Connection: Sendable {
    /// Bytes in one message at most, 16,777,198: what the framing can express less the encryption's overhead
    /// (secret-stream.md 7).
    public static let maximumMessageSize = Limits.message

    /// Ed25519 key of this side.
    public var publicKey: Bytes32 { identity.publicKey }
    /// Ed25519 key of the peer. The side that dialled knows from the handshake that the peer holds it. The side that
    /// was dialled has a connection as soon as the first packet arrives, so that a server can speak first; whether its
    /// peer holds the key, and is not a replay of an old attempt, is certain from `isPeerProven` on.
    public var remotePublicKey: Bytes32 { identity.remotePublicKey }
    /// The hash of the Noise handshake (secret-stream.md 4), the same for both sides and for no other connection; not a
    /// secret. Protocols above may bind themselves to it.
    public var handshakeHash: Bytes64 { identity.handshakeHash }
    /// Whether this side dialled.
    public let isInitiator: Bool

    /// The loop that the connection lives on; tasks that prefer it spare the hops between threads.
    public var loop: UVEventLoop { inner.loop }

    private let identity: SessionIdentity
    let inner: ConnectionState
    /// What a layer above keeps with the connection.
    package let attachment: (any AnyObject & Sendable)?

    /// On the loop, for a stream that is open.
    package convenience init(
      loop: UVEventLoop, node: DHTNode, stream: EncryptedStream, attachment: (any AnyObject & Sendable)? = nil
    ) {
      self.init(loop: loop, node: node, stream: stream, board: StateBoard(), attachment: attachment)
    }

    /// The same for a dial whose states the board has.
    init(
      loop: UVEventLoop, node: DHTNode, stream: EncryptedStream, board: StateBoard,
      attachment: (any AnyObject & Sendable)? = nil
    ) {
      inner = ConnectionState(loop: loop, node: node, stream: stream, board: board)
      guard let identity = stream.identity else { preconditionFailure("an open stream knows its keys") }
      self.identity = identity
      isInitiator = stream.isInitiator
      self.attachment = attachment
    }

    /// Last act of the stream, on the loop.
    package var closed: (EncryptedStreamError?) -> Void {
      { [inner] in inner.closed($0) }
    }

    deinit {
      let state = inner
      state.loop.post { state.abandon() }
    }

    // MARK: Proof of the key

    /// The peer has proved on this very connection that it holds `remotePublicKey`: a message of it has been decrypted,
    /// possibly an empty one. Peers of this implementation prove it with their first packet, others with their first
    /// message or after their keepalive interval (5 seconds). Nothing that is read comes from anyone else.
    public var isPeerProven: Bool { inner.board.isProven }

    /// Waits until `isPeerProven`. A peer that never sends anything never gets there: give it a time limit, and do not
    /// wait on both sides of a connection.
    /// - Throws: why the connection closed before, `closed` for a regular end; `cancelled`.
    public nonisolated(nonsending) func waitUntilPeerProven() async throws(ConnectionError) {
      let state = inner
      var failure: ConnectionError?
      do throws(CallFailure) {
        failure = try await state.board.proof.wait()
      } catch {
        throw state.closing.error(error)
      }
      if let failure { throw failure }
    }

    // MARK: Reading

    /// Received messages in order. Ends when the peer has ended its half; fails when the connection broke.
    ///
    /// Each message goes to one reader. Leaving the loop loses nothing: a later loop goes on with the next message.
    public var inbound: Inbound { Inbound(connection: self) }

    /// The received messages of a connection as an async sequence.
    public struct Inbound: AsyncSequence, Sendable {
      public typealias Element = [UInt8]
      public typealias Failure = ConnectionError
      let connection: Connection

      public func makeAsyncIterator() -> Iterator { Iterator(connection: connection) }

      public struct Iterator: AsyncIteratorProtocol {
        let connection: Connection

        public mutating func next(
          isolation actor: isolated (any Actor)?
        ) async throws(ConnectionError) -> [UInt8]? {
          try await connection.read()
        }

        public mutating func next() async throws(ConnectionError) -> [UInt8]? {
          try await connection.read()
        }
      }
    }

    /// Waits for the next message; `nil` after the peer has ended its half, and again at each further call. What has
    /// arrived before the connection closed is read first.
    /// - Throws: why the connection broke; `cancelled`, and no message is lost by it.
    public nonisolated(nonsending) func read() async throws(ConnectionError) -> [UInt8]? {
      let state = inner
      do throws(CallFailure) {
        return try await state.inbox.next { state.loop.post { state.resumeReading() } }
      } catch {
        throw state.closing.error(error)
      }
    }

    /// Received datagrams, unordered and unreliable. Up to 256 wait for the reader, further ones are dropped; all
    /// readers share them. Ends when the connection has closed.
    public var datagrams: Events<[UInt8], Never> { Events(inner.board.datagrams) }

    // MARK: Writing

    /// Sends one message. While more than 1 MiB waits to be sent, suspends first until it is down to half of that; the
    /// bound holds for all writers of the connection together. A return says that the message is under way, not that
    /// it has arrived: see `flush`. A call that throws for its cancellation has sent nothing.
    ///
    /// An empty message is sent, and acknowledged, but is what the protocol keeps connections alive with: a peer whose
    /// own keepalive is on, as it is by default, drops it.
    /// - Throws: `messageTooLarge` above `maximumMessageSize` bytes; `closed` after `end`; why the connection has
    ///   closed; `cancelled`.
    public nonisolated(nonsending) func write(_ message: [UInt8]) async throws(ConnectionError) {
      guard message.count <= Connection.maximumMessageSize else { throw .messageTooLarge(message.count) }
      do throws(CallFailure) {
        try await inner.writing.write(.message(message))
      } catch {
        throw inner.closing.error(error)
      }
    }

    /// Sends the text in UTF-8 as one message. Waits for room, and throws, as the other forms of `write` do.
    public nonisolated(nonsending) func write(_ text: String) async throws(ConnectionError) {
      try await write(Array(text.utf8))
    }

    /// Sends one message without waiting for room: for callers that bound their own output. What waits has no bound of
    /// its own.
    /// - Returns: whether the caller should slow down (more than 1 MiB waits to be sent).
    /// - Throws: `messageTooLarge` above `maximumMessageSize` bytes; `closed` after `end`; why the connection has
    ///   closed.
    @discardableResult
    public func writeWithoutWaiting(_ message: [UInt8]) throws(ConnectionError) -> Bool {
      guard message.count <= Connection.maximumMessageSize else { throw .messageTooLarge(message.count) }
      do throws(CallFailure) {
        return try inner.writing.put(message)
      } catch {
        throw inner.closing.error(error)
      }
    }

    /// Waits until there is room, as `write` does: after `writeWithoutWaiting` has said to slow down.
    /// - Throws: `closed` after `end`; why the connection has closed; `cancelled`.
    public nonisolated(nonsending) func drained() async throws(ConnectionError) {
      do throws(CallFailure) {
        try await inner.writing.waitForRoom()
      } catch {
        throw inner.closing.error(error)
      }
    }

    /// Waits until the peer has acknowledged everything that was written before: its transport has it, not yet its
    /// program. Also after `end`.
    /// - Throws: why the connection has closed, `closed` for a regular end; `cancelled`.
    public nonisolated(nonsending) func flush() async throws(ConnectionError) {
      let reason: ConnectionError?
      do throws(CallFailure) {
        if try await inner.writing.flush() { return }
        // The stream has begun to close; its last act says why.
        reason = try await inner.closing.wait()
      } catch {
        throw inner.closing.error(error)
      }
      throw reason ?? .closed
    }

    /// Sends one datagram, unordered and unreliable.
    /// - Returns: `false`, with nothing sent, when it is above the path's limit (`Statistics.mtu` less 72 bytes: 1,128
    ///   at first) or the connection is closing.
    @discardableResult
    public nonisolated(nonsending) func sendDatagram(_ bytes: [UInt8]) async -> Bool {
      let state = inner
      return await onLoop(state.loop) { state.stream.sendDatagram(bytes) } ?? false
    }

    /// As `sendDatagram`, without waiting to hear whether it was sent.
    public func trySendDatagram(_ bytes: [UInt8]) {
      let state = inner
      state.loop.post { _ = state.stream.sendDatagram(bytes) }
    }

    // MARK: Closing

    /// Ends the writing half after everything written so far. Reading goes on, `write` fails with `closed`. Returns at
    /// once; a second call does nothing. The connection closes when the peer has ended its half, too.
    public func end() {
      inner.end()
    }

    /// Ends the writing half after everything written so far, drops what still arrives, and waits until the peer has
    /// ended its half, too: for ten seconds at most, then the connection is aborted. A task that is cancelled does not
    /// wait; the rest goes on.
    public nonisolated(nonsending) func close() async {
      let state = inner
      state.loop.post { state.abandon() }
      _ = try? await state.closing.wait()
    }

    /// Aborts: unsent messages are dropped, the peer sees a reset. Returns at once.
    public func destroy() { inner.destroySoon() }

    /// Whether the connection has closed, regularly or not.
    public var isClosed: Bool { inner.closing.isClosed }

    /// Waits until the connection is closed.
    /// - Returns: why, `nil` for a regular end or a local `destroy`.
    /// - Throws: `cancelled`, nothing else.
    public nonisolated(nonsending) func waitUntilClosed() async throws(ConnectionError) -> ConnectionError? {
      do throws(CallFailure) {
        return try await inner.closing.wait()
      } catch {
        throw inner.closing.error(error)
      }
    }

    // MARK: Settings and numbers

    /// Without anything sent for so long an empty message goes out; zero is off. Rounded up to milliseconds; from 5
    /// seconds on it may go out up to 750 ms earlier. A peer that has vanished is noticed by it: this long, and the
    /// 13 seconds of the transport, after its last sign of life. While it is on, empty messages of the peer are not
    /// delivered.
    public func setKeepAlive(_ interval: Duration) {
      let (state, milliseconds) = (inner, interval.wholeMilliseconds)
      state.loop.post { state.stream.keepAlive = milliseconds }
    }

    /// Without anything received for so long the connection fails with `timedOut`; zero, as at the beginning, is off.
    /// Rounded up to milliseconds. Time in which a full reader has stopped reading does not count.
    public func setTimeout(_ limit: Duration) {
      let (state, milliseconds) = (inner, limit.wholeMilliseconds)
      state.loop.post { state.stream.timeout = milliseconds }
    }

    /// What `setKeepAlive` has set, or the options of the server or node; zero is off, as after `end`.
    public nonisolated(nonsending) func keepAlive() async -> Duration {
      let state = inner
      let milliseconds = await onLoop(state.loop) { state.stream.keepAlive }
      return Duration(milliseconds: milliseconds ?? 0)
    }

    /// What `setTimeout` has set; zero is off.
    public nonisolated(nonsending) func timeout() async -> Duration {
      let state = inner
      let milliseconds = await onLoop(state.loop) { state.stream.timeout }
      return Duration(milliseconds: milliseconds ?? 0)
    }

    /// Where the peer's packets go at the moment; `nil` when closed.
    public nonisolated(nonsending) func remoteAddress() async -> Endpoint? {
      let state = inner
      return await onLoop(state.loop) { state.stream.transport?.remote } ?? nil
    }

    /// The connection has moved to another path, because an address of either side has changed or a direct path is in
    /// the place of a relay: where the peer's packets go since then. Nothing is lost by it, and nothing needs to be
    /// done. Up to 16 wait for the reader, further ones are dropped: `remoteAddress` has the latest.
    public var pathChanges: Events<Endpoint, Never> { Events(inner.board.pathChanges) }

    /// How the connection came about, one line per step.
    package nonisolated(nonsending) func pathTimeline() async -> [String] {
      let state = inner
      return await onLoop(state.loop) { state.stream.pathTimeline?() ?? [] } ?? []
    }

    /// The connection's counters at this moment; all zero once its loop has ended.
    public nonisolated(nonsending) func statistics() async -> Statistics {
      let state = inner
      return await onLoop(state.loop) { Statistics(state.stream) } ?? Statistics()
    }

    /// Counters of one connection.
    public struct Statistics: Hashable, Sendable {
      /// Smoothed (RFC 6298), in whole milliseconds.
      public var roundTripTime = Duration.zero
      /// IP packet size that the path carries, bytes.
      public var mtu: UInt16 = 0
      /// Packets that may be in flight.
      public var congestionWindow: UInt32 = 0
      /// Sent and neither acknowledged nor taken for lost, bytes.
      public var bytesInFlight = 0
      /// UDP payload, with the transport's headers and retransmissions.
      public var bytesSent: UInt64 = 0
      /// UDP payload, with the transport's headers.
      public var bytesReceived: UInt64 = 0
      /// Packets of the stream that were sent, retransmissions included.
      public var packetsSent: UInt64 = 0
      /// Packets of the stream that have arrived.
      public var packetsReceived: UInt64 = 0
      /// Packets that were sent again.
      public var retransmissions: UInt64 = 0
      /// Retransmission timeouts.
      public var timeouts: UInt64 = 0
      /// Losses found by acknowledgements of later packets (RFC 8985).
      public var fastRecoveries: UInt64 = 0
      /// Messages that were written, empty ones and keepalives included.
      public var messagesSent: UInt64 = 0
      /// Messages that have arrived, empty ones and keepalives included.
      public var messagesReceived: UInt64 = 0
      /// Payload of the messages that were written, bytes.
      public var messageBytesSent: UInt64 = 0
      /// Payload of the messages that have arrived, bytes.
      public var messageBytesReceived: UInt64 = 0
      /// Datagrams beside the stream that were sent.
      public var datagramsSent: UInt64 = 0
      /// Datagrams beside the stream that have arrived and decrypted.
      public var datagramsReceived: UInt64 = 0

      /// All zero.
      public init() {}

      init(_ stream: EncryptedStream) {
        let frames = stream.statistics
        messagesSent = frames.messagesWritten
        messagesReceived = frames.messagesRead
        messageBytesSent = frames.messageBytesWritten
        messageBytesReceived = frames.messageBytesRead
        datagramsSent = frames.datagramsSent
        datagramsReceived = frames.datagramsReceived
        guard let transport = stream.transport?.statistics else { return }
        roundTripTime = transport.roundTripTime
        mtu = transport.mtu
        congestionWindow = transport.congestionWindow
        bytesInFlight = transport.bytesInFlight
        bytesSent = transport.bytesSent
        bytesReceived = transport.bytesReceived
        packetsSent = transport.packetsSent
        packetsReceived = transport.packetsReceived
        retransmissions = transport.retransmissions
        timeouts = transport.timeouts
        fastRecoveries = transport.fastRecoveries
      }
    }
  }
}
