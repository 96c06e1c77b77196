import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// One key, served by several nodes of a host: hyperdht.md 5.3, the second relay.
final class SharedServerTests: XCTestCase {
  private final class World {
    let net = Net()
    let keyPair = KeyPair(seed: Bytes32(repeating: 5))
    let host: VirtualHost
    let front: (server: DHTServer, accepted: Accepted)
    private(set) var members: [(server: DHTServer, accepted: Accepted)] = []

    init(members count: Int) {
      host = net.network.makeHost()
      front = net.listen(on: net.makeNode(on: host, firewalled: false), keyPair: keyPair)
      var options = ServerOptions()
      options.isAnnounced = false
      for _ in 0..<count {
        members.append(
          net.listen(on: net.makeNode(on: host, firewalled: false), keyPair: keyPair, options: options))
      }
      let front = front.server
      front.share(with: members.map { ObjectIdentifier($0.server) })
      for (member, _) in members {
        let id = ObjectIdentifier(member)
        member.follow(host: host.address) { [weak front] in front?.setMember(id, $0) }
      }
    }

    var everybody: [(server: DHTServer, accepted: Accepted)] { [front] + members }
    var shares: [Int] { everybody.map(\.accepted.peers.count) }

    func connect(_ count: Int) -> [Peer] {
      (0..<count).map { _ in
        let peer = net.connect(net.makeNode(), to: front.server)
        net.assertEcho(peer)
        return peer
      }
    }
  }

  func testClientsAreSpreadOverNodesOfOneKey() {
    let world = World(members: 2)
    let peers = world.connect(24)
    XCTAssertEqual(world.shares.reduce(0, +), 24)
    for share in world.shares { XCTAssertGreaterThan(share, 1, "\(world.shares)") }
    // A connection lives on the node that accepted it, and uses its port.
    let ports = world.everybody.map { $0.server.node.rpc.serverSocket?.localEndpoint?.port }
    for (place, side) in world.everybody.enumerated() {
      XCTAssertEqual(Int(side.server.node.statistics.handshakes.received), world.shares[place])
    }
    let dialled = Dictionary(grouping: peers) { $0.stream.transport?.remote?.port }.mapValues(\.count)
    for (port, share) in zip(ports, world.shares) { XCTAssertEqual(port.flatMap { dialled[$0] }, share) }
    XCTAssertTrue(world.members[0].server.relayAddresses.isEmpty, "announces nothing")
    world.net.destroy()
  }

  /// A reachable front does not name itself among its relays: clients would come back to it alone.
  func testClientsThatComeAgainAreSpreadToo() {
    let world = World(members: 2)
    XCTAssertNotNil(world.front.server.node.rpc.remoteAddress)
    let client = world.net.makeNode()
    for _ in 0..<24 {
      let peer = world.net.connect(client, to: world.front.server)
      world.net.assertEcho(peer)
      peer.stream.destroy()
    }
    XCTAssertEqual(world.shares.reduce(0, +), 24)
    for share in world.shares { XCTAssertGreaterThan(share, 1, "\(world.shares)") }
    XCTAssertLessThan(world.shares[0], 16, "\(world.shares)")
    world.net.destroy()
  }

  func testAMemberThatLeavesGetsNothingAndOneThatIsBackDoes() {
    let world = World(members: 1)
    let member = world.members[0]
    member.server.suspend()
    _ = world.connect(6)
    XCTAssertEqual(world.shares, [6, 0])
    member.server.resume()
    _ = world.connect(12)
    XCTAssertGreaterThan(world.shares[1], 0)
    let before = world.shares[1]
    world.net.settle { done in member.server.close { done(()) } }
    _ = world.connect(6)
    XCTAssertEqual(world.shares[1], before)
    world.net.destroy()
  }

  /// What clients and strangers send to the announced node itself stays there.
  func testOnlyWhatOwnRelaysBringIsHandedOver() {
    let world = World(members: 3)
    let router = world.front.server
    let message = [UInt8](repeating: 0, count: 96)
    let relays = router.relayAddresses.filter { $0.host != world.host.address }
    XCTAssertFalse(relays.isEmpty)
    for relay in relays { XCTAssertNotNil(router.taker(of: message, from: relay)) }
    let stranger = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    XCTAssertNil(router.taker(of: message, from: stranger))
    // Copies go where the first went, over any relay.
    XCTAssertEqual(Set(relays.map { router.taker(of: message, from: $0) }).count, 1)
    world.net.destroy()
  }

  func testSharesAreEvenAndReplacedAtOnce() {
    var share = ServerShare()
    final class Name {}
    let names = (0..<3).map { _ in Name() }
    let ids = names.map { ObjectIdentifier($0) }
    let places = (0..<3).map { Endpoint(host: .loopback, port: UInt16(1000 + $0)) }
    share.expect(ids)
    XCTAssertNil(share.taker(of: [1, 2, 3, 4, 5, 6, 7, 8]), "nobody is there yet")
    for (id, place) in zip(ids, places) { share.set(id, place) }
    var counts: [Endpoint?: Int] = [:]
    for number in 0..<4000 {
      let message = [0, 0, 0, 0, 0, 0, UInt8(number >> 8), UInt8(number & 255)] as [UInt8]
      counts[share.taker(of: message), default: 0] += 1
    }
    XCTAssertEqual(counts.values.sorted(), [1000, 1000, 1000, 1000])
    share.expect([ids[1]])
    share.set(ids[0], places[0])
    XCTAssertNil(share.taker(of: [0, 0, 0, 0, 0, 0, 0, 0]), "a former member does not come back by itself")
    share.set(ids[1], places[1])
    XCTAssertEqual(share.taker(of: [0, 0, 0, 0, 0, 0, 0, 0]), places[1])
    share.expect([])
    XCTAssertNil(share.taker(of: [0, 0, 0, 0, 0, 0, 0, 0]))
    XCTAssertTrue(share.isUsed)
  }
}
