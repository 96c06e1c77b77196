/// Buckets by priority; the head is a uniformly random element of the highest non-empty bucket (hyperswarm.md
/// hyperswarm.md 9.3). Adding, removing and taking the head are O(1).
struct ShuffledPriorityQueue<Key: Hashable, Element> {
  private var buckets: [[(key: Key, element: Element)]] = []
  private var places: [Key: (priority: Int, index: Int)] = [:]

  var count: Int { places.count }
  var isEmpty: Bool { places.isEmpty }

  func contains(_ key: Key) -> Bool { places[key] != nil }

  subscript(key: Key) -> Element? {
    guard let place = places[key] else { return nil }
    return buckets[place.priority][place.index].element
  }

  /// `random` gives a uniform number below its argument. Returns `false` if the key is queued already.
  @discardableResult
  mutating func add(_ element: Element, key: Key, priority: Int, random: (UInt32) -> UInt32) -> Bool {
    guard places[key] == nil, priority >= 0 else { return false }
    while buckets.count <= priority { buckets.append([]) }
    // Inside-out shuffle: the bucket is a random permutation at any time, so its last element is a random one.
    let last = buckets[priority].count
    buckets[priority].append((key, element))
    places[key] = (priority, last)
    swap(priority, last, Int(random(UInt32(clamping: last + 1))))
    return true
  }

  /// The element that `popFirst` returns next.
  var first: Element? { buckets.last { !$0.isEmpty }?.last?.element }

  mutating func popFirst() -> Element? {
    guard let priority = buckets.lastIndex(where: { !$0.isEmpty }), let entry = buckets[priority].popLast() else {
      return nil
    }
    places[entry.key] = nil
    return entry.element
  }

  @discardableResult
  mutating func remove(_ key: Key) -> Element? {
    guard let place = places[key] else { return nil }
    swap(place.priority, place.index, buckets[place.priority].count - 1)
    places[key] = nil
    return buckets[place.priority].removeLast().element
  }

  mutating func removeAll() {
    buckets.removeAll()
    places.removeAll()
  }

  /// From the head on.
  var elements: [Element] { buckets.reversed().flatMap { $0.reversed().map(\.element) } }
  /// From the lowest priority on: the opposite order.
  var reversedElements: [Element] { buckets.flatMap { $0.map(\.element) } }

  private mutating func swap(_ priority: Int, _ a: Int, _ b: Int) {
    guard a != b else { return }
    buckets[priority].swapAt(a, b)
    places[buckets[priority][a].key] = (priority, a)
    places[buckets[priority][b].key] = (priority, b)
  }
}
