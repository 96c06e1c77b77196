/// The nodes of the routing table from the longest silent to the latest heard.
struct RecencyList {
  private(set) var oldest: RoutingNode?
  private(set) var count = 0
  private unowned(unsafe) var newest: RoutingNode?

  var latest: RoutingNode? { newest }

  /// Appends a node that is in no list.
  mutating func append(_ node: RoutingNode) {
    node.earlier = newest
    node.later = nil
    if let newest { newest.later = node } else { oldest = node }
    newest = node
    count += 1
  }

  /// Takes out a node that is in this list.
  mutating func remove(_ node: RoutingNode) {
    let later = node.later
    if let later { later.earlier = node.earlier } else { newest = node.earlier }
    if let earlier = node.earlier { earlier.later = later } else { oldest = later }
    node.earlier = nil
    node.later = nil
    count -= 1
  }

  mutating func moveToLatest(_ node: RoutingNode) {
    guard node !== newest else { return }
    remove(node)
    append(node)
  }

  /// Unlinks everything one by one: a long chain must not be released recursively.
  mutating func removeAll() {
    while let node = oldest { remove(node) }
  }
}
