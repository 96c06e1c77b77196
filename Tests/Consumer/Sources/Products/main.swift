import HyperDHT
import HyperNoise
import HyperProtomuxJSON
import HyperUDX
import Hyperswarm
import HyperswarmTesting

// All products for Swift in one program: none hides the names of another.
let topic = Hyperswarm.topic("a topic")
let pair = MemoryTransport.pair()
let streams = try [SecretStream(isInitiator: true, over: pair.0), SecretStream(isInitiator: false, over: pair.1)]
try await streams[0].write("hello")
let message = try await streams[1].read()
let network = VirtualNetwork(seed: 1)
network.advance(by: .seconds(1))
let codec: JSONCodec<[Int]> = .json()
print(
  "products:", topic == HyperDHT.hash(Array("a topic".utf8)), String(decoding: message ?? [], as: UTF8.self),
  network.elapsed, try codec.decode(codec.encode([1, 2])))
