import HyperEncoding
import HyperEnvironment

// The background tick of 5 s, sleep detection and refreshing (dht-rpc.md 17, 18.1, 19).
extension RPCNode {
  func startTicking() {
    markTick()
    scheduleTick()
  }

  func stopTicking() {
    tickTimer?.cancel()
    tickTimer = nil
  }

  private func markTick() {
    lastTickWallClock = environment.wallClock
    lastTickTime = environment.nowMilliseconds
  }

  private func scheduleTick() {
    tickTimer = environment.schedule(after: RPCLimits.tickInterval) { [weak self] in
      guard let self else { return }
      scheduleTick()
      runTick()
    }
  }

  private func runTick() {
    guard !isDestroyed else { return }
    // Either clock may stand still while the machine sleeps.
    let wall = environment.wallClock
    let wallGap = wall > lastTickWallClock ? wall - lastTickWallClock : 0
    let gap = max(wallGap, environment.nowMilliseconds - lastTickTime)
    markTick()
    guard !isSuspended else { return }
    if gap > RPCLimits.sleepThreshold { wakeUp() } else { tick += 1 }
    guard isBootstrapped else { return }

    considerPersistence()
    if tick % RPCLimits.pingEveryTicks == 0 { pingRound() }
    if tick % RPCLimits.thinTableEveryTicks == 0, table.count < RPCLimits.k {
      refresh()
    } else {
      refreshTicks -= 1
      if refreshTicks <= 0 { refresh() }
    }
    downHintsLeft = configuration.downHintsRateLimit
    if health.update(responses: statistics.responses, timeouts: statistics.timeouts) { onNetworkUpdate?() }
  }

  /// Checks the nodes that have been silent for longest.
  private func pingRound() {
    guard let oldest = recency.oldest else {
      refresh()
      return
    }
    var budget = requests.count > 2 ? RPCLimits.pingSomeWhenBusy : RPCLimits.pingSome
    if tick - oldest.pinged < RPCLimits.recentNodeTicks { budget = RPCLimits.pingSomeWhenRecent }
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

  /// The machine has slept, or we resume: everything looks old, and nobody knows whether we are still reachable.
  func wakeUp() {
    tick += RPCLimits.wakeupJump
    // Two ticks later a ping round runs.
    let phase = tick % RPCLimits.pingEveryTicks
    tick += (RPCLimits.pingEveryTicks - 2 + RPCLimits.pingEveryTicks - phase) % RPCLimits.pingEveryTicks
    stabilityTicks = isForcedPersistent ? RPCLimits.forcedRetryTicks : RPCLimits.moreStableTicks
    forcedRetryTicks = RPCLimits.forcedRetryTicks
    refreshTicks = 1
    lastCheckedHost = nil
    let changed = health.reset()
    if isAdaptive, !isEphemeral {
      isEphemeral = true
      persistentAddress = nil
      onEphemeral?()
    }
    if changed { onNetworkUpdate?() }
    onWakeup?()
  }
}
