import HyperEnvironment

/// The retry timers of a swarm (hyperswarm.md 8.2) in one heap with one scheduled wake-up.
///
/// The reference runs four tickers for ever and hands out a batch at the second tick after it was collected. The same
/// moments are computed here: tick `n` of a timer is `n` periods after its first use, an entry is due at the second
/// tick after it was added, and nothing runs while nothing waits.
final class RetryTimers {
  private struct Entry {
    var due: UInt64
    var sequence: UInt64
    var ticket: UInt64
    var peer: PeerInfo
  }

  let periods: [UInt64]
  var onBatch: (([PeerInfo]) -> Void)?

  private let environment: any Environment
  private var origins: [UInt64?]
  private var heap: [Entry] = []
  private var sequence: UInt64 = 0
  private var wakeUp: (any ScheduledAction)?
  private var wakeUpTime: UInt64 = 0
  private var isStopped = false
  /// Entries that a later one of the same peer has made void.
  private var staleCount = 0

  /// `times` are the four backoffs with their jitter added.
  init(environment: any Environment, times: [UInt64]) {
    self.environment = environment
    periods = times.map { max(1, $0 * 66 / 100) }
    origins = Array(repeating: nil, count: times.count)
  }

  /// Peers that wait.
  var count: Int { heap.count - staleCount }

  /// Marks the peer as waiting and returns the delay in milliseconds. An earlier entry of the peer is void.
  @discardableResult
  func add(_ peer: PeerInfo, to timer: RetryTimer) -> UInt64 {
    guard !isStopped, timer.rawValue < periods.count else { return 0 }
    let now = environment.nowMilliseconds
    let period = periods[timer.rawValue]
    let origin = origins[timer.rawValue] ?? now
    origins[timer.rawValue] = origin
    let due = origin + ((now - origin) / period + 2) * period
    if peer.isWaiting { staleCount += 1 }
    peer.isWaiting = true
    peer.retryTicket &+= 1
    sequence += 1
    push(Entry(due: due, sequence: sequence, ticket: peer.retryTicket, peer: peer))
    if staleCount > 64 + heap.count / 2 { compact() }
    arm()
    return due - now
  }

  /// Forgets all entries and clears their waiting marks.
  func removeAll() {
    for entry in heap { entry.peer.isWaiting = false }
    heap.removeAll()
    staleCount = 0
    wakeUp?.cancel()
    wakeUp = nil
  }

  func stop() {
    isStopped = true
    removeAll()
    onBatch = nil
  }

  private func arm() {
    guard let first = heap.first else {
      wakeUp?.cancel()
      wakeUp = nil
      return
    }
    if wakeUp != nil && wakeUpTime <= first.due { return }
    wakeUp?.cancel()
    wakeUpTime = first.due
    let now = environment.nowMilliseconds
    wakeUp = environment.schedule(after: first.due > now ? first.due - now : 0) { [weak self] in self?.fire() }
  }

  private func fire() {
    wakeUp = nil
    let now = environment.nowMilliseconds
    var batch: [PeerInfo] = []
    while let first = heap.first, first.due <= now {
      let entry = pop()
      guard entry.ticket == entry.peer.retryTicket else {
        staleCount -= 1
        continue
      }
      entry.peer.isWaiting = false
      batch.append(entry.peer)
    }
    arm()
    if !batch.isEmpty { onBatch?(batch) }
  }

  // MARK: Binary heap, earliest first, ties in the order of adding

  private func precedes(_ a: Entry, _ b: Entry) -> Bool { a.due != b.due ? a.due < b.due : a.sequence < b.sequence }

  private func compact() {
    let live = heap.filter { $0.ticket == $0.peer.retryTicket }
    heap.removeAll(keepingCapacity: true)
    staleCount = 0
    for entry in live { push(entry) }
  }

  private func push(_ entry: Entry) {
    heap.append(entry)
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard precedes(heap[child], heap[parent]) else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  private func pop() -> Entry {
    heap.swapAt(0, heap.count - 1)
    let top = heap.removeLast()
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && precedes(heap[child], heap[least]) {
        least = child
      }
      guard least != parent else { return top }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
