// A server that keeps its key wherever it runs, and admits only the keys that it was told.
//
//   swift run EchoServer serve SEED [ALLOWED-KEY...]   prints its key; without keys it admits everyone
//   swift run EchoServer call KEY SEED TEXT            SEED makes the caller's key
//   swift run EchoServer key SEED                      the key of a seed
import Foundation
import Hyperswarm

func fail(_ text: String) -> Never {
  FileHandle.standardError.write(Data((text + "\n").utf8))
  exit(1)
}

func keyPair(_ seed: String) -> KeyPair { HyperDHT.keyPair(seed: HyperDHT.hash(Array(seed.utf8))) }

func serve(_ seed: String, allowed: Set<Bytes32>, on dht: HyperDHT) async throws {
  var options = HyperDHT.ServerOptions()
  // A peer that is not let in gets no answer, so that it cannot tell this server from none.
  if !allowed.isEmpty { options.firewall = { peer in allowed.contains(peer.publicKey) } }
  let server = try await dht.listen(keyPair: keyPair(seed), options: options)
  print(server.publicKey)
  for await connection in server.connections {
    Task {
      do {
        for try await message in connection.inbound { try await connection.write(message) }
      } catch {
        print("\(connection.remotePublicKey): \(error)")
      }
      connection.end()
    }
  }
}

func call(_ key: String, seed: String, text: String, on dht: HyperDHT) async throws {
  var options = HyperDHT.ConnectOptions()
  options.keyPair = keyPair(seed)
  options.deadline = .seconds(10)
  let connection = try await dht.connect(to: KeyText.parse(key), options: options)
  try await connection.write(text)
  connection.end()
  for try await answer in connection.inbound { print(String(decoding: answer, as: UTF8.self)) }
}

let arguments = Array(CommandLine.arguments.dropFirst())
let bootstrap = ProcessInfo.processInfo.environment["HYPERSWARM_BOOTSTRAP"].map { [$0] }
do {
  switch (arguments.first, arguments.count) {
  case ("key", 2): print(keyPair(arguments[1]).publicKey)
  case ("serve", 2...):
    let dht = try await HyperDHT(HyperDHT.Options(bootstrap: bootstrap, port: 0))
    let allowed = try arguments.dropFirst(2).map { text in try KeyText.parse(text) }
    try await serve(arguments[1], allowed: Set(allowed), on: dht)
  case ("call", 4):
    let dht = try await HyperDHT(HyperDHT.Options(bootstrap: bootstrap, port: 0))
    try await call(arguments[1], seed: arguments[2], text: arguments[3], on: dht)
    await dht.destroy()
  default: fail("usage: EchoServer serve SEED [ALLOWED-KEY...] | call KEY SEED TEXT | key SEED")
  }
} catch {
  fail("\(error)")
}
