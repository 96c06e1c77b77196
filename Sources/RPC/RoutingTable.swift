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
  /// No bucket behind it has ever had a node.
  private var deepest = 0

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
    deepest = max(deepest, index)
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
    let limit = min(limit, count)
    return withUnsafeTemporaryAllocation(of: Place.self, capacity: max(limit, 0)) { places in
      let found = findClosest(to: target, in: places)
      return places[..<found].map { buckets[Int($0.bucket)][Int($0.position)] }
    }
  }

  /// As ``closest(to:limit:)``, without memory from the heap: as many addresses as `target` has nodes for, at most as
  /// many as `result` has room for.
  /// - Returns: how many there are.
  func closest(to target: Bytes32, into result: UnsafeMutableBufferPointer<Endpoint>) -> Int {
    withUnsafeTemporaryAllocation(of: Place.self, capacity: min(result.count, count)) { places in
      let found = findClosest(to: target, in: places)
      for index in 0..<found {
        let place = places[index]
        result.initializeElement(at: index, to: buckets[Int(place.bucket)][Int(place.position)].endpoint)
      }
      return found
    }
  }

  /// Where a node is.
  private struct Place {
    var bucket: UInt16
    var position: UInt16
  }

  /// Fills `places` from the nearest node on; nothing is compared with anything but its neighbours in a bucket.
  ///
  /// Where the target differs from our id in the bit of a bucket, the nodes of that bucket are nearer to it than those
  /// of all later buckets; where it does not, they are farther.
  private func findClosest(to target: Bytes32, in places: UnsafeMutableBufferPointer<Place>) -> Int {
    var found = 0
    let distance = id.distance(to: target)
    var bucket = distance.leadingZeroBitCount
    while found < places.count, bucket <= deepest {
      if distance.hasBit(bucket) { append(bucket, nearestTo: target, to: places, &found) }
      bucket += 1
    }
    bucket = deepest
    while found < places.count, bucket >= 0 {
      if !distance.hasBit(bucket) { append(bucket, nearestTo: target, to: places, &found) }
      bucket -= 1
    }
    return found
  }

  @inline(__always)
  private func append(
    _ bucket: Int, nearestTo target: Bytes32, to places: UnsafeMutableBufferPointer<Place>, _ found: inout Int
  ) {
    buckets[bucket].withUnsafeBufferPointer { nodes in
      guard !nodes.isEmpty else { return }
      append(nodes, 0..<nodes.count, of: bucket, nearestTo: target, to: places, &found)
    }
  }

  /// Ids in order are a tree of bits: the side of the target comes first.
  private func append(
    _ nodes: UnsafeBufferPointer<RoutingNode>, _ range: Range<Int>, of bucket: Int, nearestTo target: Bytes32,
    to places: UnsafeMutableBufferPointer<Place>, _ found: inout Int
  ) {
    guard range.count > 1 else {
      if found < places.count {
        places[found] = Place(
          bucket: UInt16(truncatingIfNeeded: bucket), position: UInt16(truncatingIfNeeded: range.lowerBound))
        found &+= 1
      }
      return
    }
    let bit = nodes[range.lowerBound].id.distance(to: nodes[range.upperBound &- 1].id).leadingZeroBitCount
    // The first node that has the bit: the lowest has it not, the highest has.
    var low = range.lowerBound
    var high = range.upperBound &- 1
    while high &- low > 1 {
      let middle = (low &+ high) / 2
      if nodes[middle].id.hasBit(bit) { high = middle } else { low = middle }
    }
    let isUpper = target.hasBit(bit)
    let first = isUpper ? high..<range.upperBound : range.lowerBound..<high
    let second = isUpper ? range.lowerBound..<high : high..<range.upperBound
    append(nodes, first, of: bucket, nearestTo: target, to: places, &found)
    if found < places.count { append(nodes, second, of: bucket, nearestTo: target, to: places, &found) }
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
