import HyperCollections
import HyperEncoding
import HyperEnvironment

// Network change, suspend, resume, destroy (hyperswarm.md 12).
extension SwarmCore {
  // MARK: Network

  func networkChanged() {
    guard !isSuspended, !isDestroyed, !isNetworkRefreshPending else { return }
    // Several reports of one turn cause one round of probes and refreshes.
    isNetworkRefreshPending = true
    environment.defer { [weak self] in
      guard let self else { return }
      self.isNetworkRefreshPending = false
      guard !self.isSuspended, !self.isDestroyed else { return }
      self.changedAt = self.environment.nowMilliseconds
      for link in self.orderedLinks where link.state == .open { self.probeAfterChange(link) }
      for peer in self.knownPeers.values { peer.forcesRelaying = false }
      self.resetExplicitPeers()
      for discovery in self.topics { discovery.networkChanged() }
      self.drain()
    }
  }

  /// The old path may be gone. A connection that does not acknowledge in time ends, so that the side that dialled dials
  /// again at once instead of after the transport's own time for a lost peer.
  private func probeAfterChange(_ link: Link) {
    link.changeTimer?.cancel()
    let heard = link.stream.rawBytesRead
    link.stream.probe { [weak link] acknowledged in
      guard acknowledged else { return }
      link?.changeTimer?.cancel()
      link?.changeTimer = nil
    }
    judgeAfterChange(link, heard: heard, after: Limits.changeProbeDeadline)
  }

  private func judgeAfterChange(_ link: Link, heard: UInt64, after milliseconds: UInt64) {
    link.changeTimer = environment.schedule(after: milliseconds) { [weak self, weak link] in
      guard let self, let link, link.state == .open else { return }
      link.changeTimer = nil
      // What arrives proves the path as well: a full send queue delays the acknowledgement of a probe.
      guard link.stream.rawBytesRead == heard, self.dht.isOnline else { return }
      // The transport bounds how long that is tried.
      if link.stream.isOnTheMove {
        return self.judgeAfterChange(link, heard: heard, after: Limits.changeProbeInterval)
      }
      link.peer.isMoved = true
      link.stream.abort(.networkChanged)
    }
  }

  /// Back online: the same as a change of interfaces (hyperswarm.md 15, row 4).
  func networkUpdated() {
    let isOnline = dht.isOnline
    defer { wasOnline = isOnline }
    if isOnline && !wasOnline { networkChanged() }
  }

  /// Failures on the old network say nothing about the new one.
  private func resetExplicitPeers() {
    for peer in explicit where links[peer.publicKey] == nil { peer.attempts = 0 }
  }

  // MARK: Suspend and resume

  /// Un-announces, closes all connections and stops the DHT's traffic. Sessions, explicit peers and bans stay.
  package func suspend(_ completion: (() -> Void)? = nil) {
    stopRecovering()
    transition({ [weak self] done in self?.performSuspend(done) ?? done() }, completion)
  }

  /// When the sockets cannot be opened the swarm stays suspended, `completion` gets the failure, and the swarm goes on
  /// trying until it is suspended again.
  package func resume(_ completion: ((Result<Void, SwarmError>) -> Void)? = nil) {
    stopRecovering()
    var result: Result<Void, SwarmError> = .success(())
    transition(
      { [weak self] done in
        guard let self else { return done() }
        performResume {
          result = $0
          done()
        }
      }, { completion?(result) })
  }

  private func stopRecovering() {
    recovery?.cancel()
    recovery = nil
    recoveryPause = Limits.resumeRetry
  }

  private func recoverLater() {
    recovery = environment.schedule(after: recoveryPause) { [weak self] in
      guard let self else { return }
      recovery = nil
      transition(
        { [weak self] done in
          guard let self, isSuspended, !isDestroyed else { return done() }
          performResume { _ in done() }
        }, nil)
    }
    recoveryPause = min(2 * recoveryPause, Limits.longestResumeRetry)
  }

  private func transition(_ body: @escaping (@escaping () -> Void) -> Void, _ completion: (() -> Void)?) {
    lifecycle.append { done in
      body {
        completion?()
        done()
      }
    }
    nextTransition()
  }

  private func nextTransition() {
    guard !isInTransition, !lifecycle.isEmpty else { return }
    isInTransition = true
    let body = lifecycle.removeFirst()
    body { [weak self] in
      guard let self else { return }
      self.isInTransition = false
      self.nextTransition()
    }
  }

  private func performSuspend(_ done: @escaping () -> Void) {
    guard !isDestroyed else { return done() }
    guard !isSuspended else {
      // A resume that failed goes on no longer.
      stopRecovering()
      return dht.suspendNode(done)
    }
    isSuspended = true
    failFlushes()
    let countdown = Countdown { [weak self] in
      guard let self, !self.isDestroyed else { return done() }
      self.dht.suspendNode { [weak self] in
        guard let self else { return done() }
        self.whenIdle(done)
      }
    }
    for discovery in topics { discovery.suspend(countdown.enter()) }
    withDeadline({ self.server.suspendServer($0) }, then: countdown.enter())
    countdown.seal()
    abortAll(.suspended)
    forgetCandidates()
  }

