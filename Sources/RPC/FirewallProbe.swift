import HyperCrypto
import HyperEncoding
import HyperEnvironment

// From ephemeral to persistent (dht-rpc.md 15).
extension RPCNode {
  /// Once per tick: adaptive nodes try when they have been stable for long, and each host only once; nodes that are
  /// told to be persistent try again with growing pauses (the reference gives up, dht-rpc.md E-7).
  func considerPersistence() {
    guard isEphemeral, isAdaptive || isForcedPersistent else { return }
    stabilityTicks -= 1
    guard stabilityTicks <= 0 else { return }
    if isForcedPersistent {
      updatePersistence(firewallOnly: false) { _ in }
      stabilityTicks = forcedRetryTicks
      forcedRetryTicks = min(forcedRetryTicks * 2, Limits.moreStableTicks)
    } else if sampler.host != nil, sampler.host == lastCheckedHost {
      stabilityTicks = Limits.moreStableTicks
    } else {
      updatePersistence(firewallOnly: false) { _ in }
    }
  }

  /// Becomes persistent if strangers can reach us; with `firewallOnly` just finds out whether they can. `done` gets
  /// whether something was achieved, exactly once, possibly inside this call.
  func updatePersistence(firewallOnly: Bool, _ done: @escaping (Bool) -> Void) {
    guard isEphemeral, !isUpdatingPersistence, !isDestroyed, !isSuspended, !firewallOnly || isFirewalled else {
      done(false)
      return
    }
    let host = sampler.host
    let port = sampler.port
    if !firewallOnly {
      stabilityTicks = Limits.moreStableTicks
      lastCheckedHost = host
    }
    guard let host, port != 0 else {
      done(false)
      return
    }
    guard isFirewalled else {
      done(settlePersistence(firewallOnly: firewallOnly, host: host, port: port, with: sampler))
      return
    }
    isUpdatingPersistence = true
    let probeSampler = NATSampler()
    probeFirewall(probeSampler) { [weak self] isFirewalled in
      guard let self else { return done(false) }
      isUpdatingPersistence = false
      guard !isFirewalled, !isDestroyed, !isSuspended else { return done(false) }
      done(settlePersistence(firewallOnly: firewallOnly, host: host, port: port, with: probeSampler))
    }
  }

  /// `host` and `port` are what the live sampler said when the update began.
  private func settlePersistence(
    firewallOnly: Bool, host: IPv4Address, port: UInt16, with newSampler: NATSampler
  ) -> Bool {
    isFirewalled = false
    guard isEphemeral, sampler.host == host, sampler.port == port, newSampler.host == host, newSampler.port != 0 else {
      return false
    }
    let newID = NodeAddress.id(of: Endpoint(host: host, port: newSampler.port))
    if !firewallOnly {
      isEphemeral = false
      persistentAddress = Endpoint(host: host, port: newSampler.port)
    }
    if newSampler !== sampler {
      sampler = newSampler
      earlySamples = []
      forgetSampleSources()
      if newSampler.port != port { onNATUpdate?(newSampler.host, newSampler.port) }
    }
    if newID != table.id {
      recentre(on: newID)
      if isBootstrapped { refresh() }
    }
    if !isEphemeral { onPersistent?() }
    return true
  }

  /// Asks up to five nodes to answer to our silent server socket; `done` gets whether we are firewalled.
  private func probeFirewall(_ probeSampler: NATSampler, _ done: @escaping (Bool) -> Void) {
    var nodes = recentNodes(limit: Limits.firewallProbeNodes)
    guard nodes.count < Limits.firewallProbeNodes else {
      probe(nodes, probeSampler, done)
      return
    }
    // The reference asks bootstrap nodes of the table twice (dht-rpc.md E-14): the second answer proves nothing.
    for endpoint in knownBootstrap where !nodes.contains(endpoint) { nodes.append(endpoint) }
    probe(nodes, probeSampler, done)
  }

  private func probe(_ nodes: [Endpoint], _ probeSampler: NATSampler, _ done: @escaping (Bool) -> Void) {
    guard !nodes.isEmpty, let serverPort = serverSocket?.localEndpoint?.port, let client = clientSocket else {
      done(true)
      return
    }
    recordedHosts = []
    var left = nodes.count
    var count = 0
    for node in nodes {
      pingNAT(node, port: serverPort, socket: client) { [weak self] result in
        guard let self else {
          left -= 1
          if left == 0 { done(true) }
          return
        }
        if case .success(let response) = result, recordedHosts?.contains(response.from.host) == true {
          count += 1
          probeSampler.add(response.to)
        }
        left -= 1
        guard left == 0 else { return }
        recordedHosts = nil
        done(isStillFirewalled(answers: count, of: nodes.count, probeSampler, serverPort: serverPort))
      }
    }
  }

  private func isStillFirewalled(
    answers: Int, of probed: Int, _ probeSampler: NATSampler, serverPort: UInt16
  ) -> Bool {
    let minimum = probed >= Limits.firewallProbeNodes ? Limits.firewallMinimumReplies : 1
    guard answers >= minimum, let host = probeSampler.host else { return true }
    return host != sampler.host || probeSampler.port == 0 || probeSampler.port != serverPort
  }

  /// Asks `node` to answer to `port` at our IP address.
  func pingNAT(
    _ node: Endpoint, port: UInt16, socket: any DatagramSocket,
    _ completion: @escaping (Result<Response, RPCError>) -> Void
  ) {
    var writer = CompactWriter(reservingCapacity: 2)
    writer.uint16(port)
    let message = RequestMessage(command: InternalCommand.pingNAT.rawValue, value: writer.bytes, isInternal: true)
    var options = RequestOptions(socket: socket)
    options.destinationID = NodeAddress.id(of: node)
    request(message, to: node, options: options, completion)
  }

  /// A probe runs: remembers the hosts that have reached the server socket.
  func recordHost(_ host: IPv4Address) {
    if let count = recordedHosts?.count, count < Limits.maximumRecordedHosts { recordedHosts?.insert(host) }
  }
}
