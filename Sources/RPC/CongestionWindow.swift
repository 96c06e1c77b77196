/// Bounds what we send without answers (dht-rpc.md 11.3): a ring of counters, one per 750 ms.
struct CongestionWindow {
  let maximum: Int
  private var slots: [Int]
  private var current = 0
  private(set) var total = 0

  init(maximum: Int) {
    self.maximum = max(maximum, 1)
    slots = Array(repeating: 0, count: Limits.windowSlots)
  }

  var isFull: Bool { total >= 2 * maximum || slots[current] >= maximum }

  /// Counts a transmission.
  mutating func sent() {
    slots[current] += 1
    total += 1
  }

  /// A request is over: answered, timed out or cancelled.
  mutating func released() {
    guard slots[current] > 0 else { return }
    slots[current] -= 1
    total -= 1
  }

  /// Enters the next slot; what it counted four slots ago has aged out.
  mutating func advance() {
    current = (current + 1) % slots.count
    total -= slots[current]
    slots[current] = 0
  }

  /// Enters the next `count` slots.
  mutating func advance(by count: UInt64) {
    for _ in 0..<min(count, UInt64(slots.count)) { advance() }
  }

  mutating func clear() {
    for index in slots.indices { slots[index] = 0 }
    total = 0
  }
}
