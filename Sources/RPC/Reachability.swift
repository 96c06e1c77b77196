import HyperEncoding
import HyperEnvironment

/// Whether the network answers.
package enum NetworkState: Hashable, Sendable {
  /// No node has answered yet since the start, and none has been silent for long.
  case unknown
  case online
  case offline
}

/// What the node knows about whether the network answers at all.
struct Reachability {
  /// A node has answered since the start or the last wakeup.
  var hasContact = false
  /// Milliseconds: when a node answered last, or when the node started.
  var lastAnswerAt: UInt64 = 0
  /// Probes in a row without an answer.
  var unanswered = 0
  /// The next of ``candidates`` to probe.
  var next = 0
  var timer: (any ScheduledAction)?
  /// The nodes that answered last, latest at the end. They outlive the routing table, which an outage empties.
  private(set) var remembered: [Endpoint] = []

  var isProbing: Bool { timer != nil }

  mutating func remember(_ endpoint: Endpoint) {
    guard remembered.last != endpoint else { return }
    remembered.removeAll { $0 == endpoint }
    if remembered.count == Limits.rememberedNodes { remembered.removeFirst() }
    remembered.append(endpoint)
  }

  mutating func stop() {
    timer?.cancel()
    timer = nil
    unanswered = 0
    next = 0
  }
}

// The network does not answer: one probe a second over the nodes that answered last and the bootstrap list, until one
// does. The reference asks its bootstrap list every 40 s at best.
extension RPCNode {
  /// A node has answered lately. A node without bootstrap nodes that has asked no other is a network of its own.
  package var isOnline: Bool { !isOffline && (reachability.hasContact || configuration.bootstrap.isEmpty) }
  /// The network does not answer: the verdict after several nodes have stayed silent. ``onNetworkUpdate`` tells when it
  /// changes. Neither this nor ``isOnline`` holds between the start and the first answer.
  package var isOffline: Bool { !health.isOnline }

  /// Whether the network answers.
  package var networkState: NetworkState { isOffline ? .offline : isOnline ? .online : .unknown }

  /// Begins with a start or a wakeup: the first answer is due soon.
  func expectAnswer() {
    reachability.stop()
    reachability.hasContact = false
    reachability.lastAnswerAt = environment.nowMilliseconds
    if !configuration.bootstrap.isEmpty { startProbing() }
  }

  /// A request has got no answer to any transmission.
  func suspectSilence() {
    let silence = environment.nowMilliseconds - reachability.lastAnswerAt
    guard silence >= Limits.suspiciousSilence, reachability.hasContact || !configuration.bootstrap.isEmpty else {
      return
    }
    startProbing()
  }

  func startProbing() {
    guard isStarted, !isSuspended, !isDestroyed, !reachability.isProbing else { return }
    scheduleProbe()
  }

  private func scheduleProbe() {
    let jitter = UInt64(environment.random(below: UInt32(Limits.probeJitter)))
    reachability.timer = environment.schedule(after: probePause - jitter) { [weak self] in self?.probe() }
  }

  /// Longer and longer while power is saved: a change of interfaces, and what is asked of the node, look at once.
  private var probePause: UInt64 {
    guard configuration.isLowPower, reachability.unanswered > Limits.probesUntilOffline else {
      return Limits.probeInterval
    }
    let doublings = UInt64(min(reachability.unanswered - Limits.probesUntilOffline, 16))
    return min(Limits.probeInterval << doublings, Limits.LowPower.longestProbePause)
  }

  /// Long pauses end: perhaps the network is back.
  func probeSoon() {
    guard configuration.isLowPower, reachability.isProbing else { return }
    reachability.timer?.cancel()
    reachability.timer = nil
    reachability.unanswered = min(reachability.unanswered, Limits.probesUntilOffline)
    scheduleProbe()
  }

  private func probe() {
    reachability.timer = nil
    guard !isSuspended, !isDestroyed else { return }
    if reachability.unanswered >= Limits.probesUntilOffline, health.goOffline() { onNetworkUpdate?() }
    guard !isSuspended, !isDestroyed else { return }
    scheduleProbe()
    reachability.unanswered += 1
    let candidates = probeCandidates
    guard !candidates.isEmpty else {
      for case .name(let name, _) in configuration.bootstrap { lookUp(name) { _ in } }
      return
    }
    let candidate = candidates[reachability.next % candidates.count]
    reachability.next += 1
    var options = RequestOptions(retries: 0)
    options.isForced = true
    ping(candidate, options: options) { _ in }
  }

  /// The nodes that answered last first, then the bootstrap list.
  private var probeCandidates: [Endpoint] {
    let known = Array(reachability.remembered.reversed())
    let bootstrap = configuration.bootstrap.flatMap { knownAddresses(of: $0) }.filter { !known.contains($0) }
    return known + bootstrap
  }

  /// Any answer proves the network.
  func networkAnswered(_ sender: NodeAddress) {
    reachability.lastAnswerAt = environment.nowMilliseconds
    if sender.id != nil { reachability.remember(sender.endpoint) }
    guard reachability.isProbing || !reachability.hasContact || isOffline else { return }
    reachability.stop()
    if !reachability.hasContact { notePaths() }
    let isNews = !isOnline
    let wasOffline = isOffline
    reachability.hasContact = true
    if wasOffline { _ = health.reset() }
    guard isNews else { return }
    // Not inside the answer's own handling: the request that it belongs to ends first.
    environment.defer { [weak self] in
      guard let self, !isSuspended, !isDestroyed else { return }
      if wasOffline, isBootstrapped { refreshFromMemory() }
      onNetworkUpdate?()
    }
  }

  /// The table may have lost its nodes in the outage: the look-up begins with those that answered before it.
  private func refreshFromMemory() {
    guard table.count < Limits.k else { return refresh() }
    var options = QueryOptions(seeds: Array(reachability.remembered.suffix(Limits.k - 1)))
    options.isBackground = true
    findNode(target: table.id, options: options).start()
  }
}
