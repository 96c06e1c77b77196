import Hyperswarm

let arguments = Array(CommandLine.arguments.dropFirst())
let swarm = try await Hyperswarm(Hyperswarm.Options(bootstrap: arguments.count > 1 ? [arguments[1]] : nil))
print("I am", swarm.keyPair.publicKey)

try await swarm.join(Hyperswarm.topic(arguments.first ?? "lobby"))
