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

  /// Without a descriptor the system cannot be asked: that is no change, and neither is the return.
  func testWithoutADescriptorNothingHasChanged() throws {
    let network = VirtualNetwork(seed: 9600)
    let swarm = try makeSwarm(network, size: 4)
    let host = network.makeHost()
    let node = makeNode(network, bootstrap: [try endpoint(of: swarm[0])], host: host)
    node.start()
    XCTAssertTrue(network.run(within: 30_000) { node.isBootstrapped })
    network.advance(by: 1000)
    var changes = 0
    node.onNetworkChange = { _ in changes += 1 }
    host.isOutOfDescriptors = true
    network.advance(by: 130_000)
    host.setInterfaces(host.interfaces())
    network.advance(by: 1000)
    host.isOutOfDescriptors = false
    host.setInterfaces(host.interfaces())
    network.advance(by: 130_000)
    XCTAssertEqual(changes, 0)
    host.move(to: IPv4Address(7, 9, 7, 7))
    network.advance(by: 0)
    XCTAssertEqual(changes, 1)
    destroy(swarm + [node], network)
  }

  /// A foreign change in the middle of a real one brings nothing on top, and another gateway is a real change.
  func testForeignChangesWithinARealOne() throws {
    for seed in 0..<50 as Range<UInt64> {
      let network = VirtualNetwork(seed: 9500 + seed)
      let swarm = try makeSwarm(network, size: 4)
      let host = network.makeHost()
      let node = makeNode(network, bootstrap: [try endpoint(of: swarm[0])], host: host)
      node.start()
      XCTAssertTrue(network.run(within: 30_000) { node.isBootstrapped })
      var changes = 0
      node.onNetworkChange = { _ in changes += 1 }
      let before = node.statistics.queriesTotal
      host.move(to: IPv4Address(7, 8, UInt8(seed), 7))
      for round in 0..<10 as Range<UInt8> {
        network.advance(by: 7)
        let container = InterfaceAddress(name: "veth", address: IPv4Address(172, 17, 0, round), isInternal: false)
        host.setInterfaces(host.interfaces().filter { $0.name != "veth" } + [container])
      }
      network.advance(by: 1000)
      XCTAssertEqual(changes, 1, "seed \(seed)")
      XCTAssertEqual(node.statistics.queriesTotal, before + 1, "seed \(seed)")
      // Without any report the change is found within a minute.
      host.setInterfacesSilently([InterfaceAddress(name: "wlan0", address: host.address, isInternal: false)])
      XCTAssertTrue(network.run(within: 65_000) { changes == 2 }, "seed \(seed)")
      destroy(swarm + [node], network)
    }
  }
}
