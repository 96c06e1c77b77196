/// A bounded buffer of events: pushed to on the loop, read anywhere.
package final class EventQueue<Element: Sendable, Failure: Error>: Sendable {
  private struct State: WaitingState {
    var elements: [Element] = []
    var head = 0
    var end: Result<Void, Failure>?
    var waiters = Waiters<Result<Element?, Failure>>()
    var dropped: UInt64 = 0
    var onRelease: (@Sendable () -> Void)?
  }

  private let capacity: Int
  private let state = Locked(State())

  package init(capacity: Int) { self.capacity = capacity }

  deinit { state.withLock { $0.onRelease }?() }

  /// Runs when the last reference to the queue goes.
  package func whenReleased(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onRelease = body } }

  /// The newest element that waits.
  package var last: Element? { state.withLock { $0.elements.last } }

  /// Elements that found no room.
  package var droppedCount: UInt64 { state.withLock { $0.dropped } }

  /// `false` when the buffer is full or the sequence has ended: the element is not taken.
  @discardableResult
  package func push(_ element: Element) -> Bool {
    let (taken, waiter) = state.withLock { state -> (Bool, UnsafeContinuation<Result<Element?, Failure>, Never>?) in
      guard state.end == nil else { return (false, nil) }
      if let waiter = state.waiters.popFirst() { return (true, waiter.continuation) }
      guard state.elements.count - state.head < capacity else {
        state.dropped += 1
        return (false, nil)
      }
      state.elements.append(element)
      return (true, nil)
    }
    waiter?.resume(returning: .success(element))
    return taken
  }

  /// Readers get what is buffered, then the end. The first end counts.
  package func finish(_ result: Result<Void, Failure> = .success(())) {
    let waiters = state.withLock { state in
      if state.end == nil { state.end = result }
      return state.waiters.popAll()
    }
    for waiter in waiters { waiter.resume(returning: result.map { nil }) }
  }

  /// Takes back what has not been read.
  package func drain() -> [Element] {
    state.withLock { state in
      defer {
        state.elements = []
        state.head = 0
      }
      return Array(state.elements[state.head...])
    }
  }

  package nonisolated(nonsending) func next() async throws(Failure) -> Element? {
    if let ready = state.withLock({ EventQueue.take(&$0) }) { return try ready.get() }
    let result = await state.wait(cancelled: .success(nil)) { EventQueue.take(&$0) }
    return try result.get()
  }

  private static func take(_ state: inout State) -> Result<Element?, Failure>? {
    if state.head < state.elements.count {
      let element = state.elements[state.head]
      state.head += 1
      if state.head == state.elements.count {
        state.elements.removeAll(keepingCapacity: state.elements.capacity <= 64)
        state.head = 0
      } else if state.head >= 64, state.head * 2 >= state.elements.count {
        state.elements.removeFirst(state.head)
        state.head = 0
      }
      return .success(element)
    }
    return state.end.map { $0.map { nil } }
  }
}
