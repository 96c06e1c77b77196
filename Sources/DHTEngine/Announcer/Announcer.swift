import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC

/// Keeps one server findable: announces it at the closest nodes and watches over those (hyperdht.md 11).
///
/// A cycle finds the nodes closest to the target and announces at three of them; between cycles they are pinged, which
/// also keeps our NAT mapping towards them open. What a peer needs to reach us is published only after the nodes have
/// confirmed.
final class Announcer {
  /// A node that holds our announcement, and our address as it sees it.
  typealias Relay = NoisePayload.Relay

  private enum State {
    case idle
    /// Querying or committing.
    case cycling
    /// Pinging the relays, or pausing between pings.
    case watching
    case suspended
    case stopped
  }

  let target: Bytes32
  private let keyPair: KeyPair
  private unowned let node: DHTNode
  private var state = State.idle
  /// Bumped whenever what is under way becomes moot.
  private var epoch = 0

  /// For the handshake payload: relays of the last finished cycle.
  private(set) var relays: [Relay] = []
  /// As others may use them; our own address first when we are open.
  private(set) var relayAddresses: [Endpoint] = []
  /// Newest first: relays stay trusted for two more cycles.
  private var generations: [[Relay]] = [[], [], []]
  /// Asked to store the announcement, not confirmed yet.
  private var unconfirmed: [Relay] = []
  private var closestNodes: [Endpoint] = []

  private var query: DHTQuery<FindPeerResult>?
  private var session: RequestSession?
  private var timer: (any ScheduledAction)?
  private var watchdog: (any ScheduledAction)?
  private var roundsLeft = 0
  /// Milliseconds: when the last cycle ended.
  private var publishedAt: UInt64 = 0
  /// Milliseconds between two rounds of pings of a node that saves power; for others it stays as it is.
  private var lowPowerPause = Limits.Announce.lowPowerPause
  /// Cycles in a row that have found no node to announce at.
  private var failures = 0
  private var needsRefresh = false
  private var lastDriftAt: UInt64?
  private var cycleWaiters: [() -> Void] = []

  init(node: DHTNode, target: Bytes32, keyPair: KeyPair) {
    self.node = node
    self.target = target
    self.keyPair = keyPair
  }

  // MARK: Control

  /// Runs the first cycle; `done` after it, however it went, also when stopped meanwhile.
  func start(_ done: @escaping () -> Void) {
    guard state == .idle else { return done() }
    cycleWaiters.append(done)
    runCycle()
  }

  /// Announce again soon.
  func refresh() {
    needsRefresh = true
    // Perhaps behind another NAT.
    lowPowerPause = Limits.Announce.lowPowerPause
    if state == .watching, timer != nil { wake() }
  }

  /// The network is back: don't wait for the pause to end.
  func wake() {
    failures = 0
    guard state == .watching, timer != nil else { return }
    timer?.cancel()
    timer = nil
    watchStep()
  }

  /// Withdraws the announcement until `resume`; `done` once that is tried.
  func suspend(_ done: @escaping () -> Void) {
    guard state != .suspended, state != .stopped else { return done() }
    halt(.suspended)
    withdraw(done)
  }

  func resume() {
    guard state == .suspended else { return }
    runCycle()
  }

  /// Stops for good and withdraws the announcement unless forced; `done` once that is tried.
  func stop(isForced: Bool = false, _ done: @escaping () -> Void) {
    guard state != .stopped else { return done() }
    let wasSuspended = state == .suspended
    halt(.stopped)
    if isForced || wasSuspended { done() } else { withdraw(done) }
  }

  /// Whether `endpoint` is, or recently was, a relay of ours.
  func isRelay(_ endpoint: Endpoint) -> Bool {
    generations.contains { $0.contains { $0.relayAddress == endpoint } }
  }

  private func halt(_ next: State) {
    state = next
    epoch += 1
    timer?.cancel()
    timer = nil
    watchdog?.cancel()
    watchdog = nil
    let running = query
    query = nil
    running?.destroy()
    session?.destroy()
    session = nil
    finishCycle()
  }

  private func finishCycle() {
    let waiters = cycleWaiters
    cycleWaiters = []
    for waiter in waiters { waiter() }
  }

  // MARK: One cycle

  private func runCycle() {
    state = .cycling
    needsRefresh = false
    epoch += 1
    let current = epoch
    generations = [[], generations[0], generations[1]]
    unconfirmed = []
    session = node.rpc.makeSession()
    watchdog = node.environment.schedule(after: Limits.Announce.watchdog) { [weak self] in
      self?.restart(epoch: current)
    }
    var options = DHTQueryOptions()
    options.seeds = closestNodes
    let query = node.findPeer(target: target, options: options)
    self.query = query
    query.onFinished = { [weak self, unowned query] _ in
      guard let self, epoch == current else { return }
      self.query = nil
      // Failures are ignored: an empty result leads to another cycle soon.
      if !query.closestNodes.isEmpty { closestNodes = query.closestNodes }
      announce(at: query.closestReplies, epoch: current)
    }
    query.start()
  }

  /// A cycle that does not end is a lost callback: begin anew (hyperdht.md C-6).
  private func restart(epoch current: Int) {
    guard epoch == current, state == .cycling else { return }
    epoch += 1
    let running = query
    query = nil
    running?.destroy()
    session?.destroy()
    runCycle()
  }

