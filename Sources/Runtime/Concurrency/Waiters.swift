/// Tasks that are suspended until a state behind a lock changes. Each is resumed exactly once: by the change of the
/// state, or by its cancellation.
struct Waiters<Outcome: Sendable> {
  typealias Continuation = UnsafeContinuation<Outcome, Never>

  private var list: [(id: UInt64, continuation: Continuation)] = []
  private var nextID: UInt64 = 0
  /// Cancelled before they were in the list.
  private var cancelled: Set<UInt64> = []

  var isEmpty: Bool { list.isEmpty }
  var count: Int { list.count }

  mutating func popFirst() -> (id: UInt64, continuation: Continuation)? { list.isEmpty ? nil : list.removeFirst() }

  mutating func popAll() -> [Continuation] {
    guard !list.isEmpty else { return [] }
    defer { list = [] }
    return list.map(\.continuation)
  }

  fileprivate mutating func makeID() -> UInt64 {
    nextID &+= 1
    return nextID
  }

  fileprivate mutating func add(_ id: UInt64, _ continuation: Continuation) { list.append((id, continuation)) }

  fileprivate mutating func cancel(_ id: UInt64) -> Continuation? {
    guard let index = list.firstIndex(where: { $0.id == id }) else {
      cancelled.insert(id)
      return nil
    }
    return list.remove(at: index).continuation
  }

  fileprivate mutating func removeCancelled(_ id: UInt64) -> Bool { cancelled.remove(id) != nil }
}

protocol WaitingState: SendableMetatype {
  associatedtype Outcome: Sendable
  var waiters: Waiters<Outcome> { get set }
}

extension Locked where Value: WaitingState {
  /// Suspends until `ready` gives an outcome, now or when a change of the state resumes the waiter, or until
  /// cancellation.
  nonisolated(nonsending) func wait(
    cancelled: Value.Outcome, ready: (inout Value) -> Value.Outcome?
  ) async -> Value.Outcome {
    await waitNumbered(cancelled: cancelled) { state, _ in ready(&state) }
  }

  /// The same; `ready` also gets the number under which the waiter is going to be popped.
  nonisolated(nonsending) func waitNumbered(
    cancelled: Value.Outcome, ready: (inout Value, UInt64) -> Value.Outcome?
  ) async -> Value.Outcome {
    let id = withLock { $0.waiters.makeID() }
    let outcome = await withTaskCancellationHandler {
      await withUnsafeContinuation { (continuation: UnsafeContinuation<Value.Outcome, Never>) in
        let now = withLock { state -> Value.Outcome? in
          if state.waiters.removeCancelled(id) { return cancelled }
          if let outcome = ready(&state, id) { return outcome }
          state.waiters.add(id, continuation)
          return nil
        }
        if let now { continuation.resume(returning: now) }
      }
    } onCancel: {
      withLock { $0.waiters.cancel(id) }?.resume(returning: cancelled)
    }
    // A cancellation that came too late has left its mark.
    withLock { _ = $0.waiters.removeCancelled(id) }
    return outcome
  }
}
