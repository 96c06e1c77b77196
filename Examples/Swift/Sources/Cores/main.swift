// One public key, served by as many event loops as the machine has cores, or as you say.
//
//   swift run Cores serve SEED [LOOPS]   prints its key, and for each client which loop serves it
//   swift run Cores call KEY COUNT       dials so often, and prints which loop answered how often
import Foundation
import Hyperswarm

func fail(_ text: String) -> Never {
  FileHandle.standardError.write(Data((text + "\n").utf8))
  exit(1)
}

let bootstrap = ProcessInfo.processInfo.environment["HYPERSWARM_BOOTSTRAP"].map { [$0] }

/// A node without a `loop` in its options has a thread of its own.
func makeNode() async throws -> HyperDHT { try await HyperDHT(HyperDHT.Options(bootstrap: bootstrap, port: 0)) }

/// The work of one loop: its connections and their messages share nothing with the others.
func serve(_ server: HyperDHT.Server, place: Int) async throws {
  while let connection = try await server.accept() {
    print("loop \(place)")
    Task(executorPreference: connection.loop) {
      while let message = try await connection.read() { try await connection.write(Array("\(place): ".utf8) + message) }
      connection.end()
    }
  }
}

func serve(seed: String, loops: Int) async throws {
  let keyPair = HyperDHT.keyPair(seed: HyperDHT.hash(Array(seed.utf8)))
  let front = try await makeNode()
  let server = try await front.listen(keyPair: keyPair)
  var quiet = HyperDHT.ServerOptions()
  quiet.isAnnounced = false
  var nodes = [front]
  var members: [HyperDHT.Server] = []
  while nodes.count < loops {
    let node = try await makeNode()
    nodes.append(node)
    members.append(try await node.listen(keyPair: keyPair, options: quiet))
  }
  try await server.share(with: members)
  print(server.publicKey)
  try await withThrowingTaskGroup(of: Void.self) { group in
    for (place, server) in ([server] + members).enumerated() { group.addTask { try await serve(server, place: place) } }
    try await group.waitForAll()
  }
}

func call(_ text: String, count: Int) async throws {
  let dht = try await makeNode()
  let key = try KeyText.parse(text)
  var answers: [String: Int] = [:]
  for _ in 0..<count {
    let connection = try await dht.connect(to: key)
    try await connection.write("hello")
    if let answer = try await connection.read() { answers[String(decoding: answer, as: UTF8.self), default: 0] += 1 }
    connection.destroy()
  }
  for (answer, count) in answers.sorted(by: { $0.key < $1.key }) { print("\(count) times \(answer)") }
  await dht.destroy()
}

let arguments = Array(CommandLine.arguments.dropFirst())
do {
  switch (arguments.first, arguments.count) {
  case ("serve", 2...):
    let loops = arguments.count > 2 ? Int(arguments[2]) : ProcessInfo.processInfo.activeProcessorCount
    try await serve(seed: arguments[1], loops: max(1, loops ?? 1))
  case ("call", 3): try await call(arguments[1], count: Int(arguments[2]) ?? 1)
  default: fail("usage: Cores serve SEED [LOOPS] | call KEY COUNT")
  }
} catch {
  fail("\(error)")
}
