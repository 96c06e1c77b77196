import Hyperswarm

// The code of the articles Back-pressure and memory, and Operating a node.

public func copy(from source: some AsyncSequence<[UInt8], any Error>, to connection: HyperDHT.Connection) async throws {
  // snippet: writing with back-pressure
  for try await piece in source { try await connection.write(piece) }
  connection.end()
  try await connection.flush()
  // end
}

public func broadcast(_ line: [UInt8], to connections: [HyperDHT.Connection]) {
  // snippet: writing without waiting
  for connection in connections {
    let shouldSlowDown = (try? connection.writeWithoutWaiting(line)) ?? false
    if shouldSlowDown { connection.destroy() }
  }
  // end
}

public func permanentNode() async throws {
  // snippet: permanent node
  var options = HyperDHT.Options(port: 49_737)
  options.anyPort = false
  options.isEphemeral = false
  options.isFirewalled = false
  let node = try await HyperDHT(options)
  try await node.bootstrapped()
  // end
  // snippet: status
  let status = await node.status()
  print(status.isOnline, status.isEphemeral, status.isFirewalled, status.nodeCount)
  // end
  await node.destroy()
}

public func sleepAndWake(_ swarm: Hyperswarm) async throws {
  // snippet: suspend and resume
  try await swarm.suspend()
  try await swarm.resume()
  // end
}

public func onABattery() async throws {
  // snippet: low power
  var options = Hyperswarm.Options()
  options.isLowPower = true
  let phone = try await Hyperswarm(options)
  // end
  await phone.destroy()
}
