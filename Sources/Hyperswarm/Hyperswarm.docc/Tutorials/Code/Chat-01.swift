import Hyperswarm

let arguments = Array(CommandLine.arguments.dropFirst())
let network = arguments.count > 1 ? [arguments[1]] : nil
let swarm = try await Hyperswarm(Hyperswarm.Options(bootstrap: network))
print("I am", swarm.keyPair.publicKey)
