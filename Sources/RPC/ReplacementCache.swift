/// Nodes that found their bucket full, latest heard last; the latest one takes the place of a node that goes
/// (dht-rpc.md C-10). At most ``Limits/replacementsPerBucket`` per bucket, one per /24.
struct ReplacementCache {
  private var buckets: [Int: [RoutingNode]] = [:]

  var count: Int { buckets.values.reduce(0) { $0 + $1.count } }

  /// Adds a node, or moves it to the latest end.
  mutating func add(_ node: RoutingNode, bucket: Int) {
    var nodes = buckets[bucket] ?? []
    let subnet = SubnetQuota.subnet(of: node.endpoint.host)
    let isPrivate = node.endpoint.host.isPrivate
    nodes.removeAll { $0.id == node.id || !isPrivate && SubnetQuota.subnet(of: $0.endpoint.host) == subnet }
    if nodes.count >= Limits.replacementsPerBucket { nodes.removeFirst() }
    nodes.append(node)
    buckets[bucket] = nodes
  }

  /// Takes out the latest heard node that fits.
  mutating func take(bucket: Int, where fits: (RoutingNode) -> Bool) -> RoutingNode? {
    guard let index = buckets[bucket]?.lastIndex(where: fits) else { return nil }
    return buckets[bucket]?.remove(at: index)
  }

  mutating func remove(_ node: RoutingNode, bucket: Int) { buckets[bucket]?.removeAll { $0.id == node.id } }

  mutating func removeAll() { buckets = [:] }
}
