import HyperEnvironment
import HyperRuntime

/// A UDX stream: ordered, reliable bytes both ways, and unordered, unreliable messages beside them.
///
/// Message boundaries of `write` are not kept. Both directions have back-pressure: see `write` and `inbound`. Letting
/// go of the last reference destroys the stream. May be used from any thread.
///
/// It closes when both sides have ended and everything is read and acknowledged. A peer that is gone is noticed after
/// something was sent; a connection without traffic does not notice it (udx.md 2.8).
public final class UDXConnection: Sendable {
  /// The stream's id on this side: what the peer puts into its packets.
  public let localID: UInt32
  /// What the stream needs to live: its port, or the connection that it shares a path with.
  private let owner: any Sendable
  let state: UDXConnectionState

  /// On the loop, for a stream that is connected.
  package init(loop: UVEventLoop, owner: any Sendable, stream: UDXStream) {
    self.owner = owner
    localID = stream.localID
    state = UDXConnectionState(loop: loop, stream: stream)
  }

  deinit {
    let state = state
    state.loop.post { state.owned?.destroy() }
  }

  // MARK: Reading

  /// Received bytes in pieces of whatever size; ends when the peer has ended its half, or this side destroys the
  /// connection, and fails when it broke.
  ///
  /// Up to 2 MiB wait to be read, 64 KiB before the first read, and then as much as the stream's window (4 MiB) until
  /// it closes. Each piece goes to one reader; leaving the loop loses nothing.
  public var inbound: Inbound { Inbound(connection: self) }

  /// The bytes of a stream as an async sequence of pieces, in order.
  public struct Inbound: AsyncSequence, Sendable {
    /// One piece, never an empty one.
    public typealias Element = [UInt8]
    /// Why the connection broke.
    public typealias Failure = UDXConnectionError
    let connection: UDXConnection

    /// Another reader of the same bytes.
    public func makeAsyncIterator() -> Iterator { Iterator(connection: connection) }

    /// Takes the pieces one by one.
    public struct Iterator: AsyncIteratorProtocol {
      let connection: UDXConnection

      /// `UDXConnection.read`.
      public mutating func next(isolation actor: isolated (any Actor)?) async throws(UDXConnectionError) -> [UInt8]? {
        try await connection.read()
      }

      /// `UDXConnection.read`.
      public mutating func next() async throws(UDXConnectionError) -> [UInt8]? {
        try await connection.read()
      }
    }
  }

  /// The next piece, `nil` after the peer has ended its half, or this side has destroyed the connection.
  /// - Throws: `cancelled`, and nothing is lost; `reset`, `timedOut`, `packetsTooLarge` or `transport` when the
  ///   connection broke.
  public nonisolated(nonsending) func read() async throws(UDXConnectionError) -> [UInt8]? {
    let state = state
    do throws(CallFailure) {
      return try await state.inbox.next { state.loop.post { state.stream.resumeReading() } }
    } catch {
      throw state.closing.error(error)
    }
  }

  /// Reads without a copy: from now on `body` is called on the loop with each received piece, where it lies in the
  /// receive buffer, valid during the call. What `read` has not taken by then comes first. `body` must not block, and
  /// is held until the close. It takes everything: there is no back-pressure any more, and other readers see nothing
  /// but the end.
  public func readBorrowed(_ body: @escaping @Sendable (UnsafeRawBufferPointer) -> Void) {
    let state = state
    state.loop.post { state.borrow(body) }
  }

  /// Runs `body` on the loop with the next received bytes, where they lie in the receive buffer: nothing is copied, and
  /// the pointer is valid only inside `body`, which must not block. Between two calls the stream is paused and the
  /// window towards the peer closes, so that the reader sets the pace. What `read` has not taken comes first.
  ///
  /// Cancellation ends a wait; bytes that were handed to `body` are always reported.
  /// - Returns: what `body` returns, `nil` after the peer has ended its half.
  /// - Throws: as `read`, and `closed` when the loop has ended.
  public nonisolated(nonsending) func withNextBytes<R: Sendable>(
    _ body: @escaping @Sendable (UnsafeRawBufferPointer) -> R
  ) async throws(UDXConnectionError) -> R? {
    let state = state
    let reader = BorrowingReader()
    let result = await withTaskCancellationHandler {
      await withUnsafeContinuation {
        (continuation: UnsafeContinuation<Result<R?, UDXConnectionError>, Never>) in
        let isPosted = state.loop.post {
          reader.take = { continuation.resume(returning: .success(body($0))) }
          reader.end = { end in continuation.resume(returning: end.map { nil }) }
          state.borrowNext(reader)
        }
        if !isPosted { continuation.resume(returning: .failure(.closed)) }
      }
    } onCancel: {
      state.loop.post { state.cancelBorrowing(reader) }
    }
    return try result.get()
  }