  private func announce(at replies: [Response], epoch current: Int) {
    let peer = PeerRecord(publicKey: keyPair.publicKey)
    let group = Countdown { [weak self] in
      guard let self, epoch == current else { return }
      publish()
    }
    for reply in replies.prefix(Limits.Announce.relays) {
      guard let token = reply.token, let id = reply.from.id else { continue }
      let relay = Relay(relayAddress: reply.from.endpoint, peerAddress: reply.to)
      let leave = group.enter()
      unconfirmed.append(relay)
      node.sendAnnounce(
        target: target, keyPair: keyPair, peer: peer, to: relay.relayAddress, id: id, token: token, session: session
      ) { [weak self] result in
        if let self, epoch == current {
          unconfirmed.removeAll { $0 == relay }
          if case .success = result { generations[0].append(relay) }
        }
        leave()
      }
    }
    group.seal()
  }

  private func publish() {
    watchdog?.cancel()
    watchdog = nil
    session = nil
    relays = generations[0]
    var addresses = relays.map(\.relayAddress)
    if let own = node.rpc.remoteAddress { addresses.insert(own, at: 0) }
    relayAddresses = Array(addresses.prefix(Limits.Announce.relays))
    // A cycle without a relay has failed: what an earlier one has announced is all there is.
    let stale = relays.isEmpty ? [] : generations[1].map(\.relayAddress).filter { !isCurrent($0) }
    node.withdrawals.withdraw(target, keyPair: keyPair, from: stale) {}
    state = .watching
    roundsLeft = Limits.Announce.pingRounds
    publishedAt = node.environment.nowMilliseconds
    finishCycle()
    guard state == .watching else { return }
    // Without a relay the next cycle waits, too: no tight loop on a broken network.
    if relays.isEmpty {
      pause(min(Limits.Announce.pingPause << UInt64(min(failures, 8)), Limits.Announce.longestPause))
      failures += 1
      return
    }
    failures = 0
    // Nodes were lost on the way: look again, once, for in a small network there may be no others.
    if relays.count < generations[1].count { needsRefresh = true }
    needsRefresh ? pause() : watchStep()
  }

  // MARK: Watching the relays

  /// Until the next round of pings.
  private func pause() {
    pause(node.options.isLowPower ? node.environment.untilWhole(lowPowerPause) : Limits.Announce.pingPause)
  }

  private func pause(_ pause: UInt64) {
    timer = node.environment.schedule(after: pause) { [weak self] in
      self?.timer = nil
      self?.watchStep()
    }
  }

  private func watchStep() {
    guard state == .watching else { return }
    node.rpc.noticeSleep()
    guard !node.rpc.isOffline else {
      // Announcing while offline would only lose the relays; `wake` ends this early.
      return pause(Limits.Announce.longestPause)
    }
    if needsRefresh || isCycleDue || relays.isEmpty { return runCycle() }
    roundsLeft -= 1
    let current = epoch
    var answers = 0
    var hasDrifted = false
    var hasForgotten = false
    let watched = relays
    let group = Countdown { [weak self] in
      guard let self, epoch == current, state == .watching else { return }
      if hasForgotten { lowPowerPause = max(lowPowerPause / 2, Limits.Announce.pingPause) }
      if answers < min(watched.count, Limits.Announce.relays) || (hasDrifted && mayReactToDrift()) {
        return runCycle()
      }
      needsRefresh ? runCycle() : pause()
    }
    for relay in watched {
      let leave = group.enter()
      node.rpc.ping(relay.relayAddress) { result in
        if case .success(let pong) = result {
          answers += 1
          // The relay forwards to the address it stored: if the mapping has changed, no client gets through it
          // (hyperdht.md C-5).
          if pong.to != relay.peerAddress {
            hasDrifted = true
            if pong.to.host == relay.peerAddress.host { hasForgotten = true }
          }
        }
        leave()
      }
    }
    group.seal()
  }

  private var isCycleDue: Bool {
    guard node.options.isLowPower else { return roundsLeft == 0 }
    return node.environment.nowMilliseconds >= publishedAt + Limits.Announce.lowPowerCycle
  }

  /// Announced at by this cycle, or about to be.
  private func isCurrent(_ relay: Endpoint) -> Bool {
    (relays + unconfirmed).contains { $0.relayAddress == relay }
  }

  private func mayReactToDrift() -> Bool {
    let now = node.environment.nowMilliseconds
    if let lastDriftAt, now < lastDriftAt + Limits.Announce.driftInterval { return false }
    lastDriftAt = now
    return true
  }

  // MARK: Withdrawing

  private func withdraw(_ done: @escaping () -> Void) {
    // Not only what is published: an announcement may be stored although its confirmation has not come.
    var current = generations[0] + unconfirmed
    for relay in relays where !current.contains(where: { $0.relayAddress == relay.relayAddress }) {
      current.append(relay)
    }
    relays = []
    relayAddresses = []
    unconfirmed = []
    generations = [[], [], []]
    node.withdrawals.withdraw(target, keyPair: keyPair, from: current.map(\.relayAddress), done)
  }
}
