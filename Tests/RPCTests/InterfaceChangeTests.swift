import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Changes of interfaces are judged: a foreign one costs nothing, a real one is never delayed.
final class InterfaceChangeTests: RPCTestCase {
  func testForeignInterfacesCostNothingAndRealChangesAreNotDelayed() throws {
    for seed in 0..<50 as Range<UInt64> {
      let network = VirtualNetwork(seed: 9400 + seed, isLogging: true)
      let swarm = try makeSwarm(network, size: 4)
      let host = network.makeHost()
      let node = makeNode(network, bootstrap: [try endpoint(of: swarm[0])], host: host)
      node.start()
      XCTAssertTrue(network.run(within: 30_000) { node.isBootstrapped })
      network.advance(by: 1000)
      var changes = 0
      var updates = 0
      node.onNetworkChange = { _ in changes += 1 }
      node.onNetworkUpdate = { updates += 1 }
      let list = host.interfaces()
      let queries = node.statistics.queriesTotal
      for round in 0..<20 as Range<UInt8> {
        let container = InterfaceAddress(name: "veth", address: IPv4Address(172, 17, 0, round), isInternal: false)
        host.setInterfaces(round % 2 == 0 ? list + [container] : list)
        network.advance(by: 1)
      }
      XCTAssertEqual(node.statistics.queriesTotal, queries)
      XCTAssertEqual([changes, updates], [0, 0])
      host.move(to: IPv4Address(7, 7, UInt8(seed), 7))
      network.advance(by: 0)
      XCTAssertEqual([changes, updates], [1, 1], "in the same turn")
      XCTAssertEqual(node.statistics.queriesTotal, queries + 1)
      destroy(swarm + [node], network)
    }
  }
}
