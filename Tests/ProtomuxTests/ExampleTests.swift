import HyperDHT
import XCTest

@testable import hyperswarm_example_protomux

/// Examples/Protomux as it stands.
final class ExampleTests: XCTestCase {
  func testTwoPeersShareAList() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let nodes = [try await node(testnet), try await node(testnet)]
    let (alice, bob) = (TodoList(name: "alice"), TodoList(name: "bob"))
    await alice.add(TodoList.Item(text: "milk", isDone: false))
    await bob.add(TodoList.Item(text: "bread", isDone: true))
    let server = try await nodes[0].listen()
    let answering = Task {
      for await connection in server.connections { return try await alice.share(over: connection) }
    }
    let connection = try await nodes[1].connect(to: server.publicKey)
    let asking = Task { try await bob.share(over: connection) }
    while await alice.items.count < 2 { try await Task.sleep(for: .milliseconds(5)) }
    while await bob.items.count < 2 { try await Task.sleep(for: .milliseconds(5)) }
    await bob.finish("milk")
    while await alice.items["milk"] == false { try await Task.sleep(for: .milliseconds(5)) }
    let (hers, his) = (await alice.items, await bob.items)
    XCTAssertEqual(hers, his)
    XCTAssertEqual(his, ["milk": true, "bread": true])
    await connection.close()
    try await asking.value
    try await answering.value
    for node in nodes { await node.destroy() }
    await testnet.destroy()
  }

  private func node(_ testnet: HyperDHT.Testnet) async throws -> HyperDHT {
    try await HyperDHT(HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback))
  }
}
