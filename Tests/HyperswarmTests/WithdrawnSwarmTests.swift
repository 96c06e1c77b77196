import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperswarmEngine
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Many swarms are destroyed in one turn: how long that takes, how much is sent for it, and what is left of them.
final class WithdrawnSwarmTests: XCTestCase {
  private final class World {
    let network: VirtualNetwork
    let testnet: VirtualTestnet
    var swarms: [SwarmEngine] = []
    var nodes: [DHTNode] = []

    init(seed: UInt64, size: Int = 20) throws {
      network = VirtualNetwork(seed: seed)
      testnet = try VirtualTestnet(network: network, size: size)
      network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(5))
    }

    /// Each on a topic of its own, announced, and older than any token.
    func addSwarms(_ count: Int, nodes nodeCount: Int) throws {
      nodes = (0..<nodeCount).map { _ in
        DHTNode(
          environment: network.makeHost(),
          options: DHTOptions(bootstrap: testnet.testnet.bootstrap, host: .any, port: 0)
        )
      }
      var joined = 0
      for number in 0..<count {
        let node = nodes[number % nodeCount]
        var options = SwarmOptions()
        options.ownsDHT = nodeCount == count
        let swarm = SwarmEngine(environment: node.environment, dht: node, options: options)
        swarms.append(swarm)
        let topic = VirtualSwarm.topic("topic \(number)")
        try swarm.join(topic: topic, options: JoinOptions(server: true, client: false)).flushed { _ in joined += 1 }
        // A few at a time, as programs do.
        if number - joined >= 8 { network.run(within: .seconds(30)) { number - joined < 8 } }
      }
      XCTAssertTrue(network.run(within: .seconds(60)) { joined == count })
      network.advance(by: .seconds(20))
    }

    /// What the nodes of the network hold: records of topics and addresses of servers.
    var records: Int {
      testnet.testnet.nodes.reduce(0) { $0 + ($1.storage?.records.count ?? 0) + $1.router.count }
    }

    var requests: UInt64 { nodes.reduce(0) { $0 + $1.rpc.statistics.requestsTotal } }

    /// Virtual time until all are destroyed.
    func destroyAll(force: Bool = false) -> Duration {
      var destroyed = 0
      let start = network.elapsed
      for swarm in swarms { swarm.destroy(force: force) { destroyed += 1 } }
      XCTAssertTrue(network.run(within: .seconds(30)) { destroyed == swarms.count })
      return network.elapsed - start
    }

    func end() {
      for node in nodes { node.destroy(force: true) }
      testnet.destroy()
      network.runUntilIdle()
    }
  }

  private let size = 20

  /// One request for each record, and a token of each node every few seconds.
  func testSwarmsOnOneNode() throws {
    let world = try World(seed: 1)
    let count = 500
    try world.addSwarms(count, nodes: 1)
    let perSwarm = size + HyperDHTEngine.Limits.Announce.relays
    XCTAssertEqual(world.records, count * perSwarm)
    let before = world.requests
    let time = world.destroyAll()
    XCTAssertLessThanOrEqual(time, .milliseconds(1010))
    // The node lives, and goes on with what the request window has held back.
    XCTAssertTrue(world.network.run(within: .seconds(30)) { world.nodes[0].pendingWithdrawals == 0 })
    XCTAssertEqual(world.records, 0)
    let seconds = Double((world.network.elapsed - time).components.seconds)
    let requests = Int(world.requests - before)
    XCTAssertLessThan(requests, count * perSwarm + 200, "\(seconds)")
    world.end()
  }

  func testSwarmsWithNodesOfTheirOwn() throws {
    let world = try World(seed: 2)
    let count = 40
    try world.addSwarms(count, nodes: count)
    let perSwarm = size + HyperDHTEngine.Limits.Announce.relays
    XCTAssertEqual(world.records, count * perSwarm)
    let before = world.requests
    let time = world.destroyAll()
    XCTAssertLessThanOrEqual(time, .milliseconds(150), "two round trips")
    XCTAssertEqual(world.records, 0)
    XCTAssertLessThanOrEqual(world.requests - before, UInt64(count * (size + perSwarm + 5)))
    world.end()
  }

  /// Half of the nodes that hold the announcements are gone: a second, and the others have withdrawn them.
  func testSilentNodesDoNotHoldADestroyUp() throws {
    let world = try World(seed: 3)
    try world.addSwarms(4, nodes: 4)
    for host in world.testnet.hosts.dropFirst(size / 2) { host.isDown = true }
    XCTAssertLessThanOrEqual(world.destroyAll(), .milliseconds(1010))
    for node in world.testnet.testnet.nodes.prefix(size / 2) {
      XCTAssertEqual((node.storage?.records.count ?? 0) + node.router.count, 0)
    }
    world.end()
  }

  /// The swarm's server is told to close before the node that it is on, and not by force.
  func testForceWaitsForNoNode() throws {
    let world = try World(seed: 5)
    try world.addSwarms(4, nodes: 4)
    for host in world.testnet.hosts { host.isDown = true }
    XCTAssertLessThanOrEqual(world.destroyAll(force: true), .milliseconds(10))
    world.end()
  }

  /// A node and a swarm that it does not belong to are destroyed in one turn: they share the second.
  func testASwarmAndItsNodeShareTheTime() throws {
    let world = try World(seed: 6)
    try world.addSwarms(2, nodes: 1)
    for host in world.testnet.hosts { host.isDown = true }
    let start = world.network.elapsed
    var isNodeDestroyed = false
    var destroyed = 0
    for swarm in world.swarms { swarm.destroy { destroyed += 1 } }
    world.nodes[0].destroy { isNodeDestroyed = true }
    XCTAssertTrue(world.network.run(within: .seconds(30)) { isNodeDestroyed && destroyed == 2 })
    XCTAssertLessThanOrEqual(world.network.elapsed - start, .milliseconds(1010))
    world.end()
  }

  /// The topics and the server are withdrawn, then the node is suspended: no second second for what stays unanswered.
  func testSuspendWaitsOnce() throws {
    let world = try World(seed: 7)
    try world.addSwarms(4, nodes: 4)
    for host in world.testnet.hosts { host.isDown = true }
    let start = world.network.elapsed
    var suspended = 0
    for swarm in world.swarms { swarm.suspend { suspended += 1 } }
    XCTAssertTrue(world.network.run(within: .seconds(30)) { suspended == 4 })
    XCTAssertLessThanOrEqual(world.network.elapsed - start, .milliseconds(1010))
    _ = world.destroyAll()
    world.end()
  }

  /// A packet in five is lost each way: nearly all records go within the second.
  func testLossLeavesFewRecords() throws {
    let world = try World(seed: 4)
    try world.addSwarms(20, nodes: 20)
    let before = world.records
    world.network.conditions.loss = 0.2
    XCTAssertLessThanOrEqual(world.destroyAll(), .milliseconds(1010))
    XCTAssertLessThan(world.records, before / 10)
    world.end()
  }
}
