import HyperDHT
import HyperNoise
import HyperProtomux
import HyperUDX
import Hyperswarm

// The code in the descriptions of types, and in docs/protomux.md.

public func typeSwarm() async throws {
  // snippet: swarm
  let swarm = try await Hyperswarm()
  try await swarm.join(.hash(of: "my chat room"))
  for await connection in swarm.connections {
    Task {
      try await connection.write("hello")
      for try await message in connection.inbound { print(String(decoding: message, as: UTF8.self)) }
    }
  }
  // end
}

public func typeScope() async throws {
  // snippet: scope
  try await withHyperswarm { swarm in
    try await swarm.join(.hash(of: "my chat room"))
    for await connection in swarm.connections { print("met", connection.remotePublicKey) }
  }
  // end
}

public func typeNode() async throws {
  // snippet: node
  let dht = try await HyperDHT()
  let server = try await dht.listen()
  print(server.publicKey.hex)
  for await connection in server.connections { print("met", connection.remotePublicKey) }
  // end
}

public func typeMux(_ connection: HyperDHT.Connection) async throws {
  // snippet: mux
  let mux = Protomux(connection)
  let channel = try mux.createChannel(protocol: "chat/1")
  let lines = channel.addMessage(.string)
  try channel.open()

  try await channel.opened()
  try await lines.send("hello")
  for try await line in lines.messages { print(line) }
  // end
}

public func typeMux(_ connection: HyperDHT.Connection, topic: Bytes32) async throws {
  // snippet: mux with an id
  let mux = Protomux(connection)
  let channel = try mux.createChannel(protocol: "chat/1", id: topic.bytes)
  let lines = channel.addMessage(.string)
  try channel.open()

  try await channel.opened()
  try await lines.send("hello")
  for try await line in lines.messages { print(line) }
  // end
}

public func typeTransport(peer: Endpoint) async throws {
  // snippet: transport
  let transport = try await UDXTransport()
  let port = try await transport.bind()
  let connection = try await port.connect(localID: 1, remoteID: 2, to: peer)
  try await connection.write(Array("hello".utf8))
  for try await bytes in connection.inbound { print(bytes.count, "bytes") }
  // end
}

public func typeSecretStream() async throws {
  // snippet: secret stream
  let (a, b) = MemoryTransport.pair()
  let alice = try SecretStream(isInitiator: true, over: a)
  let bob = try SecretStream(isInitiator: false, over: b)
  try await alice.write("hello")
  for try await message in bob.inbound { print(String(decoding: message, as: UTF8.self)) }
  // end
}
