// A list of things to do that peers share: a protocol with typed messages on the connections of a swarm.
//
//   swift run todo          two peers in this process, on a private network
//   swift run todo TOPIC    one peer of a topic: each line of standard input is an item, and one that is there already
//                           is done; on the public network, or that of HYPERSWARM_BOOTSTRAP=host:port
import Foundation
import Hyperswarm

@Sendable func join(_ list: TodoList, _ topic: String, bootstrap: [String]? = nil) async throws -> Hyperswarm {
  let swarm = try await Hyperswarm(Hyperswarm.Options(bootstrap: bootstrap))
  try await swarm.join(Hyperswarm.topic(topic))
  Task {
    for await connection in swarm.connections {
      Task {
        do { try await list.share(over: connection) } catch { print("\(list.name): a peer is gone: \(error)") }
      }
    }
  }
  return swarm
}

if let topic = CommandLine.arguments.dropFirst().first {
  let list = TodoList(name: "me")
  let bootstrap = ProcessInfo.processInfo.environment["HYPERSWARM_BOOTSTRAP"].map { [$0] }
  let swarm = try await join(list, topic, bootstrap: bootstrap)
  while let line = readLine() {
    if await list.items[line] == false {
      await list.finish(line)
    } else {
      await list.add(TodoList.Item(text: line, isDone: false))
    }
  }
  await swarm.destroy()
} else {
  let testnet = try await HyperDHT.Testnet(size: 4)
  let (alice, bob) = (TodoList(name: "alice"), TodoList(name: "bob"))
  await alice.add(TodoList.Item(text: "milk", isDone: false))
  await bob.add(TodoList.Item(text: "bread", isDone: true))
  let first = try await join(alice, "home", bootstrap: testnet.bootstrap)
  let second = try await join(bob, "home", bootstrap: testnet.bootstrap)
  while await alice.items.count < 2 { try await Task.sleep(for: .milliseconds(20)) }
  while await bob.items.count < 2 { try await Task.sleep(for: .milliseconds(20)) }
  await bob.finish("milk")
  while await alice.items["milk"] == false { try await Task.sleep(for: .milliseconds(20)) }
  print(await alice.items == bob.items ? "both have the same list" : "the lists differ")
  await first.destroy()
  await second.destroy()
  await testnet.destroy()
}
