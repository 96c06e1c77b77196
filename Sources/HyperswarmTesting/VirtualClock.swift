import HyperEnvironment

/// Virtual time and what is due in it. Hosts and sockets hold the clock, so that it outlives the network while one of
/// them is still in use.
final class VirtualClock {
  /// Microseconds. Starts above 0, so that a time of 0 can mean "never".
  static let start: UInt64 = 1_000_000

  private(set) var now = VirtualClock.start
  private var queue = EventQueue()
  private var hasStopped = false

  var pendingEventCount: Int { queue.count }

  func schedule(afterMicroseconds delay: UInt64, _ action: @escaping () -> Void) -> VirtualTimer {
    push(time: now &+ delay, isDeferred: false, action)
  }

  func deferred(_ action: @escaping () -> Void) { _ = push(time: now, isDeferred: true, action) }

  private func push(time: UInt64, isDeferred: Bool, _ action: @escaping () -> Void) -> VirtualTimer {
    let timer = VirtualTimer(time: time, order: queue.nextOrder(isDeferred: isDeferred), action: action)
    if hasStopped { timer.cancel() } else { queue.push(timer) }
    return timer
  }

  /// Runs what is due until `end`, or until `condition` holds; returns whether it holds.
  func run(until end: UInt64, condition: () -> Bool) -> Bool {
    while !condition() {
      guard runNext(until: end) else {
        now = max(now, end)
        return condition()
      }
    }
    return true
  }

  /// Runs the next event that is due until `end`; `false` without one.
  func runNext(until end: UInt64) -> Bool {
    guard let next = queue.nextTime, next <= end, let event = queue.pop() else { return false }
    now = max(now, event.time)
    event.run()
    return true
  }

  var isIdle: Bool { queue.nextTime == nil }

  /// The network is gone: runs what was deferred (at most `bound` actions), then drops the rest and all that still
  /// comes.
  func stop(bound: Int) {
    var left = bound
    while left > 0, let next = queue.nextTime, next <= now, let event = queue.pop() {
      event.run()
      left -= 1
    }
    hasStopped = true
    queue.removeAll()
  }
}

/// An action in virtual time that has not run yet. Letting go of it does not cancel it.
public final class VirtualTimer: ScheduledAction {
  let time: UInt64
  let order: UInt64
  private var action: (() -> Void)?

  init(time: UInt64, order: UInt64, action: @escaping () -> Void) {
    self.time = time
    self.order = order
    self.action = action
  }

  var isCancelled: Bool { action == nil }

  func run() {
    let action = action
    self.action = nil
    action?()
  }

  /// The action does not run any more. Nothing happens after it has run.
  public func cancel() { action = nil }
}

/// Binary heap by time, then by order of creation; deferred actions come before timers of the same time.
struct EventQueue {
  private var heap: [VirtualTimer] = []
  private var counter: UInt64 = 1 << 32
  private var deferredCounter: UInt64 = 0

  var count: Int { heap.count { !$0.isCancelled } }

  /// Time of the next event that has not been cancelled.
  var nextTime: UInt64? {
    mutating get {
      while let first = heap.first, first.isCancelled { _ = removeFirst() }
      return heap.first?.time
    }
  }

  mutating func nextOrder(isDeferred: Bool) -> UInt64 {
    if isDeferred {
      deferredCounter += 1
      return deferredCounter
    }
    counter += 1
    return counter
  }

  mutating func push(_ event: VirtualTimer) {
    heap.append(event)
    var index = heap.count - 1
    while index > 0 {
      let parent = (index - 1) / 2
      guard before(heap[index], heap[parent]) else { break }
      heap.swapAt(index, parent)
      index = parent
    }
  }

  mutating func pop() -> VirtualTimer? { heap.isEmpty ? nil : removeFirst() }

  mutating func removeAll() {
    for event in heap { event.cancel() }
    heap = []
  }

  private func before(_ a: VirtualTimer, _ b: VirtualTimer) -> Bool {
    a.time != b.time ? a.time < b.time : a.order < b.order
  }

  private mutating func removeFirst() -> VirtualTimer {
    let first = heap[0]
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      var index = 0
      while true {
        var smallest = index
        for child in [2 * index + 1, 2 * index + 2] where child < heap.count && before(heap[child], heap[smallest]) {
          smallest = child
        }
        guard smallest != index else { break }
        heap.swapAt(index, smallest)
        index = smallest
      }
    }
    return first
  }
}
