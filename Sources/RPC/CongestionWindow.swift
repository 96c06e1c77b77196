/// Bounds what we send without answers (dht-rpc.md 11.3): a ring of counters, one per 750 ms.
struct CongestionWindow {
  let maximum: Int
  private var slots: [Int]
  /// The number of the present slot, counted from the start.
  private(set) var current: UInt64 = 0
  private(set) var total = 0

  init(maximum: Int) {
    self.maximum = max(maximum, 1)
    slots = Array(repeating: 0, count: Limits.windowSlots)
  }

  var isFull: Bool { total >= 2 * maximum || slots[index(current)] >= maximum }

  private func index(_ slot: UInt64) -> Int { Int(slot % UInt64(slots.count)) }

  /// Counts a transmission; returns the slot that has it.
  mutating func sent() -> UInt64 {
    slots[index(current)] += 1
    total += 1
    return current
  }

  /// A request that was counted in `slot` is over: answered, timed out or cancelled. The credit goes to that slot,
  /// whatever the present one: what has been answered never counts on.
  mutating func released(from slot: UInt64) {
    guard current - slot < UInt64(slots.count), slots[index(slot)] > 0 else { return }
    slots[index(slot)] -= 1
    total -= 1
  }

  /// Enters the next slot; what it counted four slots ago has aged out.
  mutating func advance() {
    current += 1
    total -= slots[index(current)]
    slots[index(current)] = 0
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
