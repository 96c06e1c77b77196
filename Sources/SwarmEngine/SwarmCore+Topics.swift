import HyperCollections
import HyperEncoding

// join, leave, listen (hyperswarm.md 4).
extension SwarmCore {
  /// Announces and/or looks up a topic. Returns at once; while suspended the work starts with `resume`.
  @discardableResult
  package func join(topic: Bytes32, options: JoinOptions = JoinOptions()) throws(SwarmError) -> DiscoverySession {
    guard !isDestroyed else { throw .destroyed }
    let discovery: TopicDiscovery
    if let existing = discoveries[topic] {
      discovery = existing
    } else {
      guard discoveries.count < Limits.maxTopics else { throw .tooManyTopics }
      discovery = TopicDiscovery(
        host: self, topic: topic, predecessor: leaving[topic], isSuspended: isSuspended)
      discoveries[topic] = discovery
      topicOrder.append(topic)
    }
    let session = discovery.add(options)
    if options.server || options.client { session.refresh() }
    return session
  }

  /// Ends all sessions of the topic and un-announces it. Connections stay.
  package func leave(_ topic: Bytes32, _ completion: (() -> Void)? = nil) {
    leave(topic, force: false, completion ?? {})
  }

  func leave(_ topic: Bytes32, force: Bool, _ completion: @escaping () -> Void) {
    guard let discovery = discoveries.removeValue(forKey: topic) else {
      completion()
      return
    }
    topicOrder.removeAll { $0 == topic }
    leaving[topic] = discovery
    for peer in Array(knownPeers.values) where peer.topics.contains(topic) {
      peer.topics.removeAll { $0 == topic }
      if peer.isQueued, !isWanted(peer) {
        dequeue(peer)
        countFlush(peer.publicKey)
        collect(peer)
      }
    }
    discovery.destroy(force: force) { [weak self] in
      if let self, self.leaving[topic] === discovery { self.leaving[topic] = nil }
      completion()
    }
  }

  /// Leaves all topics; connections and explicit peers stay.
  package func clear(_ completion: (() -> Void)? = nil) {
    let all = topicOrder
    let countdown = Countdown { completion?() }
    for topic in all { leave(topic, countdown.enter()) }
    countdown.seal()
  }

  package func status(_ topic: Bytes32) -> TopicDiscovery? { discoveries[topic] }

  /// In the order of joining.
  package var topics: [TopicDiscovery] { topicOrder.compactMap { discoveries[$0] } }

  /// Starts the DHT server on our key pair. Repeated calls share one start; after a failure the next call tries again.
  package func listen(_ completion: ((Result<Void, SwarmError>) -> Void)? = nil) {
    guard !isDestroyed else {
      completion?(.failure(.destroyed))
      return
    }
    if listenState == .listening {
      completion?(.success(()))
      return
    }
    if let completion { listenWaiters.append(completion) }
    guard listenState == .idle else { return }
    listenState = .starting
    server.listen(keyPair: keyPair) { [weak self] result in
      guard let self, self.listenState == .starting else { return }
      let waiters = self.listenWaiters
      self.listenWaiters = []
      switch result {
      case .success:
        self.listenState = .listening
        for waiter in waiters { waiter(.success(())) }
      case .failure(let failure):
        self.listenState = .idle
        for waiter in waiters { waiter(.failure(.listen(failure))) }
      }
    }
  }
}
