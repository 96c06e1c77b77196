// An application of 100 peers behind NATs, on a network that loses packets, in virtual time.
//
//   swift run hyperswarm-example-simulation [seed] [peers]
//
// The same seed gives the same run, packet by packet: the digest says so.
import HyperswarmTesting

let arguments = CommandLine.arguments.dropFirst()
let seed = arguments.first.flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max)
let peers = arguments.dropFirst().first.flatMap(Int.init) ?? 100
print("seed \(seed): \(peers) peers behind NATs, 3 % loss")

let outcome = try ChatRoom(seed: seed, peers: peers).run()
print(outcome.everyoneMet ? "every peer has met every other" : "NOT every peer has met every other")
print("virtual time \(outcome.virtualTime), \(outcome.connections) connections, \(outcome.messages) messages")
print("digest \(String(outcome.digest, radix: 16))")
print("again: swift run hyperswarm-example-simulation \(seed) \(peers)")
