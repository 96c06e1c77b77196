import HyperswarmTesting

// The code of the article Testing your application on the simulator.

public func simulation() throws {
  // snippet: simulation
  let network = VirtualNetwork(seed: 7)
  let testnet = try VirtualTestnet(network: network, size: 8)
  network.conditions = LinkConditions(latency: .milliseconds(40), jitter: .milliseconds(10), loss: 0.02)

  let nat = network.makeNAT(mapping: .endpointIndependent, filter: .addressAndPortDependent)
  let host = network.makeHost(IPv4Address(10, 0, 0, 2), behind: nat)
  let alice = testnet.makeSwarm(on: host)
  let bob = testnet.makeSwarm(on: network.makeHost())

  var heard: [String] = []
  alice.onConnection = { $0.write(Array("hello".utf8)) }
  bob.onConnection = { $0.onMessage = { heard.append(String(decoding: $0, as: UTF8.self)) } }
  try alice.join(VirtualSwarm.topic("a room"))
  try bob.join(VirtualSwarm.topic("a room"))

  let met = network.run(within: .seconds(10)) { heard == ["hello"] }
  print(met ? "met after \(network.elapsed)" : "did not meet")
  // end
  // snippet: disturbance
  host.isDown = true
  network.advance(by: .seconds(30))
  host.isDown = false
  host.move(to: IPv4Address(10, 0, 0, 9), behind: nat)
  // end
}

public func virtualTime(_ network: VirtualNetwork, _ alice: VirtualSwarm, _ bob: VirtualSwarm) {
  // snippet: clock program
  /// Tells a peer every half minute that we are there.
  func beat(_ clock: some Clock<Duration>, _ tell: () -> Void) async throws {
    while true {
      tell()
      try await clock.sleep(for: .seconds(30))
    }
  }
  // end
  // snippet: clock
  let heart = network.task {
    try await beat(network.clock) {
      for connection in alice.connections { connection.write(Array("still here".utf8)) }
    }
  }
  network.advance(by: .seconds(3600))
  heart.cancel()
  // end
  // snippet: bridge
  let (arrivals, arrived) = AsyncStream.makeStream(of: [UInt8].self)
  bob.onConnection = { $0.onMessage = { arrived.yield($0) } }
  var messages = 0
  network.task {
    for await _ in arrivals { messages += 1 }
  }
  // end
}

public func virtualActor() {
  // snippet: actor in virtual time
  actor Player {
    let executor: VirtualExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ network: VirtualNetwork) { executor = network.executor }
  }
  // end
  _ = Player.self
}

public func clocked() {
  // snippet: beat
  func beat(_ clock: some Clock<Duration>, _ send: () -> Void) async throws {
    while true {
      send()
      try await clock.sleep(for: .seconds(30))
    }
  }
  // end
}
