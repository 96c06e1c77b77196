import Hyperswarm

let arguments = Array(CommandLine.arguments.dropFirst())
let network = arguments.count > 1 ? [arguments[1]] : nil
let swarm = try await Hyperswarm(Hyperswarm.Options(bootstrap: network))
print("I am", swarm.keyPair.publicKey)

try await swarm.join(Hyperswarm.topic(arguments.first ?? "lobby"))

for await connection in swarm.connections {
  Task {
    let name = connection.remotePublicKey.description.prefix(6)
    print(name, "is here")
    do {
      for try await message in connection.inbound { print(name, String(decoding: message, as: UTF8.self)) }
      print(name, "has left")
    } catch {
      print(name, "is gone:", error)
    }
  }
}