  /// `withNextBytes` with a span, which the compiler keeps from outliving `body`.
  public nonisolated(nonsending) func withNextSpan<R: Sendable>(
    _ body: @escaping @Sendable (RawSpan) -> R
  ) async throws(UDXConnectionError) -> R? {
    try await withNextBytes { body($0.bytes) }
  }

  // MARK: Writing

  /// Sends bytes. While more than 1 MiB waits to be sent, suspends first until it is down to half of that: the memory
  /// of a connection is bounded, whatever the number of writers. A return says that the bytes are under way, not that
  /// they have arrived: see `flush`. The peer does not see an empty `write`.
  /// - Throws: `closed` after `end` or the close; `cancelled`, and nothing was sent; `reset`, `timedOut`,
  ///   `packetsTooLarge` or `transport` when the connection broke.
  public nonisolated(nonsending) func write(_ bytes: [UInt8]) async throws(UDXConnectionError) {
    do throws(CallFailure) {
      try await state.writing.write(.message(bytes))
    } catch {
      throw state.closing.error(error)
    }
  }

  /// Waits until the peer's transport has acknowledged everything that was written before.
  /// - Throws: `closed` when the connection was destroyed before that; else as `write`.
  public nonisolated(nonsending) func flush() async throws(UDXConnectionError) {
    let reason: UDXConnectionError?
    do throws(CallFailure) {
      if try await state.writing.flush() { return }
      // The stream has begun to close; its last act says why.
      reason = try await state.closing.wait()
    } catch {
      throw state.closing.error(error)
    }
    throw reason ?? .closed
  }

  /// Ends the writing half after everything written so far, that of writers which wait included. Reading goes on.
  public func end() {
    state.writing.end()
  }

  /// Sends one unordered, unreliable message; longer ones than the path carries are lost: `statistics.mtu` less 48
  /// bytes, 68 over IPv6. It overtakes what `write` has sent, and is dropped once the connection is closed.
  public func sendMessage(_ bytes: [UInt8]) {
    let state = state
    state.loop.post { state.owned?.sendMessage(bytes) }
  }

  /// The next message; `nil` when the stream is closed or the task cancelled. Up to 256 wait to be read, further ones
  /// are dropped.
  public nonisolated(nonsending) func nextMessage() async -> [UInt8]? {
    await state.messages.next()
  }

  // MARK: Closing

  /// Aborts; what is not acknowledged may be lost, and the peer sees a reset.
  public func destroy() {
    let state = state
    state.loop.post { state.owned?.destroy() }
  }

  /// Whether the stream has closed, regularly or not.
  public var isClosed: Bool { state.closing.isClosed }

  /// Runs `body` on the loop with the stream itself: for statistics, a change of remote, relaying. Do not set its
  /// callbacks, they are in use. Does not look at cancellation.
  /// - Parameter body: called once, on the loop's thread; must not block.
  /// - Returns: what `body` returns, `nil` when the loop has ended.
  public nonisolated(nonsending) func withStream<R: Sendable>(
    _ body: @escaping @Sendable (UDXStream) -> R
  ) async -> R? {
    let state = state
    return await onLoop(state.loop) { body(state.stream) }
  }

  /// Gives the stream to a layer above, on the loop; `nil` when it has closed or is given away already. This object
  /// keeps the stream's owner, and so has to stay as long as the stream.
  package func handOver() -> (stream: UDXStream, head: [UInt8], ended: Bool)? {
    state.handOver().map { (state.stream, $0.head, $0.ended) }
  }

  /// The loop of the stream.
  package var loop: UVEventLoop { state.loop }

  /// Counters; the last ones after the close, zeros once the loop has ended.
  public nonisolated(nonsending) func statistics() async -> TransportStatistics {
    await withStream { $0.statistics } ?? TransportStatistics()
  }

  /// Waits until the stream is closed. It has to be read to its end for that.
  /// - Returns: why, `nil` for a regular end or a local `destroy`.
  /// - Throws: `cancelled`.
  public nonisolated(nonsending) func waitUntilClosed() async throws(UDXConnectionError) -> UDXConnectionError? {
    do throws(CallFailure) {
      return try await state.closing.wait()
    } catch {
      throw state.closing.error(error)
    }
  }
}

/// One call of `withNextBytes`, on the loop. Settled once: by bytes, by an end, or by its cancellation.
final class BorrowingReader: @unchecked Sendable {
  var take: ((UnsafeRawBufferPointer) -> Void)?
  var end: ((Result<Void, UDXConnectionError>) -> Void)?
  var isCancelled = false
}