  /// Empties queue and timers together with their marks (hyperswarm.md 15, row 3).
  private func forgetCandidates() {
    timers.removeAll()
    let forgotten = queue.elements.map(\.publicKey) + screening
    for peer in queue.elements { peer.isQueued = false }
    queue.removeAll()
    screening.removeAll()
    for peer in Array(knownPeers.values) { collect(peer) }
    for key in forgotten { countFlush(key) }
    completeFlushesIfStalled()
  }

  private func performResume(_ done: @escaping (Result<Void, SwarmError>) -> Void) {
    guard !isDestroyed else { return done(.failure(.destroyed)) }
    guard isSuspended else { return done(.success(())) }
    dht.resumeNode { [weak self] failure in
      guard let self, !self.isDestroyed else { return done(.failure(.destroyed)) }
      if let failure {
        self.recoverLater()
        return done(.failure(.resume(failure)))
      }
      self.server.resumeServer { [weak self] in
        guard let self, !self.isDestroyed else { return done(.failure(.destroyed)) }
        self.isSuspended = false
        self.resetExplicitPeers()
        for discovery in self.topics { discovery.resume() }
        self.drain()
        done(.success(()))
      }
    }
  }

  /// By their keys, so that equal runs do equal things in equal order.
  private var orderedLinks: [Link] { links.values.sorted { $0.peer.publicKey < $1.peer.publicKey } }

  private func abortAll(_ reason: SwarmAbortReason) {
    for link in orderedLinks { link.stream.abort(reason) }
    for newcomer in pendingIncoming.values.sorted(by: { $0.key < $1.key }) { newcomer.stream.abort(reason) }
  }

  private func whenIdle(_ body: @escaping () -> Void) {
    if links.isEmpty && pendingIncoming.isEmpty { return body() }
    idleWaiters.append(body)
  }

  func becameIdle() {
    let waiters = idleWaiters
    idleWaiters = []
    for waiter in waiters { waiter() }
  }

  /// Runs `then` once, when `body` has called back or the teardown deadline has passed.
  private func withDeadline(_ body: (@escaping () -> Void) -> Void, then: @escaping () -> Void) {
    let countdown = Countdown(then)
    let leave = countdown.enter()
    countdown.seal()
    let timer = environment.schedule(after: Limits.teardownDeadline, leave)
    body {
      timer.cancel()
      leave()
    }
  }

  // MARK: Destroy

  /// Un-announces, closes the server and, if owned, the DHT node. `force` skips everything that needs the network; it
  /// also cuts short a destroy that is under way.
  package func destroy(force: Bool = false, _ completion: (() -> Void)? = nil) {
    if isDestroyFinished {
      completion?()
      return
    }
    if let completion { destroyWaiters.append(completion) }
    if isDestroyed {
      if force { forceDestroy?() }
      return
    }
    isDestroyed = true
    for end in observations { end() }
    observations = []
    stopRecovering()
    timers.stop()
    for peer in queue.elements { peer.isQueued = false }
    queue.removeAll()
    screening.removeAll()
    failFlushes()
    let waiters = listenWaiters
    listenWaiters = []
    for waiter in waiters { waiter(.failure(.destroyed)) }
    // Peers learn it now; withdrawing the announcements may take seconds.
    server.onConnection = nil
    abortAll(.destroyed)

    let all = topicOrder
    let teardown = Countdown { [weak self] in self?.destroyTransport() }
    let endTeardown = teardown.enter()
    teardown.seal()
    let steps = Countdown(endTeardown)
    forceDestroy = { [weak self] in
      guard let self else { return }
      self.forceDestroy = nil
      for discovery in Array(self.leaving.values) { discovery.destroy(force: true) {} }
      endTeardown()
    }
    for topic in all { leave(topic, force: force, steps.enter()) }
    withDeadline({ self.server.closeServer($0) }, then: steps.enter())
    steps.seal()
    if force { forceDestroy?() }
  }

  private func destroyTransport() {
    forceDestroy = nil
    abortAll(.destroyed)
    if ownsDHT {
      dht.destroyNode(force: true) { [weak self] in self?.destroyFinished() }
    } else {
      whenIdle { [weak self] in self?.destroyFinished() }
    }
  }

  private func destroyFinished() {
    guard !isDestroyFinished else { return }
    isDestroyFinished = true
    becameIdle()
    let waiters = destroyWaiters
    destroyWaiters = []
    for waiter in waiters { waiter() }
  }
}
