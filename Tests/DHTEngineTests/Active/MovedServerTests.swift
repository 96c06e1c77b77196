import HyperCrypto
import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// A server whose public address changes announces itself again.
final class MovedServerTests: XCTestCase {
  func testDHT_C13_movedServerIsFoundAgain() throws {
    let net = Net(20, seed: 13)
    let old = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 1, 5), mapping: .portPreserving, filter: .addressAndPortDependent
    )
    let host = net.network.makeHost(IPv4Address(192, 168, 0, 2), behind: old)
    let inside = Endpoint(host: host.address, port: 40_000)
    old.forwards[inside.port] = inside
    let node = net.makeNode(on: host) {
      $0.ephemeral = false
      $0.port = inside.port
    }
    XCTAssertFalse(node.rpc.isEphemeral)
    let (server, _) = net.listen(on: node)
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.network.advance(by: 600_000)
    var changes: [(old: Endpoint, new: Endpoint?)] = []
    var networkChanges = 0
    node.onAddressChange.add { changes.append($0) }
    node.onNetworkChange.add { networkChanges += 1 }

    let new = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 2, 5), mapping: .portPreserving, filter: .addressAndPortDependent
    )
    new.forwards[inside.port] = inside
    old.forwards = [:]
    old.reset()
    host.nat = new
    net.wait(600_000, "the change is noticed") { !changes.isEmpty }
    XCTAssertEqual(changes.first?.old, Endpoint(host: old.address, port: inside.port))
    XCTAssertEqual(changes.first?.new, Endpoint(host: new.address, port: inside.port))
    XCTAssertEqual(networkChanges, 1)
    net.network.advance(by: 20_000)
    XCTAssertFalse(server.relayAddresses.isEmpty)
    XCTAssertFalse(server.relayAddresses.contains { $0.host == old.address }, "\(server.relayAddresses)")
    let client = net.makeNode()
    net.assertEcho(net.connect(client, to: server))
    // Persistent again, it is found under its new address, too.
    net.wait(600_000, "persistent again") { !node.rpc.isEphemeral }
    net.network.advance(by: 600_000)
    net.assertEcho(net.connect(net.makeNode(), to: server))
    XCTAssertEqual(changes.count, 1)
    net.destroy()
  }
}
