import Hyperswarm

let dht = try await HyperDHT()
let keyPair = HyperDHT.keyPair(seed: HyperDHT.hash(Array("the seed of my server".utf8)))
print("reach me under", keyPair.publicKey)