/// The loop's side of a `UDXConnection`.
final class UDXConnectionState: @unchecked Sendable {
  let loop: UVEventLoop
  let stream: UDXStream
  let inbox = Inbox()
  let writing: MessagePump
  let messages = EventQueue<[UInt8], Never>(capacity: Limits.datagrams)
  let closing = ClosingFlag<UDXConnectionError>()

  private let writer: AcknowledgedWriter
  private let arrivals: Arrivals
  private var hasEnded = false
  private var isHandedOver = false
  private var borrower: ((UnsafeRawBufferPointer) -> Void)?
  /// Each waits for the next bytes; while there is none, and there was one, the stream is paused.
  private var nextReaders: [BorrowingReader] = []

  init(loop: UVEventLoop, stream: UDXStream) {
    self.loop = loop
    self.stream = stream
    writer = AcknowledgedWriter(stream)
    writing = MessagePump(loop: loop, sink: writer)
    arrivals = Arrivals(loop: loop, inbox: inbox) { stream.pauseReading() }
    stream.onData = { [self] in received($0) }
    stream.onMessage = { [self] in _ = messages.push(Array($0)) }
    stream.onDrain = { [self] in writing.drained() }
    stream.onEnd = { [self] in
      hasEnded = true
      arrivals.deliver()
      inbox.finish(.success(()))
      endReaders(.success(()))
    }
    stream.onClose = { [self] in closed($0) }
  }

  // MARK: Another owner

  /// The stream as long as it is this connection's.
  var owned: UDXStream? { isHandedOver ? nil : stream }

  /// Gives the stream away, on the loop: its callbacks are the taker's from now on. The calls of this connection end as
  /// after its close.
  /// - Returns: what has arrived and has not been read, and whether the peer has ended its half.
  func handOver() -> (head: [UInt8], ended: Bool)? {
    guard !isHandedOver, !closing.isClosed else { return nil }
    isHandedOver = true
    arrivals.deliver()
    let head = inbox.takeAll().flatMap { $0 }
    // It is paused when there was much to read: it goes on in the next turn, when it has its new callbacks.
    stream.resumeReading()
    let ended = hasEnded
    closed(nil)
    return (head, ended)
  }

  private func closed(_ error: TransportStreamError?) {
    arrivals.deliver()
    let reason = error.map { UDXConnectionError($0) }
    closing.record(reason)
    writing.close()
    writer.close()
    inbox.finish(reason == nil ? .success(()) : .failure(.closed))
    endReaders(reason.map { .failure($0) } ?? .success(()))
    messages.finish()
    borrower = nil
    closing.close()
  }

  // MARK: Receiving

  private func received(_ bytes: UnsafeRawBufferPointer) {
    if let borrower { return borrower(bytes) }
    if !nextReaders.isEmpty { return lend(bytes) }
    arrivals.add(part: bytes)
  }

  func borrow(_ body: @escaping (UnsafeRawBufferPointer) -> Void) {
    arrivals.deliver()
    for piece in inbox.takeAll() { piece.withUnsafeBytes(body) }
    borrower = body
    stream.resumeReading()
  }

  func borrowNext(_ reader: BorrowingReader) {
    if reader.isCancelled { return settle(reader, .failure(.cancelled)) }
    arrivals.deliver()
    switch inbox.takeNow() {
    case .success(let piece?)?: piece.withUnsafeBytes { settle(reader, $0) }
    case .success(nil)?: settle(reader, .success(()))
    case .failure(let error)?: settle(reader, .failure(closing.error(error)))
    case nil:
      nextReaders.append(reader)
      stream.resumeReading()
    }
  }

  func cancelBorrowing(_ reader: BorrowingReader) {
    reader.isCancelled = true
    guard let index = nextReaders.firstIndex(where: { $0 === reader }) else { return }
    nextReaders.remove(at: index)
    if nextReaders.isEmpty { hold() }
    settle(reader, .failure(.cancelled))
  }

  private func lend(_ bytes: UnsafeRawBufferPointer) {
    let reader = nextReaders.removeFirst()
    // First, because what the reader does may ask for more.
    if nextReaders.isEmpty { hold() }
    settle(reader, bytes)
  }

  /// Until the next reader of whichever kind.
  private func hold() {
    inbox.markPaused()
    stream.pauseReading()
  }

  private func endReaders(_ result: Result<Void, UDXConnectionError>) {
    let readers = nextReaders
    nextReaders = []
    for reader in readers { settle(reader, result) }
  }

  private func settle(_ reader: BorrowingReader, _ bytes: UnsafeRawBufferPointer) {
    let take = reader.take
    reader.take = nil
    reader.end = nil
    take?(bytes)
  }

  private func settle(_ reader: BorrowingReader, _ result: Result<Void, UDXConnectionError>) {
    let end = reader.end
    reader.take = nil
    reader.end = nil
    end?(result)
  }
}
