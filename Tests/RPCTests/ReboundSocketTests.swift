import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// The system takes the ports of a node's sockets away: with other ports it is at another address.
final class ReboundSocketTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1)

  /// The id is that of the address: of the old one no node can verify it any more.
  func testAPersistentNodeBeginsAnew() throws {
    network = VirtualNetwork(seed: 77)
    let servers = try makeSwarm(network, size: 24)
    let node = servers[23]
    let host = try XCTUnwrap(node.environment as? VirtualHost)
    let old = try endpoint(of: node)
    XCTAssertEqual(node.id, NodeAddress.id(of: old))
    var events: [String] = []
    node.onEphemeral = { events.append("ephemeral") }
    node.onPersistent = { events.append("persistent") }
    node.onAddressChange = { events.append("\($0) \($1?.description ?? "-")") }
    network.advance(by: 60_000)
    host.takePorts()
    network.advance(by: 10)
    let new = try endpoint(of: node)
    XCTAssertNotEqual(new.port, old.port)
    XCTAssertNil(node.id)
    XCTAssertEqual(events, ["ephemeral", "\(old) -"])
    XCTAssertNil(node.remoteAddress)
    XCTAssertTrue(network.run(within: 60_000) { node.port != 0 }, "it has asked around")
    XCTAssertNotEqual(node.port, old.port)
    XCTAssertTrue(network.run(within: 600_000) { !node.isEphemeral }, "persistent under its new address")
    XCTAssertEqual(node.id, NodeAddress.id(of: new))
    network.advance(by: 60_000)
    let id = try XCTUnwrap(node.id)
    XCTAssertTrue(servers.contains { $0.table.contains(id) })
    destroy(servers, network)
  }

  /// Nodes see the new mapping of the new port; what they have said of the old one does not count.
  func testTheAddressIsLearntAgain() throws {
    network = VirtualNetwork(seed: 78)
    let servers = try makeSwarm(network, size: 16)
    let nat = VirtualNAT(
      network: network, address: IPv4Address(5, 5, 5, 5), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    let host = network.makeHost(IPv4Address(192, 168, 0, 2), behind: nat)
    let node = makeNode(network, bootstrap: [try endpoint(of: servers[0])], host: host) { $0.ephemeral = true }
    node.start()
    XCTAssertTrue(network.run(within: 60_000) { node.isBootstrapped && node.port != 0 })
    network.advance(by: 120_000)
    let old = node.port
    var changes = 0
    node.onNetworkChange = { _ in changes += 1 }
    host.takePorts()
    network.advance(by: 10)
    XCTAssertGreaterThanOrEqual(changes, 1)
    XCTAssertNotEqual(node.port, old)
    XCTAssertTrue(network.run(within: 5_000) { node.host == nat.address && node.port != 0 })
    XCTAssertNotEqual(node.port, old)
    destroy([node] + servers, network)
  }

  /// A node that was told its address goes on from its host.
  func testABootstrapperKeepsItsHost() throws {
    network = VirtualNetwork(seed: 79)
    let node = try makeBootstrapper(network)
    let host = try XCTUnwrap(node.environment as? VirtualHost)
    host.takePorts()
    network.advance(by: 10)
    let new = try endpoint(of: node)
    XCTAssertNotEqual(new.port, 49_737)
    XCTAssertTrue(network.run(within: 600_000) { !node.isEphemeral })
    XCTAssertEqual(node.id, NodeAddress.id(of: new))
    destroy([node], network)
  }
}
