/// Messages that have arrived and that the application has not read. Filled on the loop, read anywhere; copies are the
/// same inbox.
package struct Inbox: Sendable {
  package typealias Outcome = Result<[UInt8]?, CallFailure>

  private struct State: WaitingState {
    var messages: [[UInt8]] = []
    var head = 0
    var bytes = 0
    var window = Limits.unreadWindow
    /// The stream is paused until `bytes` falls.
    var isPaused = false
    var end: Result<Void, CallFailure>?
    var waiters = Waiters<Outcome>()
  }

  private let state = Locked(State())

  package init() {}

  /// Readers that are suspended.
  var waiting: Int { state.withLock { $0.waiters.count } }

  // MARK: On the loop

  /// Hands messages over; `true` when the stream has to be paused now.
  package func push(_ batch: [[UInt8]], bytes: Int) -> Bool {
    var batch = batch
    return push(&batch, bytes: bytes)
  }

  /// The same, and takes the memory of the batch.
  package func push(_ batch: inout [[UInt8]], bytes: Int) -> Bool {
    guard !batch.isEmpty else { return false }
    let (mustPause, waiters) = state.withLock { state -> (Bool, [(UnsafeContinuation<Outcome, Never>, Outcome)]) in
      guard state.end == nil else { return (false, []) }
      if state.messages.isEmpty { swap(&state.messages, &batch) } else { state.messages.append(contentsOf: batch) }
      state.bytes &+= bytes
      // One reader per message: the work that a reader does before it comes back must not hold up the others.
      var resumed: [(UnsafeContinuation<Outcome, Never>, Outcome)] = []
      while state.head < state.messages.count, let waiter = state.waiters.popFirst() {
        guard let outcome = Inbox.take(&state) else { break }
        resumed.append((waiter.continuation, outcome))
      }
      let mustPause = state.bytes > state.window && !state.isPaused
      if mustPause { state.isPaused = true }
      return (mustPause, resumed)
    }
    for (continuation, outcome) in waiters { continuation.resume(returning: outcome) }
    return mustPause
  }

  package func finish(_ result: Result<Void, CallFailure>) {
    let waiters = state.withLock { state in
      if state.end == nil { state.end = result }
      return state.waiters.popAll()
    }
    for waiter in waiters { waiter.resume(returning: result.map { nil }) }
  }

  /// For a reader on the loop: what waits, or the end; `nil` when there is nothing yet.
  package func takeNow() -> Outcome? { state.withLock { Inbox.take(&$0) } }

  /// The stream was paused for another reason: the next `next` has to resume it.
  package func markPaused() { state.withLock { $0.isPaused = true } }

  /// For a reader on the loop: everything that waits.
  package func takeAll() -> [[UInt8]] {
    state.withLock { state in
      let rest = Array(state.messages[state.head...])
      state.messages = []
      state.head = 0
      state.bytes = 0
      state.isPaused = false
      return rest
    }
  }

  /// There is no reader any more: drops what there is and everything to come.
  package func abandon() {
    state.withLock { state in
      state.messages = []
      state.head = 0
      state.bytes = 0
      state.end = state.end ?? .success(())
    }
  }

  // MARK: Any thread

  /// `resume` is called when the stream has to be told to go on.
  package nonisolated(nonsending) func next(resume: @Sendable () -> Void) async throws(CallFailure) -> [UInt8]? {
    if let ready = ready(resume: resume) { return try ready.get() }
    return try await arrival()
  }

  /// What `next` has without waiting: the caller is spared an asynchronous call.
  package func ready(resume: @Sendable () -> Void) -> Outcome? {
    let (ready, mustResume) = state.withLock { state -> (Outcome?, Bool) in
      let outcome = Inbox.take(&state)
      state.window = Limits.readWindow
      return (outcome, Inbox.mustResume(&state))
    }
    if mustResume { resume() }
    return ready
  }

  /// The part of `next` that waits.
  package nonisolated(nonsending) func arrival() async throws(CallFailure) -> [UInt8]? {
    try await state.wait(cancelled: .failure(.cancelled)) { Inbox.take(&$0) }.get()
  }

  private static func take(_ state: inout State) -> Outcome? {
    if state.head < state.messages.count {
      let message = state.messages[state.head]
      state.messages[state.head] = []
      state.head &+= 1
      state.bytes &-= message.count &+ Limits.messageCost
      if state.head == state.messages.count {
        state.messages.removeAll(keepingCapacity: state.messages.capacity <= 1024)
        state.head = 0
      } else if state.head >= 1024, state.head &* 2 >= state.messages.count {
        state.messages.removeFirst(state.head)
        state.head = 0
      }
      return .success(message)
    }
    return state.end.map { $0.map { nil } }
  }

  private static func mustResume(_ state: inout State) -> Bool {
    guard state.isPaused, state.bytes <= min(Limits.readResume, state.window / 2), state.end == nil else {
      return false
    }
    state.isPaused = false
    return true
  }
}
