import HyperEncoding
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Nodes that meet on a network without public addresses.
final class PrivateNetworkTests: XCTestCase {
  /// A server has announced itself from the socket of nodes behind NATs, and has found out since that it is reachable.
  /// Its handshake names no address that the client would use: the client sends to where the answer comes from, and
  /// there the stream has to be.
  func testBothWaysLeadThroughTheSameSockets() throws {
    let net = Net(4, addresses: { IPv4Address(10, 0, UInt8($0), 1) })
    let host = net.network.makeHost(IPv4Address(10, 0, 100, 1))
    let node = net.makeNode(on: host)
    let (server, accepted) = net.listen(on: node)
    let client = net.makeNode(on: net.network.makeHost(IPv4Address(10, 0, 101, 1)), firewalled: false)
    XCTAssertNotNil(client.rpc.remoteAddress)
    let port = try XCTUnwrap(node.rpc.serverSocket?.localEndpoint?.port)
    node.rpc.isFirewalled = false
    node.rpc.sampler = NATSampler()
    node.rpc.assume(Endpoint(host: host.address, port: port))
    XCTAssertEqual(node.rpc.remoteAddress, Endpoint(host: host.address, port: port))

    var ways: Set<[Endpoint]> = []
    // What the stream sends at once would overtake the answer, and show where the stream is: it is lost.
    net.network.shouldDrop = { packet in
      guard packet.isStream else { return false }
      if ways.isEmpty, packet.source.host == host.address { return true }
      ways.insert([packet.source, packet.destination])
      return false
    }
    let peer = net.connect(client, to: server)
    net.assertEcho(peer)
    XCTAssertEqual(accepted.peers.count, 1)
    XCTAssertEqual(ways.count, 2)
    for way in ways { XCTAssertTrue(ways.contains(way.reversed()), "\(ways)") }
    net.destroy()
  }
}
