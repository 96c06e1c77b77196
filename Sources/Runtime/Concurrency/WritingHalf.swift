/// Where a `WritingHalf` puts what was written: a stream, on its loop.
package protocol WritingSink: AnyObject {
  /// Takes one message.
  /// - Returns: whether there is room for another one. After `false` the owner of the half calls `drained` once there is.
  func send(_ message: [UInt8]) -> Bool
  /// Calls `done` once: whether everything that was sent before has been acknowledged.
  func flush(_ done: @escaping (Bool) -> Void)
  func end()
}

/// The writing half of a connection: takes messages on any thread and hands them to a stream on its loop, in order and
/// as fast as the stream has room.
///
/// Bounded by `StreamBuffers.writeWindow` and one message per writer: each writes first, then waits. Every call that
/// waits settles exactly once: by progress, by the cancellation of its task, or by `close`, which the owner calls when
/// the stream has closed for whatever reason.
package final class WritingHalf: @unchecked Sendable {
  private let loop: UVEventLoop
  private let sink: any WritingSink
  let outbox = Outbox()

  // On the loop.

  /// Taken from the outbox; from `waitingHead` on, the sink has not had it.
  private var waiting: [Outbox.Item] = []
  private var waitingHead = 0
  /// The sink has no room.
  private var isBlocked = false
  private var isPumping = false

  /// Keeps the sink.
  package init(loop: UVEventLoop, sink: any WritingSink) {
    self.loop = loop
    self.sink = sink
  }

  // MARK: Any thread

  /// Queues one message without waiting.
  /// - Returns: whether the writer should wait for room.
  package func put(_ message: [UInt8]) throws(ConnectionError) -> Bool {
    switch outbox.add(.message(message)) {
    case .refused(let error): throw error
    case .taken(let announce):
      if announce { postPump() }
      return false
    case .full(let announce):
      if announce { postPump() }
      return true
    }
  }

  /// Suspends until half of the window is free. A cancelled writer's message is sent all the same.
  package func waitForRoom(isolation: isolated (any Actor)?) async throws(ConnectionError) {
    if let error = await outbox.waitForRoom(isolation: isolation) { throw error }
  }

  /// Waits until the peer has acknowledged everything that was written before.
  package func flush(isolation: isolated (any Actor)?) async throws(ConnectionError) {
    let arrived: Bool = try await awaitOperation(
      on: loop, cancelled: ConnectionError.cancelled, gone: .closed, isolation: isolation
    ) { [self] settle in
      if case .refused(let error) = outbox.add(.flush { settle(.success($0)) }) {
        settle(.failure(error))
      } else {
        pump()
      }
      return nil
    }
    guard arrived else { throw .closed }
  }

  /// Nothing can be written after this; what was written before is still sent.
  package func end() {
    // A full outbox is announced already: the loop comes by.
    if case .taken(announce: true) = outbox.add(.end) { postPump() }
  }

  private func postPump() {
    loop.post { [self] in pump() }
  }

  // MARK: On the loop

  /// The sink has room again.
  package func drained() {
    isBlocked = false
    pump()
  }

  /// The stream is closed: writers, now and later, get `error`; flushes fail.
  package func close(_ error: ConnectionError) {
    let unsent = waiting[waitingHead...]
    waiting = []
    waitingHead = 0
    outbox.close(error)
    for case .flush(let done) in unsent { done(false) }
  }

  private func pump() {
    // Whoever is called from the loop below may write, drain or close.
    guard !isPumping else { return }
    isPumping = true
    var taken = 0
    while !isBlocked {
      if waitingHead == waiting.count {
        if taken > 0 {
          outbox.took(taken)
          taken = 0
        }
        waiting = outbox.takeAll()
        waitingHead = 0
        if waiting.isEmpty { break }
      }
      let item = waiting[waitingHead]
      waiting[waitingHead] = .end
      waitingHead &+= 1
      switch item {
      case .message(let bytes):
        // Before, because the sink may drain at once.
        isBlocked = true
        if sink.send(bytes) { isBlocked = false }
        taken &+= bytes.count &+ StreamBuffers.messageCost
        if taken >= StreamBuffers.writeStep {
          outbox.took(taken)
          taken = 0
        }
      case .flush(let done): sink.flush(done)
      case .end: sink.end()
      }
    }
    if taken > 0 { outbox.took(taken) }
    isPumping = false
  }
}
