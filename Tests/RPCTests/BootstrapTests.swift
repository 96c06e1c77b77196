import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Items 71-75 of dht-rpc.md Part A: entering the network.
final class BootstrapTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)

  override func setUp() { network = VirtualNetwork(seed: 71, isLogging: true) }

  private func start(_ node: RPCNode, within milliseconds: UInt64 = 30_000) {
    node.start()
    XCTAssertTrue(network.run(within: milliseconds) { node.isBootstrapped })
  }

  func testBootstrapEntries() {
    XCTAssertEqual(BootstrapNode("1.2.3.4:80"), .endpoint(Endpoint(host: IPv4Address(1, 2, 3, 4), port: 80)))
    XCTAssertEqual(BootstrapNode("49737"), .endpoint(Endpoint(host: .loopback, port: 49737)))
    XCTAssertEqual(BootstrapNode("node.example:1"), .name("node.example", 1))
    XCTAssertEqual(
      BootstrapNode("1.2.3.4@node.example:1"), .suggested(IPv4Address(1, 2, 3, 4), "node.example", 1))
    for text in [
      "", ":", "x", "0", "1.2.3.4", "1.2.3.4:0", "1.2.3:5", "a@b:1", "1.2.3.4@:1", "a b:1", "x:70000", "@:1",
      "+49737", "1.2.3.4:+80", "0.0.0.0:80", "255.255.255.255:80", "224.0.0.1:80", "0.0.0.0@node.example:80",
    ] {
      XCTAssertNil(BootstrapNode(text), text)
    }
    for text in ["1.2.3.4:80", "node.example:1", "1.2.3.4@node.example:1"] {
      XCTAssertEqual(BootstrapNode(text)?.description, text)
    }
  }

  func testRPC_71_bootstrapperWithABootstrapList() throws {
    let first = try makeBootstrapper(network)
    let host = network.makeHost()
    var configuration = try RPCConfiguration.bootstrapper(port: 5000, publicHost: host.address.description)
    configuration.bootstrap = [.endpoint(try endpoint(of: first))]
    let second = RPCNode(environment: host, configuration: configuration)
    start(second)
    XCTAssertFalse(second.isEphemeral)
    XCTAssertEqual(second.recentNodes(), [try endpoint(of: first)])
    network.advance(by: 100)
    XCTAssertEqual(first.recentNodes(), [try endpoint(of: second)], "asked, it has answered")
    destroy([first, second], network)
  }

  func testRPC_72_suggestedAddressAndName() throws {
    let server = try makeBootstrapper(network)
    let address = try endpoint(of: server)
    network.names = ["boot.example": [address.host]]
    // The address answers: no look-up.
    var configuration = RPCConfiguration(bootstrap: [.suggested(address.host, "nowhere.example", address.port)])
    let direct = RPCNode(environment: network.makeHost(), configuration: configuration)
    start(direct)
    XCTAssertEqual(direct.recentNodes(), [address])
    // It does not: the name is looked up after 0.3 s.
    configuration.bootstrap = [.suggested(IPv4Address(9, 9, 9, 9), "boot.example", address.port)]
    let begun = network.now
    let fallback = RPCNode(environment: network.makeHost(), configuration: configuration)
    start(fallback)
    XCTAssertEqual(fallback.recentNodes(), [address])
    XCTAssertLessThan((network.now - begun) / 1000, 1000)
    destroy([server, direct, fallback], network)
  }

  func testRPC_73_unresolvableEntriesAreSkipped() throws {
    let server = try makeBootstrapper(network)
    let address = try endpoint(of: server)
    let configuration = RPCConfiguration(bootstrap: [
      .name("nowhere.example", 1), .suggested(IPv4Address(9, 9, 9, 9), "nowhere.example", 1), .endpoint(address),
    ])
    let node = RPCNode(environment: network.makeHost(), configuration: configuration)
    start(node)
    XCTAssertEqual(node.recentNodes(), [address])
    // No other node at all: ready, alone.
    let alone = RPCNode(
      environment: network.makeHost(),
      configuration: RPCConfiguration(bootstrap: [.name("nowhere.example", 1)]))
    start(alone)
    XCTAssertEqual(alone.nodeCount, 0)
    XCTAssertTrue(alone.isEphemeral)
    destroy([server, node, alone], network)
  }

  func testRPC_74_nodesOptionFillsTheTableInOrder() throws {
    let swarm = try makeSwarm(network, size: 5)
    let nodes = try swarm.map { try endpoint(of: $0) }
    let node = makeNode(network, bootstrap: []) { $0.nodes = nodes }
    XCTAssertEqual(node.recentNodes(), nodes)
    start(node)
    XCTAssertEqual(Set(node.recentNodes()), Set(nodes))
    XCTAssertEqual(node.host, (node.environment as? VirtualHost)?.address)
    destroy(swarm + [node], network)
  }

  func testRPC_75_quickCheckSendsOnePingNATToTheFirstReplier() throws {
    let swarm = try makeSwarm(network, size: 12)
    network.log = []
    let node = makeNode(network, bootstrap: [try endpoint(of: swarm[0])])
    start(node)
    network.advance(by: 1000)
    let host = try XCTUnwrap(node.environment as? VirtualHost).address
    let probes = network.log.filter { packet in
      packet.source.host == host && self.request(packet.bytes)?.command == 1
    }
    // Twelve nodes: the answer arrives before the look-up ends, so the full test of five follows.
    XCTAssertEqual(probes.first?.destination, try endpoint(of: swarm[0]))
    XCTAssertEqual(node.statistics.pingNAT.tx, 6)
    XCTAssertFalse(node.isFirewalled, "an open host is found out although the node stays ephemeral")
    XCTAssertTrue(node.isEphemeral)
    XCTAssertEqual(node.tableID, NodeAddress.id(of: try endpoint(of: node)))
    destroy(swarm + [node], network)
  }

  func testRPC_76_twoNodesFormASwarm() throws {
    let first = makeNode(network, bootstrap: []) {
      $0.ephemeral = false
      $0.firewalled = false
      $0.port = 4000
    }
    start(first)
    XCTAssertTrue(first.isEphemeral, "a plain first node knows no address")
    let host = try XCTUnwrap(first.environment as? VirtualHost).address
    let second = makeNode(network, bootstrap: [Endpoint(host: host, port: 4000)])
    start(second)
    var result: Result<Response, RPCError>?
    second.ping(Endpoint(host: host, port: 4000)) { result = $0 }
    network.advance(by: 50)
    XCTAssertNoThrow(try XCTUnwrap(result).get())
    destroy([first, second], network)
  }

  func testStartWhileSuspendedBootstrapsOnResume() throws {
    let server = try makeBootstrapper(network)
    let node = makeNode(network, bootstrap: [try endpoint(of: server)])
    node.start()
    node.suspend()
    network.advance(by: 1000)
    XCTAssertFalse(node.isBootstrapped)
    node.resume()
    XCTAssertTrue(network.run(within: 10_000) { node.isBootstrapped })
    XCTAssertEqual(node.nodeCount, 1)
    destroy([server, node], network)
  }
}
