import HyperCrypto
import HyperEncoding
import HyperEnvironment

/// What a topic needs of its swarm.
protocol DiscoveryHost: AnyObject {
  var environment: any Environment { get }
  var keyPair: KeyPair { get }
  var serverRelayAddresses: [Endpoint] { get }
  func listen(_ completion: ((Result<Void, SwarmError>) -> Void)?)
  func startTopicQuery(
    _ request: SwarmQueryRequest, onPeers: @escaping ([SwarmPeerRecord]) -> Void, onFinished: @escaping (Bool) -> Void
  ) -> any SwarmQuery
  /// Peers of the topic that are connected, dialled, queued or waiting.
  func activePeerCount(of topic: Bytes32) -> Int
  func isActive(_ publicKey: Bytes32) -> Bool
  func sighted(_ peer: SwarmPeerRecord, topic: Bytes32)
  /// The last session has ended: leave.
  func discoveryHasNoSessions(_ discovery: TopicDiscovery, _ completion: @escaping () -> Void)
}

/// Announces and looks up one topic (hyperswarm.md 10). One query at a time serves all sessions.
package final class TopicDiscovery {
  package let topic: Bytes32
  package private(set) var sessions: [DiscoverySession] = []
  package private(set) var isDestroyed = false
  package private(set) var isSuspended: Bool
  /// The roles of the latest refresh.
  package private(set) var isServer = false
  package private(set) var isClient = false
  package var isAnnounced: Bool { needsUnannounce }

  /// One refresh from its start to the end of its query. Replaced, not reused, when the roles change.
  private final class Run {
    var query: (any SwarmQuery)?
    var waiters: [(Result<Bool, SwarmError>) -> Void] = []
    var isAborted = false
    /// Other peers that the query has named.
    var found: Set<Bytes32> = []
    let isServer: Bool
    let isClient: Bool
    /// The announcement before is fresh: nothing but the peers is asked for.
    let isSecondLook: Bool
    init(isServer: Bool, isClient: Bool, isSecondLook: Bool) {
      self.isServer = isServer
      self.isClient = isClient
      self.isSecondLook = isSecondLook
    }
  }

  private let host: any DiscoveryHost
  private var run: Run?
  private var closestNodes: [Endpoint] = []
  private var isFirstAnnounce = true
  private var needsUnannounce = false
  private var timer: (any ScheduledAction)?
  /// The roles are new: no query with them has succeeded yet.
  private var isFresh = true
  /// The latest query has succeeded.
  private var isCurrent = false
  /// Queries in a row that are followed by another one soon.
  private var earlyRefreshes = 0
  /// The peers that these have named.
  private var named: Set<Bytes32> = []
  private var teardowns: [() -> Void] = []
  private var isTearingDown = false
  private var unannounceQuery: (any SwarmQuery)?
  private var teardownTimer: (any ScheduledAction)?
  /// The same topic joined earlier and still being torn down.
  private var predecessor: TopicDiscovery?
  private var predecessorWaiters: [() -> Void] = []

  init(host: any DiscoveryHost, topic: Bytes32, predecessor: TopicDiscovery?, isSuspended: Bool) {
    self.host = host
    self.topic = topic
    self.isSuspended = isSuspended
    if let predecessor, predecessor.isTearingDown {
      self.predecessor = predecessor
      predecessor.teardowns.append { [weak self] in self?.predecessorIsGone() }
    }
  }

  /// The largest limit of the sessions that look up; `nil` is no limit.
  package var limit: Int? {
    var largest = 0
    for session in sessions where session.isClient {
      guard let limit = session.options.limit else { return nil }
      largest = max(largest, limit)
    }
    return largest
  }

  // MARK: Sessions

  func add(_ options: JoinOptions) -> DiscoverySession {
    let session = DiscoverySession(discovery: self, options: options)
    sessions.append(session)
    return session
  }

  func remove(_ session: DiscoverySession, _ completion: (() -> Void)?) {
    sessions.removeAll { $0 === session }
    if sessions.isEmpty && !isDestroyed {
      host.discoveryHasNoSessions(self) { completion?() }
    } else if !isDestroyed && needsUnannounce && !sessions.contains(where: \.isServer) {
      refresh { _ in completion?() }
    } else {
      completion?()
    }
  }

  // MARK: Refresh

  package func refresh(_ completion: ((Result<Bool, SwarmError>) -> Void)? = nil) {
    refresh(isSecondLook: false, completion)
  }

  /// The network has changed or come back. A query that is under way asks over the network before: it starts again, and
  /// its waiters wait for the new one.
  func networkChanged() {
    earlyRefreshes = 0
    refresh(isSecondLook: false, startsAgain: true, nil)
  }

  private func refresh(
    isSecondLook: Bool, startsAgain: Bool = false, _ completion: ((Result<Bool, SwarmError>) -> Void)?
  ) {
    guard !isDestroyed else {
      completion?(.failure(.sessionDestroyed))
      return
    }
    guard !isSuspended else {
      // Nothing is announced and looked up: as `flushed` says.
      completion?(.success(false))
      return
    }
    let wantsServer = sessions.contains(where: \.isServer)
    let wantsClient = sessions.contains(where: \.isClient)
    if !startsAgain, let run, run.isServer == wantsServer, run.isClient == wantsClient, !run.isSecondLook {
      if let completion { run.waiters.append(completion) }
      return
    }
    guard wantsServer || wantsClient || needsUnannounce else {
      completion?(.failure(.noRoles))
      return
    }
    let next = Run(isServer: wantsServer, isClient: wantsClient, isSecondLook: isSecondLook)
    if let run {
      next.waiters = run.waiters
      run.waiters = []
      abort(run)
    }
    if let completion { next.waiters.append(completion) }
    run = next
    if isServer != wantsServer || isClient != wantsClient { isFresh = true }
    isServer = wantsServer
    isClient = wantsClient
    timer?.cancel()
    timer = nil
    if predecessor != nil {
      predecessorWaiters.append { [weak self] in self?.begin(next) }
    } else {
      begin(next)
    }
  }

  package func flushed(_ completion: @escaping (Result<Bool, SwarmError>) -> Void) {
    if let run {
      run.waiters.append(completion)
    } else if isDestroyed {
      completion(.failure(.sessionDestroyed))
    } else {
      // What a suspended topic has announced is withdrawn.
      completion(.success(!isSuspended && (isCurrent || !isServer && !isClient)))
    }
  }

  private func begin(_ run: Run) {
    guard !run.isAborted else { return }
    guard run.isServer, !run.isSecondLook else {
      startQuery(run)
      return
    }
    host.listen { [weak self] result in
      guard let self, !run.isAborted else { return }
      switch result {
      case .success: self.startQuery(run)
      case .failure(let error): self.finish(run, .failure(error))
      }
    }
  }

  private func startQuery(_ run: Run) {
    let operation: SwarmQueryRequest.Operation
    if run.isSecondLook {
      operation = .lookup
    } else if run.isServer {
      needsUnannounce = true
      operation = .announce(relayAddresses: host.serverRelayAddresses, clear: isFirstAnnounce)
    } else {
      operation = needsUnannounce ? .lookupAndUnannounce : .lookup
    }
    let request = SwarmQueryRequest(
      topic: topic, operation: operation, keyPair: host.keyPair, seeds: closestNodes, onlySeeds: false)
    run.query = host.startTopicQuery(
      request,
      onPeers: { [weak self] peers in
        guard let self, !run.isAborted, run.isClient else { return }
        for peer in peers where run.found.count < Limits.maxKnownPeers { run.found.insert(peer.publicKey) }
        run.found.remove(self.host.keyPair.publicKey)
        // A second look is about new peers: what became of the others is for their retry timers.
        self.found(run.isSecondLook ? peers.filter { !self.named.contains($0.publicKey) } : peers)
      },
      onFinished: { [weak self] succeeded in
        guard let self, !run.isAborted else { return }
        if succeeded {
          self.closestNodes = run.query?.closestNodes ?? []
          if run.isSecondLook {
            // The announcement stands as it was.
          } else if run.isServer {
            self.isFirstAnnounce = false
          } else {
            self.needsUnannounce = false
          }
        }
        self.finish(run, .success(succeeded))
      })
  }

  private func finish(_ run: Run, _ result: Result<Bool, SwarmError>) {
    guard self.run === run else { return }
    run.isAborted = true
    self.run = nil
    if case .success(true) = result { isCurrent = true } else { isCurrent = false }
    if isCurrent { scheduleNext(after: run) } else { scheduleRetry() }
    for waiter in run.waiters { waiter(result) }
  }

  /// Peers that come at the same moment miss each other: all look first and announce then. So a peer looks once more
  /// after its first announcement: of two, the one that looks later finds the other's announcement. It looks again, and
  /// less and less often, as long as it finds no other peer, or the second look and those after it find new ones.
  private func scheduleNext(after run: Run) {
    let wasFresh = isFresh
    isFresh = false
    let isNew = run.isSecondLook && !run.found.isSubset(of: named)
    if named.count < Limits.maxKnownPeers { named.formUnion(run.found) }
    guard run.isClient else {
      earlyRefreshes = 0
      return scheduleRefresh(after: usualDelay)
    }
    if wasFresh {
      earlyRefreshes = 0
      return scheduleRefresh(after: Limits.secondLook + UInt64(random(Limits.secondLookSpread)), isSecondLook: true)
    }
    guard run.found.isEmpty || isNew else {
      earlyRefreshes = 0
      named = []
      return scheduleRefresh(after: usualDelay)
    }
    scheduleRefresh(after: earlyDelay(atMost: usualDelay), isSecondLook: isNew)
  }

  /// The network did not answer, or we cannot listen.
  private func scheduleRetry() { scheduleRefresh(after: earlyDelay(atMost: Limits.failedTopicRefresh)) }

  private var usualDelay: UInt64 { Limits.refreshInterval + UInt64(random(Limits.refreshSpread)) }

  private func earlyDelay(atMost limit: UInt64) -> UInt64 {
    var delay = Limits.emptyTopicRefresh
    for _ in 0..<earlyRefreshes where delay < limit { delay *= Limits.emptyTopicRefreshFactor }
    earlyRefreshes = min(earlyRefreshes + 1, 8)
    return min(delay + UInt64(random(UInt32(min(delay, limit)))), limit)
  }

  private func abort(_ run: Run) {
    run.isAborted = true
    run.query?.destroy()
  }

  /// Passes peers on as long as the topic's limit leaves room; peers that count already are not counted twice.
  private func found(_ peers: [SwarmPeerRecord]) {
    guard let limit else {
      for peer in peers { host.sighted(peer, topic: topic) }
      return
    }
    for peer in peers {
      if !host.isActive(peer.publicKey) && host.activePeerCount(of: topic) >= limit { continue }
      host.sighted(peer, topic: topic)
    }
  }

  // MARK: Timer

  private func scheduleRefresh(after delay: UInt64, isSecondLook: Bool = false) {
    timer?.cancel()
    let due = host.environment.uptime &+ delay
    timer = host.environment.schedule(after: delay) { [weak self] in
      guard let self, !self.isDestroyed, !self.isSuspended else { return }
      self.timer = nil
      // A timer that is late means that the machine slept: all peers wake at once, so the load is spread.
      if self.host.environment.uptime > due &+ Limits.sleepGrace {
        self.scheduleRefresh(after: UInt64(self.random(Limits.refreshSpread)))
      } else {
        self.refresh(isSecondLook: isSecondLook, nil)
      }
    }
  }

  private func random(_ spread: UInt32) -> UInt32 { host.environment.random(below: spread + 1) }

  // MARK: Teardown

  /// Ends all sessions; `completion` runs when the topic is un-announced, failed to be, or the deadline has passed.
  func destroy(force: Bool = false, _ completion: @escaping () -> Void) {
    isDestroyed = true
    for session in sessions { session.detach() }
    sessions = []
    tearDown(force: force, completion)
  }

  func suspend(_ completion: @escaping () -> Void) {
    isSuspended = true
    tearDown(force: false, completion)
  }

  func resume() {
    guard isSuspended, !isDestroyed else { return }
    isSuspended = false
    isFresh = true
    refresh()
  }

  private func tearDown(force: Bool, _ completion: @escaping () -> Void) {
    isCurrent = false
    timer?.cancel()
    timer = nil
    let waiters = run?.waiters ?? []
    if let run {
      closestNodes = Self.union(closestNodes, run.query?.closestNodes ?? [])
      run.waiters = []
      abort(run)
      self.run = nil
    }
    for waiter in waiters { waiter(.success(false)) }
    teardowns.append(completion)
    if force {
      finishTeardown()
      return
    }
    guard !isTearingDown else { return }
    isTearingDown = true
    teardownTimer = host.environment.schedule(after: Limits.teardownDeadline) { [weak self] in
      self?.finishTeardown()
    }
    if predecessor != nil {
      predecessorWaiters.append { [weak self] in self?.unannounce() }
    } else {
      unannounce()
    }
  }

  private func unannounce() {
    guard isTearingDown else { return }
    guard needsUnannounce, !closestNodes.isEmpty else {
      host.environment.defer { [weak self] in self?.finishTeardown() }
      return
    }
    let request = SwarmQueryRequest(
      topic: topic, operation: .withdraw, keyPair: host.keyPair, seeds: closestNodes, onlySeeds: true)
    unannounceQuery = host.startTopicQuery(
      request, onPeers: { _ in },
      onFinished: { [weak self] _ in
        guard let self, self.unannounceQuery != nil else { return }
        self.unannounceQuery = nil
        self.needsUnannounce = false
        self.isFirstAnnounce = true
        self.finishTeardown()
      })
  }

  private func finishTeardown() {
    isTearingDown = false
    teardownTimer?.cancel()
    teardownTimer = nil
    let query = unannounceQuery
    unannounceQuery = nil
    query?.destroy()
    let completions = teardowns
    teardowns = []
    for completion in completions { completion() }
  }

  private func predecessorIsGone() {
    predecessor = nil
    let waiters = predecessorWaiters
    predecessorWaiters = []
    for waiter in waiters { waiter() }
  }

  private static func union(_ a: [Endpoint], _ b: [Endpoint]) -> [Endpoint] {
    var seen = Set(a)
    return a + b.filter { seen.insert($0).inserted }
  }
}
