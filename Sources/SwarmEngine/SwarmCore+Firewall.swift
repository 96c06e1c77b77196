import HyperCollections
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
    ask(request, isIncoming: true) { [weak self] answer in
      guard let self, !self.isDestroyed, !self.isSuspended else { return verdict(false) }
      switch answer {
      case nil:
        self.counters.refusedByLimit += 1
        verdict(false)
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

  /// Asks the application; settles exactly once, with a refusal after the deadline, and with nothing when the question
  /// has made room for another one: the oldest of the host that has most, so that peers that come by the thousand wait
  /// for each other only.
  func ask(
    _ request: SwarmFirewallRequest, isIncoming: Bool, _ settle: @escaping (SwarmFirewallVerdict?) -> Void
  ) {
    guard let firewall else { return settle(.refuse) }
    if isIncoming {
      makeRoomForQuestion()
    } else if dialQuestions >= Limits.maxPendingVerdicts {
      return settle(.refuse)
    }
    let question = begin(request, isIncoming: isIncoming, settle)
    firewall(request) { question.settle($0) }
    guard !question.isSettled else { return }
    question.deadline = environment.schedule(after: Limits.firewallDeadline) { question.settle(.refuse) }
  }

  private func makeRoomForQuestion() {
    guard questions.count >= Limits.maxPendingVerdicts, let heaviest = questionsByHost.heaviest else { return }
    questions[heaviest.oldest]?.settle(nil)
  }

  private func begin(
    _ request: SwarmFirewallRequest, isIncoming: Bool, _ settle: @escaping (SwarmFirewallVerdict?) -> Void
  ) -> FirewallQuestion {
    let number = nextQuestion
    let host = request.address?.host ?? .any
    nextQuestion += 1
    let question = FirewallQuestion { [weak self] verdict in
      if let self {
        if isIncoming {
          questions[number] = nil
          questionsByHost.remove(number, of: host)
        } else {
          dialQuestions -= 1
        }
      }
      settle(verdict)
    }
    if isIncoming {
      questions[number] = question
      questionsByHost.insert(number, of: host)
    } else {
      dialQuestions += 1
    }
    return question
  }

  func banByFirewall(_ peer: PeerInfo) {
    guard !peer.isBanned else { return }
    peer.isBanned = true
    peer.isBannedByFirewall = true
    counters.bannedPeers += 1
    firewallBans.append(peer)
    if firewallBans.count > Limits.maxFirewallBans, let oldest = firewallBans.first {
      // Not `ban`: a peer that is dialled at once would be asked about again, and its ban push out the next.
      oldest.isBanned = false
      oldest.isBannedByFirewall = false
      collect(oldest)
    }
    onBan?(peer, SwarmStreamFailure(code: "PEER_FIREWALLED", description: "Peer is firewalled"))
  }

  /// The peer's dial will win over ours (rule 7.1): remember it for the moment our own opens.
  private func expectCrossing(_ key: Bytes32) {
    guard publicKey < key, let link = links[key], link.state == .dialling else { return }
    link.expectsCrossing = true
  }
}

/// One question to the firewall of the application.
final class FirewallQuestion {
  private(set) var isSettled = false
  var deadline: (any ScheduledAction)?
  private let done: (SwarmFirewallVerdict?) -> Void

  init(_ done: @escaping (SwarmFirewallVerdict?) -> Void) { self.done = done }

  /// The first call counts.
  func settle(_ verdict: SwarmFirewallVerdict?) {
    guard !isSettled else { return }
    isSettled = true
    deadline?.cancel()
    deadline = nil
    done(verdict)
  }
}
