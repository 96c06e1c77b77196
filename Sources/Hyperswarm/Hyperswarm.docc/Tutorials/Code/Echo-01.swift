import Hyperswarm

// `nil` enters the public network.
let network: [String]? = ["127.0.0.1:49737"]
let dht = try await HyperDHT(HyperDHT.Options(bootstrap: network))
let keyPair = HyperDHT.keyPair(seed: HyperDHT.hash(Array("the seed of my server".utf8)))
print("reach me under", keyPair.publicKey)
