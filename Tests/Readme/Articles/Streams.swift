import HyperDHT
import HyperNoise
import HyperProtomux
import HyperProtomuxJSON
import HyperUDX

// The code of the pages of HyperNoise, HyperProtomux, HyperProtomuxJSON and HyperUDX.

public func serve(_ acceptedSocket: Int32, as identity: KeyPair, friends: Set<Bytes32>) async throws {
  // snippet: noise
  let server = try SecretStream(isInitiator: false, reading: acceptedSocket, .init(keyPair: identity))
  try await server.opened()
  guard let key = server.remotePublicKey, friends.contains(key) else { return server.destroy() }
  for try await message in server.inbound { try await server.write(message) }
  // end
}

public func meet(_ dht: HyperDHT, relayKey: Bytes32, token: Bytes32) async throws -> SecretStream {
  // snippet: relay client
  let relay = try BlindRelayClient(try await dht.connect(to: relayKey))
  let raw = try await relay.pair(isInitiator: true, token: token)
  let stream = try SecretStream(isInitiator: true, over: raw)
  // end
  return stream
}

public func announce(_ transport: UDXTransport, peer: Endpoint) async throws -> UDXConnection {
  // snippet: udx
  let port = try await transport.bind(port: 5353, reusesAddress: true)
  try await port.withSocket { (socket) throws(UDXError) in
    try socket.join(group: IPv4Address(224, 0, 0, 251))
    try socket.setKernelBuffers(receive: 1 << 20)
  }
  var options = UDXStreamOptions()
  options.congestionControl = .cubic
  let connection = try await port.connect(localID: 1, remoteID: 2, to: peer, options: options)
  // end
  return connection
}

public func shareItems(over connection: HyperDHT.Connection) async throws {
  // snippet: json
  struct Item: Codable, Sendable {
    var text: String
  }

  let channel = try Protomux(connection).createChannel(protocol: "todo/1")
  let item = channel.addMessage(.json(Item.self))
  try channel.open()
  try await item.send(Item(text: "milk"))
  for try await item in item.messages { print(item.text) }
  // end
}
