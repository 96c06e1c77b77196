import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import HyperSecretStream

/// The loop's side of a `Connection`: joins the stream with the reader and the writers.
///
/// Held by the stream's callbacks until the stream closes, and by the handle. Everything but the boxes is confined to
/// the loop.
final class ConnectionState: @unchecked Sendable {
  let loop: UVEventLoop
  let stream: EncryptedStream
  /// Of the stream; `nil` when it is gone.
  private(set) weak var node: DHTNode?
  let inbox = Inbox()
  let writing: MessagePump
  let board: StateBoard
  let closing = ClosingFlag<ConnectionError>()

  private let arrivals: Arrivals
  private lazy var datagrams = board.datagrams

  /// Takes over the stream's `onAuthenticated`, `onOwnedMessage`, `onDatagram`, `onPathChange`, `onDrain` and `onEnd`;
  /// the owner calls `closed` from `onClose`.
  init(loop: UVEventLoop, node: DHTNode, stream: EncryptedStream, board: StateBoard) {
    self.loop = loop
    self.node = node
    self.board = board
    self.stream = stream
    writing = MessagePump(loop: loop, sink: stream)
    arrivals = Arrivals(loop: loop, inbox: inbox) { stream.pause() }
    if stream.isAuthenticated { board.proved() }
    stream.onAuthenticated = { board.proved() }
    stream.onOwnedMessage = { [arrivals] in arrivals.add(message: $0) }
    stream.onDatagram = { [self] bytes in datagrams.push(Array(bytes)) }
    stream.onPathChange = { [self] remote in
      board.pathChanges.push(remote)
      board.moved(to: path(to: remote))
    }
    board.open(stream.transport?.remote.map(path))
    // What makes the connection says in the turn of its opening whether it is over a relay.
    let isRelayed = stream.isRelayed
    loop.defer { [self] in
      guard stream.isRelayed != isRelayed, let remote = stream.transport?.remote else { return }
      board.reopen(path(to: remote))
    }
    stream.onDrain = { [self] in writing.drained() }
    stream.onEnd = { [self] in
      arrivals.deliver()
      inbox.finish(.success(()))
      board.closing()
    }
  }

  private func path(to remote: Endpoint) -> HyperDHT.Connection.Path {
    stream.isRelayed ? .relayed(remote) : .direct(remote)
  }

  /// From any thread: nothing is written any more.
  func end() {
    writing.end()
    board.closing()
  }

  func destroy() {
    board.closing()
    stream.destroy()
  }

  /// From any thread.
  func destroySoon() {
    board.expectDestruction()
    loop.post { self.destroy() }
  }

  /// Last act of the stream.
  func closed(_ error: EncryptedStreamError?) {
    arrivals.deliver()
    let reason = error.map(ConnectionError.init)
    closing.record(reason)
    // Writing fails first: a reader that learns of the end may write at once.
    writing.close()
    inbox.finish(reason == nil ? .success(()) : .failure(.closed))
    board.closed(reason)
    closing.close()
  }

  func resumeReading() { stream.resume() }

  /// The handle is gone: what was written is still sent, what arrives is dropped.
  func abandon() {
    guard !stream.isDestroying else { return }
    if board.isDestructionDue { return destroy() }
    arrivals.abandon()
    inbox.abandon()
    stream.resume()
    end()
    let deadline = loop.schedule(after: Limits.abandonedGrace) { [stream] in stream.destroy() }
    closing.whenClosed { deadline.cancel() }
  }
}

extension EncryptedStream: MessageSink {
  /// A stream that is about to close has room for everything, and drops it.
  package func send(_ message: [UInt8]) -> Bool { write(message) || isDestroying }
  package func send(borrowed message: UnsafeRawBufferPointer) -> Bool { write(message) || isDestroying }
  package func send(owned message: OwnedMessage) -> Bool { write(message) || isDestroying }
}
