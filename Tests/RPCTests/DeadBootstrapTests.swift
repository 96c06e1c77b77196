import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Dead bootstrap entries and a dead resolver cost a start or a query at most ``Limits/bootstrapGrace`` each.
final class DeadBootstrapTests: RPCTestCase {
  private let dead = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)

  /// Milliseconds that a start and then a look-up take.
  private func times(
    _ network: VirtualNetwork, _ bootstrap: [BootstrapNode], isForced: Bool = false
  ) -> (start: UInt64, query: UInt64) {
    var configuration = RPCConfiguration(bootstrap: bootstrap)
    if isForced { configuration.ephemeral = false }
    let node = RPCNode(environment: network.makeHost(), configuration: configuration)
    let begun = network.now
    node.start()
    XCTAssertTrue(network.run(within: 60_000) { node.isBootstrapped })
    let ready = network.now
    XCTAssertGreaterThan(node.nodeCount, 0)
    let query = node.findNode(target: Bytes32(repeating: 7))
    var isFinished = false
    query.onFinished = { _ in isFinished = true }
    query.start()
    XCTAssertTrue(network.run(within: 60_000) { isFinished })
    let end = network.now
    destroy([node], network)
    return ((ready - begun) / 1000, (end - ready) / 1000)
  }

  func testDeadEntriesCostAStartAndAQueryLittle() throws {
    for seed in 0..<40 as Range<UInt64> {
      let isForced = seed % 2 == 0
      let alive = Endpoint(host: IPv4Address(1, 0, 1, 1), port: 49_737)
      /// On a network of its own: persistent nodes that have gone stay in the tables of others.
      func times(_ list: [BootstrapNode]) throws -> (start: UInt64, query: UInt64) {
        let network = VirtualNetwork(seed: 8000 + seed)
        let swarm = try makeSwarm(network, size: 1 + Int(seed % 8))
        XCTAssertEqual(try endpoint(of: swarm[0]), alive)
        network.names = ["boot.example": [dead.host, alive.host]]
        defer { destroy(swarm, network) }
        return self.times(network, list, isForced: isForced)
      }
      let best = try times([.endpoint(alive)])
      let lists: [[BootstrapNode]] = [
        [.endpoint(dead), .endpoint(alive)],
        [.endpoint(alive), .endpoint(dead), .suggested(dead.host, "nowhere.example", dead.port)],
        [.suggested(dead.host, "boot.example", alive.port)],
        [.name("boot.example", alive.port), .endpoint(dead)],
      ]
      for list in lists {
        let real = try times(list)
        // The head start of a suggested address and the wait for the dead ones are 0.3 s each.
        let allowed = list.count == 1 ? 2 * Limits.bootstrapGrace : Limits.bootstrapGrace
        XCTAssertLessThanOrEqual(real.start, best.start + allowed + 60, "\(list) seed \(seed)")
        XCTAssertLessThanOrEqual(real.query, best.query + Limits.bootstrapGrace + 60, "\(list) seed \(seed)")
      }
    }
  }

  func testADeadResolverCostsAStartAndAQueryLittle() throws {
    for seed in 0..<100 as Range<UInt64> {
      let network = VirtualNetwork(seed: 8100 + seed)
      let swarm = try makeSwarm(network, size: 1 + Int(seed % 8))
      let alive = try endpoint(of: swarm[0])
      network.resolveDelay = 30_000_000
      let best = times(network, [.endpoint(alive)])
      let real = times(network, [.name("slow.example", 1), .endpoint(alive), .suggested(dead.host, "x.example", 2)])
      XCTAssertLessThanOrEqual(real.start, best.start + Limits.bootstrapGrace + 60, "seed \(seed)")
      XCTAssertLessThanOrEqual(real.query, best.query + Limits.bootstrapGrace + 60, "seed \(seed)")
      destroy(swarm, network)
    }
  }

  /// Every address of a name is tried, and what a name led to is remembered while the resolver is away.
  func testAllAddressesOfANameAndItsMemory() throws {
    let network = VirtualNetwork(seed: 8200)
    let server = try makeBootstrapper(network)
    let alive = try endpoint(of: server)
    network.names = ["boot.example": [IPv4Address(9, 9, 9, 1), IPv4Address(9, 9, 9, 2), alive.host]]
    let node = RPCNode(
      environment: network.makeHost(), configuration: RPCConfiguration(bootstrap: [.name("boot.example", alive.port)]))
    node.start()
    XCTAssertTrue(network.run(within: 1000) { node.isBootstrapped })
    XCTAssertEqual(node.recentNodes(), [alive])
    network.names = [:]
    XCTAssertEqual(node.knownBootstrap, [alive], "the silent ones are not asked again soon")
    destroy([server, node], network)
  }

  func testLookUpsOfOneNameAreOne() {
    let network = VirtualNetwork(seed: 8300)
    network.resolveDelay = 10_000_000
    network.names = ["a.example": [dead.host]]
    let node = RPCNode(environment: network.makeHost(), configuration: RPCConfiguration())
    var answers: [[IPv4Address]] = []
    for _ in 0..<100 { node.lookUp("a.example") { answers.append($0) } }
    XCTAssertEqual(network.pendingEventCount, 1)
    network.advance(by: 11_000)
    XCTAssertEqual(answers, Array(repeating: [dead.host], count: 100))
  }
}
