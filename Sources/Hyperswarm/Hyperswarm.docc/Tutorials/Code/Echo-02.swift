import Hyperswarm

// `nil` enters the public network.
let network: [String]? = ["127.0.0.1:49737"]
let dht = try await HyperDHT(HyperDHT.Options(bootstrap: network))
let keyPair = HyperDHT.keyPair(seed: HyperDHT.hash(Array("the seed of my server".utf8)))
print("reach me under", keyPair.publicKey)

let server = try await dht.listen(keyPair: keyPair)
for await connection in server.connections {
  Task {
    for try await message in connection.inbound { try await connection.write(message) }
    connection.end()
  }
}
