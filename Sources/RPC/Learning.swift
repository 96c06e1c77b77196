import HyperCrypto
import HyperEncoding
import HyperEnvironment

// Routing table upkeep: learning from traffic, full buckets, liveness (dht-rpc.md 12.4, 12.5, 13).
extension RPCNode {
  /// A request names a node. Its source may be forged, so it says nothing about our address, and it brings no node into
  /// the table: the answer to a ping does (dht-rpc.md C-13; the reference takes the request itself).
  func heardRequest(of id: Bytes32, _ source: Endpoint) {
    guard id != table.id else { return }
    if let node = table.node(id) { return heard(node) }
    if let filter = configuration.filterNode, !filter(source) { return }
    checkSource(source)
  }

  /// Learns from a response. `to` is our address as the sender knows it.
  func learn(_ sender: NodeAddress, to: Endpoint, isExternal: Bool) {
    if let filter = configuration.filterNode, !filter(sender.endpoint) { return }
    guard let id = sender.id else {
      sampleEarly(sender.endpoint, to: to, isExternal: isExternal)
      return
    }
    guard id != table.id else { return }
    if let node = table.node(id) {
      heard(node)
      if !isExternal, isSampleDue(node, to) {
        node.to = to
        node.sampled = tick
        addSample(to)
      }
      return
    }
    guard sender.endpoint.isUsable else { return }
    let node = RoutingNode(id: id, endpoint: sender.endpoint, tick: tick)
    node.to = to
    if !isExternal { node.sampled = tick }
    // The reference samples here even when the traffic is external, which can mix the ports of several sockets
    // (dht-rpc.md E-6).
    if insert(node), !isExternal { addSample(to) }
  }

  /// Every node is a sample once in half an hour, and once more in that time when it sees us somewhere else than
  /// before: a new address shows within minutes, and a liar gains one more vote (dht-rpc.md C-13).
  private func isSampleDue(_ node: RoutingNode, _ to: Endpoint) -> Bool {
    if node.sampled == 0 || tick - node.sampled >= Limits.oldNodeTicks { return true }
    guard let before = node.to else {
      node.to = to
      return false
    }
    guard before != to, node.resampled == 0 || tick - node.resampled >= Limits.oldNodeTicks
    else { return false }
    node.resampled = tick
    return true
  }

  /// Senders without an id count as samples only until the bootstrap nodes could all have answered.
  private func sampleEarly(_ endpoint: Endpoint, to: Endpoint, isExternal: Bool) {
    let limit = min(max(1, configuration.bootstrap.count), Limits.maximumEarlySamples)
    guard !isExternal, earlySamples.count < limit, earlySamples.insert(endpoint).inserted else { return }
    addSample(to)
  }

  private func addSample(_ observed: Endpoint) {
    let before = (sampler.host, sampler.port)
    sampler.add(observed)
    guard before != (sampler.host, sampler.port) else { return }
    onNATUpdate?(sampler.host, sampler.port)
    ownAddressMayHaveChanged(from: before.0)
  }

  /// A known node has spoken.
  func heard(_ node: RoutingNode) {
    node.pinged = tick
    node.seen = tick
    recency.moveToLatest(node)
  }

  // MARK: Table

  /// Adds a node that is not in the table. When its bucket is full, a check of the bucket's stalest node may make room
  /// later.
  func insert(_ node: RoutingNode) -> Bool {
    if let filter = configuration.filterNode, !filter(node.endpoint) { return false }
    guard !table.contains(node.id) else { return false }
    if let obstacle = table.obstacle(for: node) {
      if obstacle == .bucketFull {
        replacements.add(node, bucket: table.bucketIndex(of: node.id))
      } else {
        statistics.drops.crowdedSubnets += 1
      }
      makeRoom(for: node, obstacle)
      return false
    }
    _ = table.insert(node)
    replacements.remove(node, bucket: table.bucketIndex(of: node.id))
    recency.append(node)
    onNodeAdded?(node.address)
    return true
  }

  /// The latest of the nodes that found the bucket full takes the place, unless the caller has another node for it.
  func remove(_ node: RoutingNode, promotesReplacement: Bool = true) {
    guard table.node(node.id) === node else { return }
    table.remove(node.id)
    recency.remove(node)
    onNodeRemoved?(node.address)
    guard promotesReplacement, !isDestroyed, !isSuspended,
      let next = replacements.take(
        bucket: table.bucketIndex(of: node.id),
        where: { table.obstacle(for: $0) == nil && configuration.filterNode?($0.endpoint) != false })
    else { return }
    let isStale = tick - next.seen >= Limits.recentNodeTicks
    if insert(next), isStale, downChecks < Limits.maximumDownChecks { checkLiveness(of: next) }
  }

  /// Moves all nodes that fit into a table around `id`.
  func recentre(on id: Bytes32) {
    var dropped: [RoutingNode] = []
    var next = RoutingTable(id: id, isDiverse: configuration.limitsSubnets)
    var node = recency.oldest
    while let current = node {
      node = current.later
      if current.id == id || !next.insert(current) { dropped.append(current) }
    }
    table = next
    replacements.removeAll()
    for node in dropped {
      recency.remove(node)
      onNodeRemoved?(node.address)
    }
  }

  /// A full bucket keeps what answers (dht-rpc.md 12.4). A bucket with enough nodes of the newcomer's subnet may
  /// exchange one of these in the same way; the table as a whole never does.
  private func makeRoom(for newcomer: RoutingNode, _ obstacle: RoutingTable.Obstacle) {
    guard isBootstrapped, repings < Limits.maximumRepings, obstacle != .subnetCrowdsTable else { return }
    let subnet = SubnetQuota.subnet(of: newcomer.endpoint.host)
    var candidate: RoutingNode?
    for node in table.bucket(for: newcomer.id) where node.pinged < tick {
      if obstacle == .subnetCrowdsBucket, SubnetQuota.subnet(of: node.endpoint.host) != subnet { continue }
      guard let best = candidate else {
        candidate = node
        continue
      }
      if (node.pinged, node.added) < (best.pinged, best.added) { candidate = node }
    }
    guard let candidate else { return }
    let isRecent = tick - candidate.pinged < Limits.recentNodeTicks
    let isOld = tick - candidate.added > Limits.oldNodeTicks
    if isRecent, isOld { return }
    repings += 1
    verify(candidate) { [weak self] isAlive in
      guard let self else { return }
      repings -= 1
      guard isAlive == false else { return }
      remove(candidate, promotesReplacement: false)
      newcomer.added = tick
      _ = insert(newcomer)
    }
  }

  // MARK: Liveness

  /// Pings a node of the table and removes it unless it answers with its id (dht-rpc.md 12.5).
  func checkLiveness(of node: RoutingNode) {
    downChecks += 1
    verify(node) { [weak self] isAlive in
      guard let self else { return }
      downChecks -= 1
      if isAlive == false, !isOffline { remove(node) }
    }
  }

  /// Judged by "answered with a valid id after the ping was sent", not by ticks as in the reference, which loses live
  /// nodes that way (dht-rpc.md E-2). `nil`: no verdict, the ping was cancelled.
  private func verify(_ node: RoutingNode, _ done: @escaping (Bool?) -> Void) {
    node.pinged = tick
    ping(node.endpoint) { result in
      switch result {
      case .success(let response): done(response.from.id == node.id)
      case .failure(.requestTimeout): done(false)
      case .failure: done(nil)
      }
    }
  }
}
