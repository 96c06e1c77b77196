/// Whether and why a connection has closed; can be awaited. Copies are the same flag.
package struct ClosingFlag<Reason: Error>: Sendable {
  private struct State: WaitingState {
    var waiters = Waiters<Result<Reason?, CallFailure>>()
    var reason: Reason?
    var isClosed = false
    var callbacks: [LoopBound<() -> Void>] = []
  }

  private let state = Locked(State())

  package init() {}

  package var isClosed: Bool { state.withLock { $0.isClosed } }

  /// `nil` while it is open, and for a regular end or a local destroy.
  package var reason: Reason? { state.withLock { $0.reason } }

  /// First step of a close: `reason` tells from now on. Calls that fail because of the close must find it here, so it
  /// comes before any of them is resumed.
  package func record(_ reason: Reason?) {
    state.withLock { if !$0.isClosed { $0.reason = reason } }
  }

  /// Last step of a close.
  package func close() {
    let (waiters, callbacks, reason) = state.withLock { state in
      state.isClosed = true
      defer { state.callbacks = [] }
      return (state.waiters.popAll(), state.callbacks, state.reason)
    }
    for callback in callbacks { callback.value() }
    for waiter in waiters { waiter.resume(returning: .success(reason)) }
  }

  /// On the loop; at once when closed already.
  package func whenClosed(_ body: @escaping () -> Void) {
    let isClosed = state.withLock { state -> Bool in
      if !state.isClosed { state.callbacks.append(LoopBound(body)) }
      return state.isClosed
    }
    if isClosed { body() }
  }

  package nonisolated(nonsending) func wait() async throws(CallFailure) -> Reason? {
    let outcome = await state.wait(cancelled: .failure(.cancelled)) { state in
      state.isClosed ? .success(state.reason) : nil
    }
    return try outcome.get()
  }
}
