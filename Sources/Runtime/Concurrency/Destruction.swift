/// The end of something that any number of callers may ask for: one of them brings it about, all wait for it.
package final class Destruction: Sendable {
  private struct State {
    var isClaimed = false
    var isDone = false
    var waiters: [UnsafeContinuation<Void, Never>] = []
  }

  private let state = Locked(State())

  package init() {}

  /// Whether the caller is the one that has to bring the end about, and to call `finish` then.
  package func claim() -> Bool {
    state.withLock { state in
      defer { state.isClaimed = true }
      return !state.isClaimed
    }
  }

  /// The end has been asked for.
  package var isClaimed: Bool { state.withLock { $0.isClaimed } }

  package func finish() {
    let waiters = state.withLock { state in
      state.isDone = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Waits for `finish`, whether or not the task is cancelled.
  package nonisolated(nonsending) func wait() async {
    await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
      let isDone = state.withLock { state in
        if !state.isDone { state.waiters.append(continuation) }
        return state.isDone
      }
      if isDone { continuation.resume() }
    }
  }
}
