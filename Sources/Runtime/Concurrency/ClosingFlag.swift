/// Whether and why a connection has closed; can be awaited.
package final class ClosingFlag: Sendable {
  private struct State: WaitingState {
    var waiters = Waiters<Outcome>()
    var outcome: Outcome?
    var callbacks: [LoopBound<() -> Void>] = []
  }
  package typealias Outcome = Result<ConnectionError?, ConnectionError>

  private let state = Locked(State())

  package init() {}

  package var isClosed: Bool { state.withLock { $0.outcome != nil } }

  package func close(_ reason: ConnectionError?) {
    let (waiters, callbacks) = state.withLock { state in
      if state.outcome == nil { state.outcome = .success(reason) }
      defer { state.callbacks = [] }
      return (state.waiters.popAll(), state.callbacks)
    }
    for callback in callbacks { callback.value() }
    for waiter in waiters { waiter.resume(returning: .success(reason)) }
  }

  /// On the loop; at once when closed already.
  package func whenClosed(_ body: @escaping () -> Void) {
    let isClosed = state.withLock { state -> Bool in
      if state.outcome == nil { state.callbacks.append(LoopBound(body)) }
      return state.outcome != nil
    }
    if isClosed { body() }
  }

  package func wait(isolation: isolated (any Actor)?) async -> Outcome {
    await state.wait(cancelled: .failure(.cancelled), isolation: isolation) { $0.outcome }
  }
}
