import Hyperswarm

// The code of the article Getting started. A block between "snippet" and "end" stands in an article as it is here.

public func gettingStarted() async throws {
  // snippet: first swarm
  let swarm = try await Hyperswarm()
  let discovery = try await swarm.join(Hyperswarm.topic("a quiet room"))
  try await discovery.flushed()

  for await connection in swarm.connections {
    Task {
      try await connection.write("hello from \(swarm.keyPair.publicKey)")
      for try await message in connection.inbound {
        print(connection.remotePublicKey, "says", String(decoding: message, as: UTF8.self))
      }
    }
  }
  // end
}

public func privateNetwork() async throws {
  // snippet: private network
  let testnet = try await HyperDHT.Testnet(size: 5)
  let alice = try await Hyperswarm(Hyperswarm.Options(bootstrap: testnet.bootstrap))
  let bob = try await Hyperswarm(Hyperswarm.Options(bootstrap: testnet.bootstrap))

  let topic = Hyperswarm.topic("a test")
  try await alice.join(topic, server: true, client: false).flushed()
  try await bob.join(topic, server: false, client: true)

  guard let connection = await bob.connections.first(where: { _ in true }) else { return }
  print("bob reached alice:", connection.remotePublicKey == alice.keyPair.publicKey)

  await alice.destroy()
  await bob.destroy()
  await testnet.destroy()
  // end
}
