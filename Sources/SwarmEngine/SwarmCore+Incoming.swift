import HyperEncoding
import HyperEnvironment

// Accepting connections and the duplicate rule (hyperswarm.md 7).
extension SwarmCore {
  /// A stream whose handshake our server has answered.
  func incoming(_ stream: Stream) {
    guard !isDestroyed, !isSuspended, let key = stream.remotePublicKey, key != publicKey else {
      stream.abort(isSuspended ? .suspended : .destroyed)
      return
    }
    let newcomer = Incoming(stream: stream, key: key)
    pendingIncoming[ObjectIdentifier(newcomer)] = newcomer
    stream.observe(
      open: nil,
      authenticated: { [weak self, weak newcomer] in
        guard let self, let newcomer else { return }
        self.authenticated(newcomer)
      },
      close: { [weak self] failure in
        guard let self else { return }
        newcomer.isClosed = true
        newcomer.deadline?.cancel()
        if let link = newcomer.link {
          self.closed(link, failure)
        } else {
          self.pendingIncoming[ObjectIdentifier(newcomer)] = nil
          if let old = self.links[key] {
            old.successors.removeAll { $0 === newcomer }
            old.challengers.removeAll { $0 === newcomer }
          }
          if self.links.isEmpty && self.pendingIncoming.isEmpty { self.becameIdle() }
        }
      })
    arrived(newcomer)
  }

  /// Decides about a newcomer; evaluated again when the connection it waited for has closed.
  func arrived(_ newcomer: Incoming) {
    newcomer.deadline?.cancel()
    newcomer.deadline = nil
    newcomer.yieldsToOld = false
    guard !newcomer.stream.isDestroying else { return }
    guard !isDestroyed, !isSuspended else { return turnAway(newcomer, isSuspended ? .suspended : .destroyed) }
    if knownPeers[newcomer.key]?.isBanned == true { return turnAway(newcomer, .banned) }
    guard let old = links[newcomer.key] else { return accept(newcomer) }

    if old.stream.isDestroying {
      wait(newcomer, for: old)
      return
    }
    let decision = DuplicateRule.decide(
      localKey: publicKey, remoteKey: newcomer.key, oldBytesRead: old.stream.rawBytesRead,
      oldBytesWritten: old.stream.rawBytesWritten)
    switch decision {
    case .keepOld:
      if old.state == .open && !old.isInitiator {
        doubt(old, for: newcomer)
      } else {
        // If the peer has lost the old one, the probe makes it die, and the peer's next dial gets through.
        old.stream.probe(nil)
        turnAway(newcomer, .duplicateConnection)
      }
    case .keepNew:
      if isEstablished(old) && !newcomer.stream.isAuthenticated {
        challenge(old, by: newcomer)
      } else {
        replace(old, by: newcomer)
      }
    }
  }

  private func turnAway(_ newcomer: Incoming, _ reason: SwarmAbortReason) {
    if reason == .duplicateConnection { counters.refusedDuplicates += 1 }
    newcomer.stream.abort(reason)
  }

  private func replace(_ old: Link, by newcomer: Incoming) {
    counters.replacedConnections += 1
    wait(newcomer, for: old)
    old.stream.abort(.duplicateConnection)
  }

  private func wait(_ newcomer: Incoming, for old: Link) {
    guard old.successors.count < Limits.maxChallengers else { return turnAway(newcomer, .duplicateConnection) }
    hold(newcomer)
    old.successors.append(newcomer)
  }

  private func hold(_ newcomer: Incoming) {
    guard !newcomer.isHeld else { return }
    newcomer.isHeld = true
    newcomer.stream.hold()
  }

