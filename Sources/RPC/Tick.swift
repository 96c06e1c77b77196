import HyperEncoding
import HyperEnvironment

// The background tick of 5 s, sleep detection and refreshing (dht-rpc.md 17, 18.1, 19).
extension RPCNode {
  func startTicking() {
    expectAnswer()
    markTick()
    scheduleTick()
  }

  func stopTicking() {
    tickTimer?.cancel()
    tickTimer = nil
    reachability.stop()
  }

  private func markTick() {
    lastTickUptime = environment.uptime
    lastTickTime = environment.nowMilliseconds
  }

  private func scheduleTick() {
    tickTimer = environment.schedule(after: Limits.tickInterval) { [weak self] in
      guard let self else { return }
      scheduleTick()
      runTick()
    }
  }

  private func runTick() {
    guard !isDestroyed else { return }
    // The monotonic clock may stand still while the machine sleeps. The wall clock is no witness: it can be set.
    let uptime = environment.uptime
    let asleep = uptime > lastTickUptime ? uptime - lastTickUptime : 0
    let ran = environment.nowMilliseconds - lastTickTime
    markTick()
    guard !isSuspended else { return }
    if max(asleep, ran) <= Limits.sleepThreshold {
      tick += 1
    } else if asleep > ran + Limits.clockSlack {
      wakeUp()
    } else {
      continueAfterStop(ticks: ran / Limits.tickInterval)
    }
    checkPaths()
    // What hears of a change of the network may end the node.
    guard isBootstrapped, !isSuspended, !isDestroyed else { return }

    considerPersistence()
    if tick % Limits.pingEveryTicks == 0 { pingRound() }
    if tick % Limits.smallTableEveryTicks == 0, table.count < Limits.k {
      refresh()
    } else {
      refreshTicks -= 1
      if refreshTicks <= 0 { refresh() }
    }
    downHintsLeft = configuration.downHintsRateLimit
    if health.update(responses: statistics.responses, timeouts: statistics.timeouts) {
      if isOffline { startProbing() }
      onNetworkUpdate?()
    }
  }

  /// Checks the nodes that have been silent for longest.
  private func pingRound() {
    guard let oldest = recency.oldest else {
      refresh()
      return
    }
    var budget = requests.count > 2 ? Limits.pingSomeWhenBusy : Limits.pingSome
    if tick - oldest.pinged < Limits.recentNodeTicks { budget = Limits.pingSomeWhenRecent }
    var node: RoutingNode? = oldest
    while let current = node, budget > 0, current.pinged < tick {
      node = current.later
      checkLiveness(of: current)
      budget -= 1
    }
  }

  /// Starts a background look-up toward a random node's id, or our own.
  package func refresh() {
    guard !isDestroyed, !isSuspended else { return }
    var target = table.id
    if table.count > 0 {
      var steps = environment.random(below: UInt32(truncatingIfNeeded: table.count))
      var node = recency.oldest
      while steps > 0, let later = node?.later {
        node = later
        steps -= 1
      }
      if let node { target = node.id }
    }
    var options = QueryOptions()
    options.isBackground = true
    findNode(target: target, options: options).start()
  }

  /// The process was stopped while the machine ran on: addresses and mappings are most likely as they were, so the node
  /// stays what it is, but what it knows of others has aged. The NAT sampler finds out if its own address has changed.
  private func continueAfterStop(ticks: UInt64) {
    tick += max(1, ticks)
    refreshTicks = 1
    // Requests that were under way have timed out for our own sake.
    if !isOffline { _ = health.reset() }
    if reachability.hasContact || !configuration.bootstrap.isEmpty { startProbing() }
    onAwake?()
  }

  /// The machine has slept, or the node resumes: everything looks old, and it is open whether the node is reachable.
  func wakeUp() {
    tick += Limits.wakeupJump
    // Two ticks later a ping round runs.
    let phase = tick % Limits.pingEveryTicks
    tick += (Limits.pingEveryTicks - 2 + Limits.pingEveryTicks - phase) % Limits.pingEveryTicks
    stabilityTicks = isForcedPersistent ? Limits.forcedRetryTicks : Limits.moreStableTicks
    forcedRetryTicks = Limits.forcedRetryTicks
    refreshTicks = 1
    lastCheckedHost = nil
    let changed = health.reset()
    // Perhaps another network, perhaps none.
    if reachability.hasContact || !configuration.bootstrap.isEmpty { startProbing() }
    if isAdaptive, !isEphemeral {
      isEphemeral = true
      persistentAddress = nil
      onEphemeral?()
    }
    if changed { onNetworkUpdate?() }
    onWakeup?()
    onAwake?()
  }
}
