import Hyperswarm

// All that run this with the same words meet, whatever networks they are in.
// A second argument, host:port, enters a private network instead of the public one.
let arguments = CommandLine.arguments.dropFirst()
let swarm = try await Hyperswarm(Hyperswarm.Options(bootstrap: arguments.dropFirst().first.map { [$0] }))
try await swarm.join(Hyperswarm.topic(arguments.first ?? "a quiet room"))
print("I am", swarm.keyPair.publicKey)

for await connection in swarm.connections {
  Task {
    do {
      try await connection.write("hello from \(swarm.keyPair.publicKey)")
      for try await message in connection.inbound {
        print(connection.remotePublicKey, "says", String(decoding: message, as: UTF8.self))
      }
    } catch {
      print(connection.remotePublicKey, "is gone:", error)
    }
  }
}