  private func accept(_ newcomer: Incoming) {
    let isExplicit = knownPeers[newcomer.key]?.isExplicit == true
    if !hasRoom(isExplicit: isExplicit), let idle = idleConnection(givingWayTo: newcomer.stream.remoteHost) {
      roomSearch.candidate = nil
      counters.evictedByLimit += 1
      wait(newcomer, for: idle)
      return idle.stream.abort(.limit)
    }
    guard hasRoom(isExplicit: isExplicit), let peer = admit(newcomer.key) else {
      counters.refusedByLimit += 1
      return turnAway(newcomer, .limit)
    }
    pendingIncoming[ObjectIdentifier(newcomer)] = nil
    let link = Link(stream: newcomer.stream, peer: peer, isInitiator: false)
    link.activeAt = environment.nowMilliseconds
    newcomer.link = link
    links[newcomer.key] = link
    serverCount += 1
    counters.server.opened += 1
    peer.accepted()
    if peer.isQueued {
      dequeue(peer)
      countFlush(newcomer.key)
    }
    report(link)
    if newcomer.isHeld { newcomer.stream.release() }
    update()
  }

  // MARK: Replays (hyperswarm.md 7.4 and 15, row 11)

  /// A recorded first handshake message makes a connection under the peer's key without the peer, so a connection that
  /// works does not give way before the newcomer has proved itself or the old one has fallen silent. The decision is
  /// the same as the rule's, only later.
  private func isEstablished(_ old: Link) -> Bool {
    old.state == .open
      && DuplicateRule.isOutdated(bytesRead: old.stream.rawBytesRead, bytesWritten: old.stream.rawBytesWritten)
  }

  private func challenge(_ old: Link, by newcomer: Incoming) {
    guard old.challengers.count < Limits.maxChallengers else { return turnAway(newcomer, .duplicateConnection) }
    hold(newcomer)
    old.challengers.append(newcomer)
    newcomer.deadline = environment.schedule(after: Limits.challengerDeadline) { [weak self, weak newcomer] in
      guard let self, let newcomer, !newcomer.isClosed else { return }
      self.turnAway(newcomer, .duplicateConnection)
    }
    probe(old)
  }

  /// Both connections are the peer's own dials, and it dials once at a time: it may have given the old one up, which
  /// has not carried anything back yet, for instance over a path that works one way only. The rule's answer stands when
  /// the old one answers; turning the newcomer away before would leave the peer with neither.
  private func doubt(_ old: Link, for newcomer: Incoming) {
    newcomer.yieldsToOld = true
    challenge(old, by: newcomer)
  }

  /// The old connection works: what was held only because of a doubt about it goes by the rule.
  private func confirm(_ old: Link) {
    let newcomers = old.challengers.filter(\.yieldsToOld)
    old.challengers.removeAll(where: \.yieldsToOld)
    for newcomer in newcomers {
      newcomer.deadline?.cancel()
      turnAway(newcomer, .duplicateConnection)
    }
  }

  private func probe(_ old: Link) {
    switch old.probeState {
    case .sent: return
    case .silent: return concede(old)
    case .none, .answered: break
    }
    old.probeState = .sent
    old.stream.probe { [weak self, weak old] acknowledged in
      guard acknowledged, let old, old.probeState == .sent else { return }
      old.probeState = .answered
      old.probeTimer?.cancel()
      self?.confirm(old)
    }
    old.probeTimer = environment.schedule(after: Limits.probeDeadline) { [weak self, weak old] in
      guard let self, let old, old.state == .open, old.probeState == .sent else { return }
      old.probeState = .silent
      self.concede(old)
    }
  }

  /// The old connection gives no sign of life: the first challenger takes its place.
  private func concede(_ old: Link) {
    guard let first = old.challengers.first else { return }
    old.challengers.removeFirst()
    replace(old, by: first)
  }

  private func authenticated(_ newcomer: Incoming) {
    guard newcomer.link == nil, let old = links[newcomer.key],
      let index = old.challengers.firstIndex(where: { $0 === newcomer }), !newcomer.yieldsToOld
    else { return }
    old.challengers.remove(at: index)
    newcomer.deadline?.cancel()
    replace(old, by: newcomer)
  }
}
