import HyperEncoding
import HyperEnvironment

// When and whom to dial (hyperswarm.md 6).
extension SwarmCore {
  /// Starts as many dials as the limits allow (hyperswarm.md 6.3).
  func drain() {
    guard !isSuspended, !isDestroyed else { return }
    guard !isDraining else {
      // Called from a callback of the application: look again afterwards instead of nesting.
      needsDrain = true
      return
    }
    isDraining = true
    for peer in explicit {
      guard connecting < maxParallel else { break }
      guard links[peer.publicKey] == nil, !screening.contains(peer.publicKey),
        peer.mayDialExplicitly(at: environment.nowMilliseconds)
      else { continue }
      dial(peer)
    }
    while connecting < maxParallel, isWithinMaxPeers, clientCount + screening.count < maxClientConnections,
      let peer = queue.popFirst()
    {
      peer.isQueued = false
      dial(peer)
    }
    isDraining = false
    if needsDrain {
      needsDrain = false
      drain()
    } else if connecting == 0 {
      completeFlushesIfStalled()
    }
  }

  func dial(_ peer: PeerInfo) {
    let key = peer.publicKey
    guard !peer.isBanned, links[key] == nil, !screening.contains(key) else {
      skip(peer)
      return
    }
    guard firewall != nil else {
      startDial(peer)
      return
    }
    screening.insert(key)
    dequeue(peer)
    ask(SwarmFirewallRequest(publicKey: key), isIncoming: false) { [weak self] verdict in
      guard let self, self.screening.remove(key) != nil else { return }
      guard !self.isSuspended, !self.isDestroyed else { return }
      switch verdict {
      case .accept where !peer.isBanned && self.links[key] == nil:
        self.startDial(peer)
      case .ban:
        self.banByFirewall(peer)
        self.skip(peer)
      case .refuse, .accept, nil:
        if verdict == .refuse { self.remember(refusalOf: peer) }
        self.skip(peer)
      }
      self.drain()
    }
  }

  /// An explicit peer stays wanted: it must not be asked about again at once, and is once the refusal has aged.
  private func remember(refusalOf peer: PeerInfo) {
    counters.refusedByFirewall += 1
    peer.refusedUntil = environment.nowMilliseconds &+ Limits.refusalMemory
    guard peer.isExplicit else { return }
    _ = environment.schedule(after: Limits.refusalMemory) { [weak self] in self?.drain() }
  }

  private func skip(_ peer: PeerInfo) {
    onAttempt?(PeerAttempt(peer: peer, stage: .skipped, nextRetry: nil))
    if links[peer.publicKey]?.state != .dialling { countFlush(peer.publicKey) }
    collect(peer)
  }

  private func startDial(_ peer: PeerInfo) {
    dequeue(peer)
    let stream = dht.dial(
      peer.publicKey,
      options: SwarmDialOptions(
        keyPair: keyPair, relayAddresses: peer.relayAddresses, relayThrough: chooseRelay(force: peer.forcesRelaying)))
    let link = Link(stream: stream, peer: peer, isInitiator: true)
    link.beganAt = environment.nowMilliseconds
    links[peer.publicKey] = link
    diallingCount += 1
    clientCount += 1
    counters.client.attempted += 1
    stream.observe(
      open: { [weak self] in self?.opened(link) }, authenticated: nil,
      close: { [weak self] in self?.closed(link, $0) })
    onAttempt?(PeerAttempt(peer: peer, stage: .started, nextRetry: nil))
    update()
  }

  private func opened(_ link: Link) {
    guard link.state == .dialling else { return }
    link.state = .open
    diallingCount -= 1
    counters.client.opened += 1
    link.peer.dialOpened(at: environment.nowMilliseconds)
    onAttempt?(PeerAttempt(peer: link.peer, stage: .opened, nextRetry: nil))
    if !link.stream.isDestroying {
      if let grace = reportGrace(link) {
        // The peer's own dial is on its way and wins by rule 7.1: do not show a connection that is torn down at once.
        link.stream.hold()
        link.graceTimer = environment.schedule(after: grace) { [weak self, weak link] in
          guard let self, let link, link.state == .open, link.successors.isEmpty else { return }
          self.report(link)
          link.stream.release()
          self.update()
        }
      } else {
        report(link)
      }
    }
    countFlush(link.peer.publicKey)
    drain()
    update()
  }

