/// What the application has written and the stream has not taken yet. Filled anywhere, emptied on the loop.
package final class Outbox: Sendable {
  package enum Item: @unchecked Sendable {
    case message([UInt8])
    /// Called on the loop when everything before it is acknowledged, or not any more going to be.
    case flush((Bool) -> Void)
    case end
  }

  private struct State: WaitingState {
    var items: [Item] = []
    /// Of messages queued here.
    var bytes = 0
    /// The loop knows about the items, or waits for the stream to drain.
    var isAnnounced = false
    var error: ConnectionError?
    var isEnded = false
    var waiters = Waiters<ConnectionError?>()
  }

  private let state = Locked(State())

  package init() {}

  // MARK: Any thread

  package enum Admission {
    /// Go on; the loop must be told if `announce`.
    case taken(announce: Bool)
    /// Taken, but the writer should wait for room.
    case full(announce: Bool)
    case refused(ConnectionError)
  }

  package func add(_ item: Item) -> Admission {
    state.withLock { state in
      if let error = state.error { return .refused(error) }
      switch item {
      case .flush: break
      case .message, .end: if state.isEnded { return .refused(.closed) }
      }
      if case .end = item { state.isEnded = true }
      state.items.append(item)
      if case .message(let bytes) = item { state.bytes &+= bytes.count &+ StreamBuffers.messageCost }
      let announce = !state.isAnnounced
      state.isAnnounced = true
      return state.bytes > StreamBuffers.writeWindow ? .full(announce: announce) : .taken(announce: announce)
    }
  }

  /// Until there is room again. A cancelled writer's message is sent all the same.
  package func waitForRoom(isolation: isolated (any Actor)?) async -> ConnectionError? {
    await state.wait(cancelled: .cancelled, isolation: isolation) { state -> ConnectionError?? in
      if let error = state.error { return .some(error) }
      return state.bytes <= StreamBuffers.writeResume ? .some(nil) : nil
    }
  }

  // MARK: On the loop

  /// All that is queued; empty means that the next `add` announces again.
  package func takeAll() -> [Item] {
    state.withLock { state in
      if state.items.isEmpty { state.isAnnounced = false }
      defer { state.items = [] }
      return state.items
    }
  }

  /// The stream has taken this much.
  package func took(_ bytes: Int) {
    let waiters = state.withLock { state in
      state.bytes &-= bytes
      return state.bytes <= StreamBuffers.writeResume ? state.waiters.popAll() : []
    }
    for waiter in waiters { waiter.resume(returning: nil) }
  }

  package func close(_ error: ConnectionError) {
    let (items, waiters) = state.withLock { state in
      if state.error == nil { state.error = error }
      defer {
        state.items = []
        state.bytes = 0
      }
      return (state.items, state.waiters.popAll())
    }
    for waiter in waiters { waiter.resume(returning: error) }
    for case .flush(let done) in items { done(false) }
  }
}
