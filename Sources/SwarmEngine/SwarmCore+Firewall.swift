import HyperEncoding
import HyperEnvironment

// The peers that may connect (hyperswarm.md 11; limits: hyperswarm.md 15, row 1).
extension SwarmCore {
  /// The server's firewall: answers before the handshake is.
  func screenIncoming(_ request: SwarmFirewallRequest, _ verdict: @escaping (Bool) -> Void) {
    let key = request.publicKey
    guard !isDestroyed, !isSuspended, key != publicKey else { return verdict(false) }
    if knownPeers[key]?.isBanned == true { return verdict(false) }
    if refusals.contains(key, at: environment.nowMilliseconds) { return verdict(false) }
    guard
      links[key] != nil || hasRoom(isExplicit: knownPeers[key]?.isExplicit == true)
        || idleConnection(givingWayTo: request.address?.host) != nil
    else {
      counters.refusedByLimit += 1
      return verdict(false)
    }
    guard firewall != nil else {
      expectCrossing(key)
      return verdict(true)
    }
    ask(request) { [weak self] answer in
      guard let self, !self.isDestroyed, !self.isSuspended else { return verdict(false) }
      switch answer {
      case .accept:
        self.expectCrossing(key)
        verdict(true)
      case .refuse:
        self.counters.refusedByFirewall += 1
        self.refusals.insert(key, until: self.environment.nowMilliseconds &+ Limits.refusalMemory)
        verdict(false)
      case .ban:
        if let peer = self.upsert(key) { self.banByFirewall(peer) }
        verdict(false)
      }
    }
  }

  /// Asks the application; settles exactly once, with a refusal after the deadline.
  func ask(_ request: SwarmFirewallRequest, _ settle: @escaping (SwarmFirewallVerdict) -> Void) {
    guard let firewall, pendingVerdicts < Limits.maxPendingVerdicts else { return settle(.refuse) }
    pendingVerdicts += 1
    let question = Question()
    let answer: (SwarmFirewallVerdict) -> Void = { [weak self] verdict in
      guard !question.isSettled else { return }
      question.isSettled = true
      question.deadline?.cancel()
      question.deadline = nil
      self?.pendingVerdicts -= 1
      settle(verdict)
    }
    firewall(request, answer)
    guard !question.isSettled else { return }
    question.deadline = environment.schedule(after: Limits.firewallDeadline) { answer(.refuse) }
  }

  func banByFirewall(_ peer: PeerInfo) {
    guard !peer.isBanned else { return }
    peer.isBanned = true
    peer.isBannedByFirewall = true
    counters.bannedPeers += 1
    firewallBans.append(peer)
    if firewallBans.count > Limits.maxFirewallBans {
      let oldest = firewallBans.removeFirst()
      if oldest.isBannedByFirewall {
        oldest.ban(false)
        collect(oldest)
      }
    }
    onBan?(peer, SwarmStreamFailure(code: "PEER_FIREWALLED", description: "Peer is firewalled"))
  }

  /// The peer's dial will win over ours (rule 7.1): remember it for the moment our own opens.
  private func expectCrossing(_ key: Bytes32) {
    guard publicKey < key, let link = links[key], link.state == .dialling else { return }
    link.expectsCrossing = true
  }
}

private final class Question {
  var isSettled = false
  var deadline: (any ScheduledAction)?
}
