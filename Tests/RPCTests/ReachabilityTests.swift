import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Outages: the node finds out, probes once a second, and knows at once when the network is back.
final class ReachabilityTests: RPCTestCase {
  /// Milliseconds from the return of the uplink to the first packet and to the news.
  private func outage(seed: UInt64, seconds: UInt64) throws -> (sent: UInt64, online: UInt64) {
    let network = VirtualNetwork(seed: seed)
    let swarm = try makeSwarm(network, size: 8)
    let host = network.makeHost()
    let node = makeNode(network, bootstrap: [try endpoint(of: swarm[0])], host: host)
    node.start()
    XCTAssertTrue(network.run(within: 30_000) { node.isBootstrapped })
    XCTAssertTrue(node.isOnline)
    network.advance(by: 60_000 + seed % 40_000)
    let count = node.nodeCount
    network.shouldDrop = { $0.source.host == host.address || $0.destination.host == host.address }
    // An announcer or an application that goes on asking.
    let asking = UInt64(seconds) / 2
    for _ in 0..<asking {
      node.findNode(target: Bytes32(repeating: UInt8(truncatingIfNeeded: seed))).start()
      network.advance(by: 2000)
    }
    if seconds >= 15 {
      XCTAssertFalse(node.isOnline, "seed \(seed)")
      XCTAssertTrue(node.isOffline)
    }
    XCTAssertGreaterThan(node.nodeCount + node.reachability.remembered.count, 0)
    XCTAssertGreaterThan(count, 0)
    var first: UInt64?
    let back = network.now
    network.shouldDrop = { [unowned network] packet in
      if packet.source.host == host.address, first == nil { first = network.now }
      return false
    }
    XCTAssertTrue(network.run(within: 60_000) { node.isOnline && first != nil }, "seed \(seed)")
    let online = network.now
    network.advance(by: 5000)
    XCTAssertGreaterThan(node.nodeCount, 3, "the table is filled again")
    XCTAssertFalse(node.reachability.isProbing)
    destroy(swarm + [node], network)
    return (((first ?? .max) - back) / 1000, (online - back) / 1000)
  }

  func testAfterAnOutageTheNodeSendsAndKnowsWithinASecond() throws {
    print("seeds 9000 + 977 * (0..<40), each with outages of 15, 40 and 120 s")
    for seconds in [15, 40, 120] as [UInt64] {
      for seed in 0..<40 as Range<UInt64> {
        let times = try outage(seed: 9000 + 977 * seed, seconds: seconds)
        XCTAssertLessThanOrEqual(times.sent, 1000, "\(seconds) s, seed \(seed)")
        XCTAssertLessThanOrEqual(times.online, times.sent + 300, "\(seconds) s, seed \(seed)")
      }
    }
  }

  /// Probes go to the nodes that answered before, not only to the bootstrap list.
  func testProbesGoOverRememberedNodesOnceASecond() throws {
    let network = VirtualNetwork(seed: 9100, isLogging: true)
    let swarm = try makeSwarm(network, size: 12)
    let host = network.makeHost()
    let node = makeNode(network, bootstrap: [try endpoint(of: swarm[0])], host: host)
    node.start()
    XCTAssertTrue(network.run(within: 30_000) { node.isBootstrapped })
    network.advance(by: 10_000)
    network.shouldDrop = { $0.source.host == host.address }
    node.findNode(target: Bytes32()).start()
    XCTAssertTrue(network.run(within: 20_000) { node.isOffline })
    network.advance(by: 20_000)
    network.log = []
    network.advance(by: 60_000)
    let probes = network.log.filter { $0.source.host == host.address && self.request($0.bytes)?.command == 0 }
    XCTAssertGreaterThanOrEqual(probes.count, 60)
    XCTAssertLessThanOrEqual(probes.count, 100)
    XCTAssertGreaterThan(Set(probes.map(\.destination)).count, 6)
    let gaps = zip(probes, probes.dropFirst()).map { ($1.sentAt - $0.sentAt) / 1000 }
    XCTAssertLessThanOrEqual(gaps.max() ?? .max, 1000)
    XCTAssertGreaterThan(Set(gaps).count, 10, "with jitter")
    destroy(swarm + [node], network)
  }

  func testANetworkThatDoesNotAnswerIsAStateAndAnEvent() throws {
    for seed in 0..<50 as Range<UInt64> {
      let network = VirtualNetwork(seed: 9200 + seed)
      let silent = network.makeHost()
      let node = makeNode(network, bootstrap: [Endpoint(host: silent.address, port: 49_737)])
      var events: [Bool] = []
      node.onNetworkUpdate = { [unowned node] in events.append(node.isOnline) }
      node.start()
      network.advance(by: 100)
      XCTAssertFalse(node.isOnline, "no answer yet")
      XCTAssertFalse(node.isOffline, "no verdict yet")
      XCTAssertTrue(network.run(within: 5000) { node.isOffline })
      XCTAssertEqual(events, [false])
      XCTAssertTrue(network.run(within: 60_000) { node.isBootstrapped })
      XCTAssertFalse(node.isOnline)
      // The bootstrap node comes up.
      let configuration = try RPCConfiguration.bootstrapper(port: 49_737, publicHost: silent.address.description)
      let server = RPCNode(environment: silent, configuration: configuration)
      server.start()
      XCTAssertTrue(network.run(within: 1500) { node.isOnline }, "seed \(seed)")
      network.advance(by: 1000)
      XCTAssertEqual(events, [false, true])
      XCTAssertEqual(node.recentNodes(), [try endpoint(of: server)])
      destroy([node, server], network)
    }
  }

  /// A dead node is no dead network, and a node of its own network asks no other.
  func testOneDeadNodeIsNoOutage() throws {
    let network = VirtualNetwork(seed: 9300)
    let swarm = try makeSwarm(network, size: 6)
    let node = makeNode(network, bootstrap: [try endpoint(of: swarm[0])])
    node.start()
    XCTAssertTrue(network.run(within: 30_000) { node.isBootstrapped })
    var events = 0
    node.onNetworkUpdate = { events += 1 }
    let dead = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    for _ in 0..<20 {
      node.ping(dead) { _ in }
      network.advance(by: 7000)
    }
    XCTAssertTrue(node.isOnline)
    XCTAssertEqual(events, 0)
    let alone = makeNode(network, bootstrap: [])
    alone.start()
    network.advance(by: 60_000)
    XCTAssertTrue(alone.isOnline)
    XCTAssertEqual(alone.statistics.requestsTotal, 0)
    destroy(swarm + [node, alone], network)
  }
}
