// A chat without a server: all that run it with the same word are in the same room.
//
//   swift run Chat WORD
import Foundation
import Hyperswarm

/// The open connections. A peer that does not keep up is let go instead of held in memory.
actor Room {
  private var connections: [Bytes32: HyperDHT.Connection] = [:]

  func add(_ connection: HyperDHT.Connection) { connections[connection.remotePublicKey] = connection }

  func remove(_ connection: HyperDHT.Connection) {
    guard connections[connection.remotePublicKey] === connection else { return }
    connections[connection.remotePublicKey] = nil
  }

  func say(_ line: String) {
    for connection in connections.values {
      let isBehind = (try? connection.writeWithoutWaiting(Array(line.utf8))) ?? false
      if isBehind { connection.destroy() }
    }
  }

  /// Ends every connection, so that the peers see an end and not a reset.
  func leave() async {
    for connection in connections.values { await connection.close() }
  }
}

let bootstrap = ProcessInfo.processInfo.environment["HYPERSWARM_BOOTSTRAP"].map { [$0] }
let swarm = try await Hyperswarm(Hyperswarm.Options(bootstrap: bootstrap))
try await swarm.join(Hyperswarm.topic(CommandLine.arguments.dropFirst().first ?? "lobby"))
print("I am \(swarm.keyPair.publicKey). Type to talk, end with Ctrl-D.")

let room = Room()
// Reading the terminal blocks its thread.
Thread.detachNewThread {
  let (lines, continuation) = AsyncStream.makeStream(of: String.self)
  Task {
    for await line in lines { await room.say(line) }
    await room.leave()
    // Withdraws the announcement and ends the loop below.
    await swarm.destroy()
  }
  while let line = readLine() { continuation.yield(line) }
  continuation.finish()
}

for await connection in swarm.connections {
  await room.add(connection)
  Task {
    let name = connection.remotePublicKey.description.prefix(6)
    print("* \(name) is here")
    do {
      for try await message in connection.inbound { print("\(name): \(String(decoding: message, as: UTF8.self))") }
      print("* \(name) has left")
    } catch {
      print("* \(name) is gone: \(error)")
    }
    connection.end()
    await room.remove(connection)
  }
}
