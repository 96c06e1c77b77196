import HyperEncoding

/// What we know of a node (dht-rpc.md 12.1). Times are ticks of 5 s.
final class RoutingNode {
  let id: Bytes32
  let endpoint: Endpoint
  /// How that node sees us.
  var to: Endpoint?
  var added: UInt64
  /// Last contacted or heard.
  var pinged: UInt64
  /// Last heard.
  var seen: UInt64
  /// Last used as NAT sample, 0 = never.
  var sampled: UInt64 = 0
  /// Last used as NAT sample ahead of time, because it saw us somewhere else; 0 = never.
  var resampled: UInt64 = 0
  var downHints = 0

  // Links of the recency list.
  var later: RoutingNode?
  unowned(unsafe) var earlier: RoutingNode?

  init(id: Bytes32, endpoint: Endpoint, tick: UInt64) {
    self.id = id
    self.endpoint = endpoint
    added = tick
    pinged = tick
    seen = tick
  }

  var address: NodeAddress { NodeAddress(id: id, endpoint: endpoint) }
}

/// 256 buckets of at most 20 nodes, one per number of leading bits shared with our own id; no splitting
/// (dht-rpc.md 12.2).
struct RoutingTable {
  let id: Bytes32
  let bucketSize: Int
  /// Bounds the nodes per IP address and /24, in each bucket and in all.
  let isDiverse: Bool
  private(set) var count = 0
  private var quota = SubnetQuota(.ofTable)
  /// Inside a bucket ascending by id.
  private var buckets: [[RoutingNode]]

  /// Why a node does not get in.
  enum Obstacle {
    case bucketFull
    case subnetCrowdsBucket
    case subnetCrowdsTable
  }

  init(id: Bytes32, bucketSize: Int = Limits.k, isDiverse: Bool = true) {
    self.id = id
    self.bucketSize = bucketSize
    self.isDiverse = isDiverse
    buckets = Array(repeating: [], count: Limits.bucketCount)
  }

  func bucketIndex(of id: Bytes32) -> Int {
    min(self.id.distance(to: id).leadingZeroBitCount, Limits.bucketCount - 1)
  }

  func node(_ id: Bytes32) -> RoutingNode? {
    let bucket = buckets[bucketIndex(of: id)]
    let position = RoutingTable.position(of: id, in: bucket)
    return position < bucket.count && bucket[position].id == id ? bucket[position] : nil
  }

  func contains(_ id: Bytes32) -> Bool { node(id) != nil }

  /// The nodes of the bucket that `id` belongs to.
  func bucket(for id: Bytes32) -> [RoutingNode] { buckets[bucketIndex(of: id)] }

  func bucket(at index: Int) -> [RoutingNode] { buckets.indices.contains(index) ? buckets[index] : [] }

  /// What keeps a node out that is not in the table.
  func obstacle(for node: RoutingNode) -> Obstacle? {
    let bucket = buckets[bucketIndex(of: node.id)]
    let host = node.endpoint.host
    if isDiverse, !host.isPrivate {
      var quota = SubnetQuota(.ofBucket)
      for other in bucket { quota.add(other.endpoint.host) }
      if !quota.hasRoom(for: host) { return .subnetCrowdsBucket }
      if !self.quota.hasRoom(for: host) { return .subnetCrowdsTable }
    }
    return bucket.count < bucketSize ? nil : .bucketFull
  }

  /// Replaces a record with the same id. `false` when an ``Obstacle`` is in the way.
  mutating func insert(_ node: RoutingNode) -> Bool {
    let index = bucketIndex(of: node.id)
    let position = RoutingTable.position(of: node.id, in: buckets[index])
    if position < buckets[index].count, buckets[index][position].id == node.id {
      buckets[index][position] = node
      return true
    }
    guard obstacle(for: node) == nil else { return false }
    buckets[index].insert(node, at: position)
    quota.add(node.endpoint.host)
    count += 1
    return true
  }

  @discardableResult
  mutating func remove(_ id: Bytes32) -> RoutingNode? {
    let index = bucketIndex(of: id)
    let position = RoutingTable.position(of: id, in: buckets[index])
    guard position < buckets[index].count, buckets[index][position].id == id else { return nil }
    count -= 1
    quota.remove(buckets[index][position].endpoint.host)
    return buckets[index].remove(at: position)
  }

  /// The nodes nearest to `target` by true XOR distance, nearest first (the reference walks whole buckets instead,
  /// dht-rpc.md 12.3 and C-4).
  func closest(to target: Bytes32, limit: Int = Limits.k) -> [RoutingNode] {
    guard limit > 0, count > 0 else { return [] }
    let shared = id.distance(to: target).leadingZeroBitCount
    var result: [RoutingNode] = []
    // Nodes of the target's own bucket share more bits with it than we do; those of later buckets share exactly as many
    // as we do, those of earlier ones fewer and fewer.
    if shared < Limits.bucketCount { append(buckets[shared][...], nearestTo: target, to: &result) }
    if result.count < limit, shared + 1 < Limits.bucketCount {
      append(buckets[(shared + 1)...].joined(), nearestTo: target, to: &result)
    }
    var index = min(shared, Limits.bucketCount) - 1
    while result.count < limit, index >= 0 {
      append(buckets[index][...], nearestTo: target, to: &result)
      index -= 1
    }
    if result.count > limit { result.removeLast(result.count - limit) }
    return result
  }

  private func append(_ nodes: some Sequence<RoutingNode>, nearestTo target: Bytes32, to result: inout [RoutingNode]) {
    let sorted = nodes.map { (distance: $0.id.distance(to: target), node: $0) }.sorted { $0.distance < $1.distance }
    for entry in sorted { result.append(entry.node) }
  }

  /// First position whose id is not below `id`.
  private static func position(of id: Bytes32, in bucket: [RoutingNode]) -> Int {
    var low = 0
    var high = bucket.count
    while low < high {
      let middle = (low + high) / 2
      if bucket[middle].id < id { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
