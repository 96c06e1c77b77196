import HyperEnvironment

/// Virtual time and what is due in it. Hosts and sockets hold it, so that it outlives the network while one of them is
/// still in use.
final class VirtualTime {
  /// Microseconds. Starts above 0, so that a time of 0 can mean "never".
  static let start: UInt64 = 1_000_000

  private(set) var now = VirtualTime.start {
    didSet { executor.show(now) }
  }
  /// Tasks that live in this time.
  let executor = VirtualExecutor()
  private var queue = EventQueue()
  /// Timers of tasks that sleep, by number.
  private var sleeps: [UInt64: VirtualTimer] = [:]
  private var hasStopped = false
  /// The network goes: what belonged to it must not run any more.
  private(set) var isStopping = false

  var pendingEventCount: Int { queue.count }

  func schedule(afterMicroseconds delay: UInt64, _ action: @escaping () -> Void) -> VirtualTimer {
    push(time: now &+ delay, isDeferred: false, action)
  }

  func deferred(_ action: @escaping () -> Void) { _ = push(time: now, isDeferred: true, action) }

  private func push(time: UInt64, isDeferred: Bool, _ action: @escaping () -> Void) -> VirtualTimer {
    let timer = VirtualTimer(action: action)
    if hasStopped { timer.cancel() } else { queue.push(timer, at: time, isDeferred: isDeferred) }
    return timer
  }

  /// Runs what is due until `end`, or until `condition` holds; returns whether it holds. Tasks run to where they wait
  /// before the condition is asked and before the time moves on.
  func run(until end: UInt64, condition: () -> Bool) -> Bool {
    executor.enter()
    defer { executor.leave() }
    executor.runTasks(in: self)
    while !condition() {
      guard runNext(until: end) else {
        now = max(now, end)
        return condition()
      }
    }
    return true
  }

  /// Runs the next event that is due until `end`, and the tasks that it wakes; `false` without one.
  private func runNext(until end: UInt64) -> Bool {
    guard let next = queue.nextTime, next <= end, let event = queue.pop() else { return false }
    now = max(now, next)
    event.run()
    executor.runTasks(in: self)
    return true
  }

  /// Runs until nothing is due any more, at most until `end`.
  func runUntilIdle(until end: UInt64) {
    executor.enter()
    defer { executor.leave() }
    executor.runTasks(in: self)
    while runNext(until: end) {}
  }

  /// A task sleeps from now on.
  func beginSleep(_ number: UInt64, until deadline: UInt64) {
    sleeps[number] = push(time: max(now, deadline), isDeferred: false) { [self] in
      sleeps[number] = nil
      executor.wake(number)
    }
  }

  /// Its task was cancelled.
  func endSleep(_ number: UInt64) { sleeps.removeValue(forKey: number)?.cancel() }

  var isIdle: Bool { queue.nextTime == nil }

  /// The network is gone: runs what was deferred (at most `bound` actions), then drops the rest and all that still
  /// comes. Tasks that sleep wake up with an error.
  func stop(bound: Int) {
    isStopping = true
    var left = bound
    while left > 0, let next = queue.nextTime, next <= now, let event = queue.pop() {
      event.run()
      left -= 1
    }
    hasStopped = true
    queue.removeAll()
    sleeps = [:]
    executor.end(in: self)
  }
}

/// An action in virtual time that has not run yet, from `VirtualNetwork.schedule`. Letting go of it does not cancel it.
public final class VirtualTimer: ScheduledAction {
  private var action: (() -> Void)?

  init(action: @escaping () -> Void) { self.action = action }

  var isCancelled: Bool { action == nil }

  func run() {
    let action = action
    self.action = nil
    action?()
  }

  /// The action does not run any more, and is let go of. Nothing happens after it has run.
  public func cancel() { action = nil }
}

/// Binary heap by time, then by order of creation; deferred actions come before timers of the same time.
struct EventQueue {
  /// Times stand beside the reference, so that finding a place touches no timer.
  private struct Entry {
    var time: UInt64
    var order: UInt64
    var timer: VirtualTimer

    func isBefore(_ other: Entry) -> Bool { time != other.time ? time < other.time : order < other.order }
  }

  private var heap: [Entry] = []
  private var counter: UInt64 = 1 << 32
  private var deferredCounter: UInt64 = 0

  var count: Int { heap.count { !$0.timer.isCancelled } }

  /// Time of the next event that has not been cancelled.
  var nextTime: UInt64? {
    mutating get {
      while !heap.isEmpty {
        guard heap[0].timer.isCancelled else { return heap[0].time }
        _ = removeFirst()
      }
      return nil
    }
  }

  mutating func push(_ timer: VirtualTimer, at time: UInt64, isDeferred: Bool) {
    if isDeferred { deferredCounter += 1 } else { counter += 1 }
    heap.append(Entry(time: time, order: isDeferred ? deferredCounter : counter, timer: timer))
    heap.withUnsafeMutableBufferPointer { heap in
      var index = heap.count - 1
      while index > 0 {
        let parent = (index - 1) / 2
        guard heap[index].isBefore(heap[parent]) else { break }
        heap.swapAt(index, parent)
        index = parent
      }
    }
  }

  mutating func pop() -> VirtualTimer? { heap.isEmpty ? nil : removeFirst() }

  mutating func removeAll() {
    for entry in heap { entry.timer.cancel() }
    heap = []
  }

  private mutating func removeFirst() -> VirtualTimer {
    heap.swapAt(0, heap.count - 1)
    let first = heap.removeLast()
    heap.withUnsafeMutableBufferPointer { heap in
      var index = 0
      while 2 * index + 1 < heap.count {
        var child = 2 * index + 1
        if child + 1 < heap.count, heap[child + 1].isBefore(heap[child]) { child += 1 }
        guard heap[child].isBefore(heap[index]) else { break }
        heap.swapAt(index, child)
        index = child
      }
    }
    return first.timer
  }
}
