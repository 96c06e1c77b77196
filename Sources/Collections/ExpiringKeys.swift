/// Keys that are remembered for a while. Bounded: the one that was inserted first is forgotten first.
package struct ExpiringKeys<Key: Hashable> {
  private let limit: Int
  private var expiry: [Key: UInt64] = [:]
  /// The keys, latest insertion last.
  private var order: [Key] = []

  package init(limit: Int) { self.limit = limit }

  package var count: Int { order.count }

  /// Remembers `key` up to, and not including, `time`; of a known key it replaces the time, and the key counts as new.
  package mutating func insert(_ key: Key, until time: UInt64) {
    remove(key)
    if order.count >= limit { expiry[order.removeFirst()] = nil }
    order.append(key)
    expiry[key] = time
  }

  package mutating func remove(_ key: Key) {
    guard expiry.removeValue(forKey: key) != nil else { return }
    order.removeAll { $0 == key }
  }

  package func contains(_ key: Key, at now: UInt64) -> Bool { expiry[key].map { now < $0 } ?? false }
}
