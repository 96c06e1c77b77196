import HyperEnvironment

/// A one-shot timer of a loop. The loop keeps it until it fires or is cancelled.
final class LoopTimer: ScheduledAction {
  let deadline: UInt64  // microseconds of uv_hrtime
  let sequence: UInt64  // keeps timers of one deadline in the order they were made
  fileprivate(set) var index = -1  // place in the heap, -1 when not in it
  private(set) var action: (() -> Void)?
  private weak var loop: UVEventLoop?

  init(deadline: UInt64, sequence: UInt64, loop: UVEventLoop, action: @escaping () -> Void) {
    self.deadline = deadline
    self.sequence = sequence
    self.loop = loop
    self.action = action
  }

  /// Loop only.
  func cancel() {
    guard action != nil else { return }
    action = nil
    if index >= 0 { loop?.timerCancelled(self) }
  }

  func takeAction() -> (() -> Void)? {
    defer { action = nil }
    return action
  }

  func isBefore(_ other: LoopTimer) -> Bool {
    deadline != other.deadline ? deadline < other.deadline : sequence < other.sequence
  }
}

/// A binary heap of timers with removal from the middle; all engine timers of a loop share one `uv_timer_t` through it.
struct TimerHeap {
  private var items: [LoopTimer] = []

  var first: LoopTimer? { items.first }
  var count: Int { items.count }

  mutating func insert(_ timer: LoopTimer) {
    timer.index = items.count
    items.append(timer)
    siftUp(timer.index)
  }

  mutating func remove(_ timer: LoopTimer) {
    let hole = timer.index
    guard hole >= 0, hole < items.count else { return }
    timer.index = -1
    let last = items.removeLast()
    guard last !== timer else { return }
    items[hole] = last
    last.index = hole
    siftUp(hole)
    siftDown(last.index)
  }

  mutating func removeAll() -> [LoopTimer] {
    let all = items
    items = []
    for timer in all { timer.index = -1 }
    return all
  }

  private mutating func siftUp(_ start: Int) {
    var child = start
    let moving = items[start]
    while child > 0 {
      let parent = (child - 1) / 2
      guard moving.isBefore(items[parent]) else { break }
      items[child] = items[parent]
      items[child].index = child
      child = parent
    }
    items[child] = moving
    moving.index = child
  }

  private mutating func siftDown(_ start: Int) {
    var parent = start
    let moving = items[start]
    while true {
      var child = 2 * parent + 1
      guard child < items.count else { break }
      if child + 1 < items.count, items[child + 1].isBefore(items[child]) { child += 1 }
      guard items[child].isBefore(moving) else { break }
      items[parent] = items[child]
      items[parent].index = parent
      parent = child
    }
    items[parent] = moving
    moving.index = parent
  }
}
