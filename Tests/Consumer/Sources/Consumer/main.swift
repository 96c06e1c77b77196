import CSodium
import Crypto
import Encoding
import Environment
import Hyperswarm
import RPC
import Runtime
import UDX

// Both sides of every name are used, so that neither module can stand in for the other.
let names = [
  OwnCrypto.name, OwnEncoding.name, OwnEnvironment.name, OwnRPC.name, OwnRuntime.name, OwnUDX.name,
]
print("own modules: \(names.joined(separator: " ")), CSodium \(csodium_answer())")

let testnet = try await HyperDHT.Testnet(size: 3)
let server = try await Hyperswarm(Hyperswarm.Options(bootstrap: testnet.bootstrap))
let client = try await Hyperswarm(Hyperswarm.Options(bootstrap: testnet.bootstrap))
let topic = Hyperswarm.topic("a consumer")
_ = try await server.join(topic, client: false).flushed()
try await client.join(topic, server: false)

let accepting = Task {
  for await connection in server.connections {
    try await connection.write("hello")
    try await connection.flush()
    return connection.remotePublicKey == client.keyPair.publicKey
  }
  return false
}
for await connection in client.connections {
  let message = try await connection.read()
  print("received \(String(decoding: message ?? [], as: UTF8.self)), from the right peer: \(try await accepting.value)")
  break
}
await client.destroy()
await server.destroy()
await testnet.destroy()
