import Hyperswarm

// The code of the article Topics and discovery.

public func topics(_ swarm: Hyperswarm) async throws {
  // snippet: topic
  let topic = Hyperswarm.topic("my-application/v1")
  let discovery = try await swarm.join(topic, server: true, client: true, limit: 16)
  // end
  // snippet: flushed
  if try await discovery.flushed() {
    print("announced and looked up")
  } else {
    print("the network does not answer; the swarm keeps trying")
  }
  // end
  // snippet: leave
  await discovery.destroy()
  try await swarm.leave(topic)
  // end
}

public func explicitPeers(_ swarm: Hyperswarm, friend: Bytes32) {
  // snippet: explicit peers
  swarm.joinPeer(friend)
  // end
}

public func swarmEvents(_ swarm: Hyperswarm) async {
  // snippet: swarm events
  for await event in swarm.events() {
    switch event {
    case .attempt(let attempt): print(attempt.publicKey, attempt.stage)
    case .banned(let publicKey, let reason): print(publicKey, "is banned:", reason)
    case .network(let isOnline): print(isOnline ? "the network answers" : "the network is silent")
    default: break
    }
  }
  // end
}

public func admission(allowed: Set<Bytes32>) async throws {
  // snippet: admission
  var options = Hyperswarm.Options()
  options.maxPeers = 32
  options.maxServerConnections = 256
  options.firewall = { candidate in allowed.contains(candidate.publicKey) ? .accept : .refuse }
  let swarm = try await Hyperswarm(options)
  // end
  await swarm.destroy()
}