  /// How long the report of our dial waits for the peer's own; `nil` where it is not expected. After a change of the
  /// network both have lost their connection, and the peer may have begun to dial before it could reach us.
  private func reportGrace(_ link: Link) -> UInt64? {
    if link.expectsCrossing { return Limits.crossingGrace }
    guard let changedAt, publicKey < link.peer.publicKey,
      environment.nowMilliseconds &- changedAt < Limits.changeMemory
    else { return nil }
    return Limits.changeGrace
  }

  func report(_ link: Link) {
    reportSequence += 1
    link.reportNumber = reportSequence
    reported[reportSequence] = link
    onConnection?(link.stream, link.peer)
  }

  /// A dial has failed or a connection has closed (hyperswarm.md 6.4, step 5, and 8.1).
  func closed(_ link: Link, _ failure: SwarmStreamFailure?) {
    guard link.state != .closed else { return }
    let wasDialling = link.state == .dialling
    link.state = .closed
    link.graceTimer?.cancel()
    link.probeTimer?.cancel()
    link.changeTimer?.cancel()
    let peer = link.peer
    if links[peer.publicKey] === link { links[peer.publicKey] = nil }
    if link.reportNumber != 0 { reported[link.reportNumber] = nil }
    if let traffic = link.stream.transportStatistics { addTraffic(traffic, to: &closedTraffic) }

    // A dial of the network before says nothing about this one.
    if wasDialling, let changedAt, link.beganAt < changedAt { peer.isMoved = true }
    if link.isInitiator {
      counters.client.closed += 1
      clientCount -= 1
      if wasDialling { diallingCount -= 1 }
      dialEnded(peer, wasDialling: wasDialling, failure)
    } else {
      counters.server.closed += 1
      serverCount -= 1
    }

    // Newcomers of the same key come first: the drain step must not dial it in between.
    let newcomers = link.successors + link.challengers
    link.successors = []
    link.challengers = []
    for newcomer in newcomers where !newcomer.isClosed { arrived(newcomer) }
    if wasDialling && links[peer.publicKey]?.state != .dialling { countFlush(peer.publicKey) }
    redialAfterChange(link)
    collect(peer)
    drain()
    if links.isEmpty && pendingIncoming.isEmpty { becameIdle() }
    update()
  }

  private func dialEnded(_ peer: PeerInfo, wasDialling: Bool, _ failure: SwarmStreamFailure?) {
    if wasDialling, let failure, relayThrough != nil, RelayFallback.codes.contains(failure.code) {
      peer.forcesRelaying = true
      peer.attempts = 0
    }
    peer.dialClosed(at: environment.nowMilliseconds)
    var delay: UInt64?
    if !peer.isMoved, !isSuspended, isWanted(peer), let timer = RetryTimer.choose(for: peer) {
      delay = timers.add(peer, to: timer)
    }
    onAttempt?(PeerAttempt(peer: peer, stage: wasDialling ? .failed(failure) : .closed(failure), nextRetry: delay))
  }

  /// Whichever side dialled before: the peer does not know yet that the connection is lost. A server that looks for no
  /// peers dials those that it had.
  private func redialAfterChange(_ link: Link) {
    let peer = link.peer
    guard peer.isMoved else { return }
    peer.isMoved = false
    let isServed = !link.isInitiator && discoveries.values.contains { $0.isServer }
    guard !isSuspended, !isDestroyed, links[peer.publicKey] == nil, isWanted(peer) || isServed else { return }
    peer.attempts = 0
    if peer.updatePriority() { enqueue(peer) }
  }

  /// The relay for one dial or handshake (hyperswarm.md 11.3); one is drawn where several are named.
  func chooseRelay(force: Bool) -> Bytes32? {
    let candidates: [Bytes32]
    switch relayThrough {
    case nil: return nil
    case .choose(let choose): candidates = choose(force)
    case .keys(let keys): candidates = force || dht.isRandomizedNAT ? keys : []
    }
    guard !candidates.isEmpty else { return nil }
    return candidates[Int(environment.random(below: UInt32(clamping: candidates.count)))]
  }
}
