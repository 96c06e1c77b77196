import HyperEncoding

// Known peers, sightings, explicit peers, retries (hyperswarm.md 8 and 9).
extension SwarmCore {
  /// The peer's entry, made if there is room; `nil` when the table is full.
  func upsert(_ key: Bytes32) -> PeerInfo? {
    if let peer = knownPeers[key] { return peer }
    guard knownPeers.count < Limits.maxKnownPeers else { return nil }
    let peer = PeerInfo(publicKey: key)
    remember(peer)
    return peer
  }

  private func remember(_ peer: PeerInfo) {
    knownPeers[peer.publicKey] = peer
    peer.onBanLifted = { [weak self, weak peer] in
      guard let self, let peer else { return }
      banLifted(peer)
    }
    peer.onFirewallBanEnded = { [weak self, weak peer] in
      guard let self, let index = firewallBans.firstIndex(where: { $0 === peer }) else { return }
      firewallBans.remove(at: index)
    }
    onPeerAdded?(peer)
  }

  private func forget(_ peer: PeerInfo) {
    knownPeers[peer.publicKey] = nil
    peer.onBanLifted = nil
    peer.onFirewallBanEnded = nil
    onPeerRemoved?(peer)
  }

  /// The ban alone may have held the entry; a peer of `joinPeer` is dialled, others when they are sighted next.
  private func banLifted(_ peer: PeerInfo) {
    collect(peer)
    drain()
  }

  /// The entry of a peer that has connected. In a full table a peer that has only been sighted makes room: what others
  /// name is no reason to turn away a peer that is here.
  func admit(_ key: Bytes32) -> PeerInfo? {
    if let peer = upsert(key) { return peer }
    let sighted = knownPeers.values.filter {
      !$0.isProven && !$0.isBanned && !$0.isExplicit && !$0.isWaiting && links[$0.publicKey] == nil
        && !screening.contains($0.publicKey)
    }
    guard let victim = sighted.min(by: { $0.publicKey < $1.publicKey }) else { return nil }
    if victim.isQueued {
      dequeue(victim)
      countFlush(victim.publicKey)
    }
    forget(victim)
    counters.droppedSightings += 1
    return upsert(key)
  }

  /// Deletes the entry if nothing holds it any more (hyperswarm.md 9.4).
  func collect(_ peer: PeerInfo) {
    let key = peer.publicKey
    guard !peer.isBanned, !peer.isQueued, !peer.isExplicit, !peer.isWaiting, links[key] == nil,
      !screening.contains(key), knownPeers[key] === peer
    else { return }
    forget(peer)
  }

  func enqueue(_ peer: PeerInfo) {
    guard
      queue.add(
        peer, key: peer.publicKey, priority: peer.priority.rawValue, random: { environment.random(below: $0) })
    else { return }
    peer.isQueued = true
    drain()
  }

  func dequeue(_ peer: PeerInfo) {
    guard peer.isQueued else { return }
    queue.remove(peer.publicKey)
    peer.isQueued = false
  }

  /// Whether one of the peer's topics is joined.
  func isWanted(_ peer: PeerInfo) -> Bool {
    peer.isExplicit || !isDestroyed && peer.topics.contains { discoveries[$0] != nil }
  }

  /// A batch of the retry timers (hyperswarm.md 8.3).
  func deliver(_ batch: [PeerInfo]) {
    guard !isSuspended, !isDestroyed else { return }
    isDraining = true  // one drain step for the batch
    for peer in batch {
      if links[peer.publicKey] == nil, !screening.contains(peer.publicKey), isWanted(peer), peer.updatePriority() {
        enqueue(peer)
      } else {
        collect(peer)
      }
    }
    isDraining = false
    drain()
  }

  // MARK: Explicit peers

  /// Dials the peer, independently of topics, and keeps redialling it. Our own key is ignored.
  package func joinPeer(_ key: Bytes32) {
    guard key != publicKey, !isDestroyed else { return }
    // A peer that the application names is not subject to the bound on strangers.
    let peer = knownPeers[key] ?? PeerInfo(publicKey: key)
    if knownPeers[key] == nil { remember(peer) }
    if !peer.isExplicit {
      peer.isExplicit = true
      explicit.append(peer)
    }
    guard links[key] == nil, !isSuspended else { return }
    if peer.updatePriority() { enqueue(peer) } else { drain() }
  }

  /// Ends `joinPeer`; a connection stays.
  package func leavePeer(_ key: Bytes32) {
    guard let peer = knownPeers[key], peer.isExplicit else { return }
    peer.isExplicit = false
    explicit.removeAll { $0 === peer }
    if peer.isQueued, !isWanted(peer) {
      dequeue(peer)
      countFlush(key)
    }
    collect(peer)
  }
}

extension SwarmCore: DiscoveryHost {
  var serverRelayAddresses: [Endpoint] { server.relayAddresses }

  func startTopicQuery(
    _ request: SwarmQueryRequest, onPeers: @escaping ([SwarmPeerRecord]) -> Void, onFinished: @escaping (Bool) -> Void
  ) -> any SwarmQuery {
    dht.startQuery(request, onPeers: onPeers, onFinished: onFinished)
  }

  func isActive(_ key: Bytes32) -> Bool {
    guard let peer = knownPeers[key] else { return false }
    return links[key] != nil || peer.isQueued || peer.isWaiting || screening.contains(key)
  }

  func activePeerCount(of topic: Bytes32) -> Int {
    knownPeers.values.count { $0.topics.contains(topic) && isActive($0.publicKey) }
  }

  /// A lookup returned the peer (hyperswarm.md 9.5).
  func sighted(_ record: SwarmPeerRecord, topic: Bytes32) {
    guard record.publicKey != publicKey, !isDestroyed, !isSuspended else { return }
    guard let peer = upsert(record.publicKey) else {
      counters.droppedSightings += 1
      return
    }
    if !record.relayAddresses.isEmpty { peer.relayAddresses = record.relayAddresses }
    peer.addTopic(topic)
    guard links[record.publicKey] == nil, !screening.contains(record.publicKey) else { return }
    if peer.sighted() { enqueue(peer) }
  }

  func discoveryHasNoSessions(_ discovery: TopicDiscovery, _ completion: @escaping () -> Void) {
    guard discoveries[discovery.topic] === discovery else {
      completion()
      return
    }
    leave(discovery.topic, completion)
  }
}
