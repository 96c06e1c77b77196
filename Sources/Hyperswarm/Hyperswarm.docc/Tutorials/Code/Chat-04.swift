import Foundation
import Hyperswarm

actor Room {
  private var connections: [Bytes32: HyperDHT.Connection] = [:]

  func add(_ connection: HyperDHT.Connection) { connections[connection.remotePublicKey] = connection }

  func remove(_ connection: HyperDHT.Connection) {
    if connections[connection.remotePublicKey] === connection { connections[connection.remotePublicKey] = nil }
  }

  func say(_ line: String) {
    for connection in connections.values {
      // A peer that is 1 MiB behind does not follow the talk: it is let go instead of held in memory.
      let isBehind = (try? connection.writeWithoutWaiting(Array(line.utf8))) ?? false
      if isBehind { connection.destroy() }
    }
  }

  /// Ends every connection, so that the peers see an end and not a reset.
  func leave() async {
    for connection in connections.values { await connection.close() }
  }
}

let arguments = Array(CommandLine.arguments.dropFirst())
let network = arguments.count > 1 ? [arguments[1]] : nil
let swarm = try await Hyperswarm(Hyperswarm.Options(bootstrap: network))
print("I am", swarm.keyPair.publicKey)
try await swarm.join(Hyperswarm.topic(arguments.first ?? "lobby"))

let room = Room()
// Reading the terminal blocks its thread.
Thread.detachNewThread {
  let (lines, continuation) = AsyncStream.makeStream(of: String.self)
  Task {
    for await line in lines { await room.say(line) }
    await room.leave()
    await swarm.destroy()
  }
  while let line = readLine() { continuation.yield(line) }
  continuation.finish()
}

for await connection in swarm.connections {
  await room.add(connection)
  Task {
    let name = connection.remotePublicKey.description.prefix(6)
    print(name, "is here")
    do {
      for try await message in connection.inbound { print(name, String(decoding: message, as: UTF8.self)) }
      print(name, "has left")
    } catch {
      print(name, "is gone:", error)
    }
    connection.end()
    await room.remove(connection)
  }
}
