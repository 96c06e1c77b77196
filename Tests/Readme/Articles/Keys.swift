import Hyperswarm

// The code of the articles Servers and keys, Records, and Relays and NATs.

public func server(seed: Bytes32, allowed: Set<Bytes32>) async throws {
  // snippet: server
  let dht = try await HyperDHT()
  var options = HyperDHT.ServerOptions()
  options.firewall = { peer in allowed.contains(peer.publicKey) }
  let server = try await dht.listen(keyPair: HyperDHT.keyPair(seed: seed), options: options)
  print("reach me under", server.publicKey)

  for await connection in server.connections {
    Task {
      for try await message in connection.inbound { try await connection.write(message) }
      connection.end()
    }
  }
  // end
}

public func server(keyPair: KeyPair, cores: Int) async throws {
  // snippet: cores
  let front = try await HyperDHT(HyperDHT.Options())
  let server = try await front.listen(keyPair: keyPair)
  var quiet = HyperDHT.ServerOptions()
  quiet.isAnnounced = false
  var members: [HyperDHT.Server] = []
  for _ in 1..<cores {
    let node = try await HyperDHT(HyperDHT.Options(port: 0))
    members.append(try await node.listen(keyPair: keyPair, options: quiet))
  }
  try await server.share(with: members)
  // end
}

public func client(_ dht: HyperDHT, text: String) async throws {
  // snippet: client
  let publicKey = try KeyText.parse(text)
  var options = HyperDHT.ConnectOptions()
  options.deadline = .seconds(15)
  let connection = try await dht.connect(to: publicKey, options: options)
  try await connection.write("ping")
  if let answer = try await connection.read() { print(String(decoding: answer, as: UTF8.self)) }
  await connection.close()
  // end
}

public func proof(_ connection: HyperDHT.Connection) async throws {
  // snippet: proof
  if !connection.isPeerProven { try await connection.waitUntilPeerProven() }
  // end
}

public func immutableRecord(_ dht: HyperDHT) async throws {
  // snippet: immutable record
  let stored = try await dht.immutablePut(Array("a value that never changes".utf8))
  if let found = try await dht.immutableGet(stored.key) {
    print(String(decoding: found.value, as: UTF8.self))
  }
  // end
}

public func mutableRecord(_ dht: HyperDHT, owner: KeyPair) async throws {
  // snippet: mutable record
  let stored = try await dht.mutablePut(Array("second edition".utf8), keyPair: owner, sequence: 2)
  print("held by", stored.stored, "nodes")
  if let newest = try await dht.mutableGet(owner.publicKey, sequence: 1) {
    print(newest.sequence, String(decoding: newest.value, as: UTF8.self))
  }
  // end
}

public func relayed(_ dht: HyperDHT, peer: Bytes32, relay: Bytes32) async throws {
  // snippet: relayed connect
  var options = HyperDHT.ConnectOptions()
  options.relayThrough = .key(relay)
  let connection = try await dht.connect(to: peer, options: options)
  Task {
    for await address in connection.pathChanges { print("now over", address) }
  }
  // end
}

public func serveRelay(_ dht: HyperDHT) async throws {
  // snippet: relay server
  var limits = HyperDHT.RelayServer.Limits()
  limits.links = 200
  limits.bytesPerSecond = 20_000_000
  let relay = try await dht.serveRelay(limits: limits)
  print("name this key as relay:", relay.publicKey)
  // end
  await relay.close()
}
