import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// dht-rpc.md C-13 and C-14: the public address changes while the node is awake.
final class AddressChangeTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)
  private var servers: [RPCNode] = []

  override func setUp() {
    network = VirtualNetwork(seed: 1313, isLogging: true)
    network.isLogging = false
  }

  override func tearDown() { destroy(servers, network) }

  private func makeNAT(_ last: UInt8, _ filter: VirtualNAT.Filter = .endpointIndependent) -> VirtualNAT {
    VirtualNAT(network: network, address: IPv4Address(5, 5, last, 5), mapping: .portPreserving, filter: filter)
  }

  /// A node behind an open NAT, persistent.
  private func makePersistent(
    behind nat: VirtualNAT, bootstrap: Endpoint, _ configure: (inout RPCConfiguration) -> Void
  ) -> (RPCNode, VirtualHost) {
    let host = network.makeHost(IPv4Address(192, 168, 0, 2), behind: nat)
    // A datagram must have left before those of other nodes get in: the port forward that an open port amounts to.
    nat.forwards[40_000] = Endpoint(host: host.address, port: 40_000)
    let node = makeNode(network, bootstrap: [bootstrap], host: host) {
      $0.port = 40_000
      configure(&$0)
    }
    node.start()
    XCTAssertTrue(network.run(within: 60_000) { node.isBootstrapped })
    if node.isEphemeral { network.run(within: 250 * 5000) { !node.isEphemeral } }
    XCTAssertFalse(node.isEphemeral, "\(node.host as Any) \(node.port) \(node.isFirewalled) \(node.stabilityTicks)")
    XCTAssertEqual(node.id, NodeAddress.id(of: Endpoint(host: nat.address, port: 40_000)))
    return (node, host)
  }

  /// The old address leads nowhere any more.
  private func move(_ host: VirtualHost, from old: VirtualNAT, to new: VirtualNAT) {
    old.forwards = [:]
    old.reset()
    host.nat = new
  }

  func testRPC_C13_movedNodeIsDemotedAndComesBackUnderItsNewAddress() throws {
    for isForced in [true, false] {
      network = VirtualNetwork(seed: isForced ? 1313 : 1314, isLogging: true)
      network.isLogging = false
      let servers = try makeSwarm(network, size: 24)
      let old = makeNAT(isForced ? 1 : 2)
      let (node, host) = makePersistent(behind: old, bootstrap: try endpoint(of: servers[0])) {
        if isForced { $0.ephemeral = false }
      }
      var events: [String] = []
      node.onEphemeral = { events.append("ephemeral") }
      node.onPersistent = { events.append("persistent") }
      node.onAddressChange = { events.append("\($0) \($1?.description ?? "-")") }
      network.advance(by: 3_600_000)
      XCTAssertEqual(events, [], "nothing happens as long as nothing changes")

      let new = makeNAT(isForced ? 3 : 4)
      new.forwards[40_000] = Endpoint(host: host.address, port: 40_000)
      move(host, from: old, to: new)
      let moved = network.now
      XCTAssertTrue(network.run(within: 600_000) { node.isEphemeral }, "noticed")
      let noticed = (network.now - moved) / 1_000_000
      XCTAssertEqual(events, ["ephemeral", "\(old.address):40000 \(new.address):40000"])
      XCTAssertTrue(node.isFirewalled, "to be shown again")
      XCTAssertNil(node.id)
      XCTAssertTrue(network.run(within: 600_000) { !node.isEphemeral }, "back")
      print(
        "\(isForced ? "forced" : "adaptive"): noticed after \(noticed) s,",
        "persistent again after \((network.now - moved) / 1_000_000) s"
      )
      XCTAssertEqual(node.id, NodeAddress.id(of: Endpoint(host: new.address, port: 40_000)))
      XCTAssertEqual(node.remoteAddress, Endpoint(host: new.address, port: 40_000))
      XCTAssertEqual(node.statistics.addressChanges, 1)
      XCTAssertGreaterThan(node.nodeCount, 5, "with its table")
      // The others know it under the new id.
      network.advance(by: 60_000)
      let id = try XCTUnwrap(node.id)
      XCTAssertTrue(servers.contains { $0.table.contains(id) })
      destroy([node] + servers, network)
    }
  }

  func testRPC_C14_movedBehindAClosedNATStaysFirewalled() throws {
    servers = try makeSwarm(network, size: 24)
    let old = makeNAT(5)
    let (node, host) = makePersistent(behind: old, bootstrap: try endpoint(of: servers[0])) {
      $0.ephemeral = false
    }
    let closed = makeNAT(6, .addressAndPortDependent)
    move(host, from: old, to: closed)
    XCTAssertTrue(network.run(within: 600_000) { node.isEphemeral })
    // The mappings of the server socket end with its silence.
    network.advance(by: 300_000)
    closed.reset()
    network.advance(by: 1_200_000)
    XCTAssertTrue(node.isEphemeral)
    XCTAssertTrue(node.isFirewalled)
    XCTAssertEqual(node.statistics.addressChanges, 1)
    XCTAssertEqual(node.host, IPv4Address(5, 5, 6, 5))
    XCTAssertTrue(node.socket === node.clientSocket)
    destroy([node], network)
  }

  /// Some nodes that lie, again and again, about where they see this one change nothing (dht-rpc.md B-9).
  func testRPC_C13_liarsDoNotDemote() throws {
    servers = try makeSwarm(network, size: 24)
    let (node, _) = makePersistent(behind: makeNAT(7), bootstrap: try endpoint(of: servers[0])) {
      $0.ephemeral = false
    }
    let own = Endpoint(host: IPv4Address(5, 5, 7, 5), port: 40_000)
    let liars = try (0..<6).map { _ in try RawPeer(network) }
    var lies: UInt16 = 0
    for _ in 0..<120 {
      for liar in liars {
        lies += 1
        let place = lies % 2 == 0 ? own : Endpoint(host: IPv4Address(6, 6, 6, 6), port: 6)
        liar.send(RequestDatagram(tid: lies, to: place, id: liar.id, isInternal: true), to: own)
      }
      network.advance(by: 60_000)
    }
    XCTAssertEqual(node.statistics.addressChanges, 0)
    XCTAssertFalse(node.isEphemeral)
    destroy([node], network)
  }

  /// A node that was told its address does not take the word of others.
  func testRPC_C13_bootstrappersKeepTheirAddress() throws {
    let server = try makeBootstrapper(network)
    let own = try endpoint(of: server)
    for index in 1...40 as ClosedRange<UInt16> {
      let peer = try RawPeer(network)
      let place = Endpoint(host: IPv4Address(6, 6, 6, 6), port: 6)
      peer.send(RequestDatagram(tid: index, to: place, id: peer.id, isInternal: true), to: own)
      network.advance(by: 10)
    }
    XCTAssertFalse(server.isEphemeral)
    XCTAssertEqual(server.id, NodeAddress.id(of: own))
    destroy([server], network)
  }

  /// A host that failed once is tested again after a change of the interfaces.
  func testRPC_C13_interfaceChangeForgetsAFailedHost() throws {
    servers = try makeSwarm(network, size: 6)
    let nat = makeNAT(8, .addressAndPortDependent)
    let host = network.makeHost(IPv4Address(192, 168, 0, 2), behind: nat)
    let node = makeNode(network, bootstrap: [try endpoint(of: servers[0])], host: host) { $0.quickFirewall = false }
    node.start()
    network.advance(by: 245 * 5000)
    XCTAssertEqual(node.statistics.pingNAT.tx, 5)
    let queries = node.statistics.queriesTotal
    host.setInterfaces([InterfaceAddress(name: "eth1", address: IPv4Address(192, 168, 0, 2), isInternal: false)])
    network.advance(by: 6000)
    XCTAssertGreaterThan(node.statistics.queriesTotal, queries, "asks around at once")
    network.advance(by: 245 * 5000)
    XCTAssertEqual(node.statistics.pingNAT.tx, 10)
    destroy([node], network)
  }
}
