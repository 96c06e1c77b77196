import Hyperswarm

// `nil` enters the public network.
let network: [String]? = ["127.0.0.1:49737"]
let dht = try await HyperDHT(HyperDHT.Options(bootstrap: network))

if let text = CommandLine.arguments.dropFirst().first {
  do {
    let connection = try await dht.connect(to: KeyText.parse(text))
    try await connection.write("hello")
    if let answer = try await connection.read() { print(String(decoding: answer, as: UTF8.self)) }
    await connection.close()
  } catch {
    print(error)
  }
  await dht.destroy()
} else {
  let keyPair = HyperDHT.keyPair(seed: HyperDHT.hash(Array("the seed of my server".utf8)))
  print("reach me under", keyPair.publicKey)
  let server = try await dht.listen(keyPair: keyPair)
  for await connection in server.connections {
    Task {
      for try await message in connection.inbound { try await connection.write(message) }
      connection.end()
    }
  }
}
