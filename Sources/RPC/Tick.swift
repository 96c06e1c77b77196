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
    let pause = configuration.isLowPower ? environment.untilWhole(Limits.LowPower.tickInterval) : Limits.tickInterval
    scheduleTick(after: pause)
  }

  private func scheduleTick(after pause: UInt64) {
    tickTimer = environment.schedule(after: pause) { [weak self] in
      guard let self else { return }
      scheduleTick()
      runTick()
    }
  }

  private var tickInterval: UInt64 { configuration.isLowPower ? Limits.LowPower.tickInterval : Limits.tickInterval }

  /// Ticks without a query after which there is a refresh.
  var usualRefreshTicks: Int { configuration.isLowPower ? .max : Limits.refreshTicks }

  /// Something begins. The next tick of a node that saves power may be far: if the machine has slept, it comes now.
  package func noticeSleep() {
    guard configuration.isLowPower, let timer = tickTimer,
      environment.uptime > lastTickUptime + tickInterval + Limits.lateTick
    else { return }
    timer.cancel()
    scheduleTick(after: 0)
  }

  private func runTick() {
    guard !isDestroyed else { return }
    // The monotonic clock may stand still while the machine sleeps. The wall clock is no witness: it can be set.
    let uptime = environment.uptime
    let asleep = uptime > lastTickUptime ? uptime - lastTickUptime : 0
    let ran = environment.nowMilliseconds - lastTickTime
    markTick()
    guard !isSuspended else { return }
    var steps: UInt64 = 1
    if max(asleep, ran) <= tickInterval + Limits.lateTick {
      if configuration.isLowPower { steps = max(1, ran / Limits.tickInterval) }
      tick += steps
    } else if asleep > ran + Limits.clockSlack {
      wakeUp()
    } else {
      continueAfterStop(ticks: ran / Limits.tickInterval)
    }
    checkPaths(after: Int(steps))
    // What hears of a change of the network may end the node.
    guard isBootstrapped, !isSuspended, !isDestroyed else { return }

    considerPersistence()
    askAround(after: steps)
    downHintsLeft = configuration.downHintsRateLimit
    if health.update(responses: statistics.responses, timeouts: statistics.timeouts) {
      if isOffline { startProbing() }
      onNetworkUpdate?()
    }
  }

  /// Pings and look-ups that are due by time.
  private func askAround(after steps: UInt64) {
    // A network that does not answer is probed; asking more of it costs power.
    if configuration.isLowPower, isOffline { return }
    let lowPower = configuration.isLowPower ? Limits.LowPower.pingEveryTicks : nil
    // Whether a multiple is among the ticks since the last one.
    if tick % (lowPower ?? Limits.pingEveryTicks) < steps { pingRound() }
    if tick % (lowPower ?? Limits.smallTableEveryTicks) < steps, table.count < Limits.k {
      refresh()
    } else {
      refreshTicks -= Int(steps)
      if refreshTicks <= 0 { refresh() }
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
