import HyperEncoding
import HyperEnvironment

// What happens when the public address changes while the node is awake (dht-rpc.md 15.5, C-13 and C-14). The
// reference goes on announcing its old id, which no node can verify any more.
extension RPCNode {
  /// The first node of a network has no other to ask for its address. Before `start`.
  package func assume(_ address: Endpoint) {
    knownAddress = address
    sampler.add(address)
  }

  /// The NAT sampler says something else than before.
  func ownAddressMayHaveChanged(from before: IPv4Address?) {
    if isEphemeral {
      // Another NAT, another chance: but only of one that stays.
      if let host = sampler.host, host != before, host != lastCheckedHost, isAdaptive {
        stabilityTicks = min(stabilityTicks, Limits.stableTicks)
      }
      return
    }
    // A majority for one other address. While peers disagree the old one may still be right, and bootstrappers have
    // been told what theirs is.
    guard knownAddress == nil, let old = persistentAddress, let host = sampler.host, sampler.port != 0,
      old != Endpoint(host: host, port: sampler.port)
    else { return }
    demote(from: old, to: Endpoint(host: host, port: sampler.port))
  }

  /// The id is no longer that of the address, and it is open whether the node is reachable: back to the beginning, with
  /// the table.
  private func demote(from old: Endpoint, to new: Endpoint?) {
    isEphemeral = true
    persistentAddress = nil
    isFirewalled = configuration.firewalled
    lastCheckedHost = nil
    stabilityTicks = Limits.movedTicks
    forcedRetryTicks = Limits.forcedRetryTicks
    if isFirewalled {
      // Requests leave from the client socket again: what was said about the server socket's mapping is void.
      sampler = NATSampler()
      earlySamples = []
    }
    // Every node that is heard from now on counts as a new sample.
    forgetSampleSources(areSamplesDue: true)
    statistics.addressChanges += 1
    onEphemeral?()
    onAddressChange?(old, new)
    if isBootstrapped { refresh() }
  }

  /// A socket of ours is bound to another port than before: the mappings of the old one lead nowhere, and what nodes
  /// have said about it is void, as after a move.
  package func rebound(_ socket: any DatagramSocket) {
    guard !isDestroyed, !isSuspended, let port = socket.localEndpoint?.port else { return }
    let isServer = socket === serverSocket
    if isServer || socket === clientSocket {
      let before = isServer ? lastServerPort : lastClientPort
      guard port != before else { return }
      if isServer { lastServerPort = port } else { lastClientPort = port }
      if socket === self.socket { forgetOwnAddress(before, port) }
      if isServer {
        if let old = persistentAddress { return demote(from: old, to: knownAddress) }
        // Shown of the old port.
        isFirewalled = configuration.firewalled
      }
      interfacesChanged()
    }
    onNetworkChange?(environment.interfaces())
  }

  /// Where nodes have seen the port that our requests left from.
  private func forgetOwnAddress(_ before: UInt16, _ port: UInt16) {
    sampler = NATSampler()
    earlySamples = []
    forgetSampleSources(areSamplesDue: true)
    // What the node was told holds for its host alone.
    if let told = knownAddress {
      knownAddress = nil
      if told.port == before { assume(Endpoint(host: told.host, port: port)) }
    }
  }

  /// Our requests leave from another socket or address: how nodes saw us before is nothing to compare with.
  func forgetSampleSources(areSamplesDue: Bool = false) {
    var node = recency.oldest
    while let current = node {
      if areSamplesDue { current.sampled = 0 }
      current.to = nil
      current.resampled = 0
      node = current.later
    }
  }

  /// Other networks, other addresses: ask around, and test a host again that has failed before.
  func interfacesChanged() {
    lastCheckedHost = nil
    if isEphemeral, isAdaptive { stabilityTicks = min(stabilityTicks, Limits.stableTicks) }
    if isBootstrapped { refresh() }
    probeSoon()
  }
}
