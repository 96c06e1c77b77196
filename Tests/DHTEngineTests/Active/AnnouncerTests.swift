import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// hyperdht.md 11 of hyperdht.md: staying announced.
final class AnnouncerTests: XCTestCase {
  private func commands(_ net: Net, _ command: Command) -> [VirtualNetwork.Packet] {
    net.network.log.filter {
      guard let request = Datagrams.request($0.bytes) else { return false }
      return !request.isInternal && request.command == command.rawValue
    }
  }

  func testRelaysAreAnnouncedTwoCyclesLater() {
    let net = Net(12)
    _ = net.listen(on: net.makeNode())
    net.network.isLogging = true
    net.network.log = []
    // 100 rounds of at least three seconds.
    net.network.advance(by: 299_000)
    XCTAssertEqual(commands(net, .announce).count, 0)
    net.network.advance(by: 20_000)
    XCTAssertEqual(commands(net, .announce).count, 3)
    net.destroy()
  }

  func testLostRelayIsReplaced() {
    let net = Net(12)
    let (server, _) = net.listen(on: net.makeNode())
    let lost = server.relayAddresses[0]
    let index = net.hosts.firstIndex { $0.address == lost.host }!
    net.hosts[index].isDown = true
    net.wait(60_000) { !server.relayAddresses.contains(lost) && server.relayAddresses.count == 3 }
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  func testDHT_C5_changedMappingIsAnnouncedAgain() {
    let net = Net(8)
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 1), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    let host = net.network.makeHost(IPv4Address(192, 168, 1, 10), behind: nat)
    let (server, _) = net.listen(on: net.makeNode(on: host))
    let before = Set(server.announcer?.relays.map(\.peerAddress) ?? [])
    nat.reset()
    net.network.advance(by: 10_000)
    let after = Set(server.announcer?.relays.map(\.peerAddress) ?? [])
    XCTAssertTrue(before.isDisjoint(with: after))
    XCTAssertTrue(after.allSatisfy { $0.host == nat.address })
    XCTAssertEqual(server.announcer?.relays.count, 3)
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  func testRelaysArePublishedAfterTheReplies() {
    let net = Net(8)
    let node = net.makeNode()
    let server = node.makeServer()
    var isListening = false
    var confirmations = 0
    net.network.shouldDrop = { packet in
      // The announcements arrive, their confirmations do not: the answers of the first second are lost.
      guard let response = Datagrams.response(packet.bytes), response.token == nil, response.value == nil,
        response.closerNodes.isEmpty, packet.sentAt < net.network.now + 1
      else { return false }
      confirmations += 1
      return confirmations <= 3
    }
    server.listen { isListening = isSuccess($0) }
    net.network.advance(by: 500)
    XCTAssertFalse(isListening)
    XCTAssertEqual(server.relayAddresses, [])
    XCTAssertEqual(server.announcer?.relays, [])
    net.wait { isListening }
    XCTAssertEqual(server.relayAddresses.count, 3)
    net.destroy()
  }

  /// What an outage has delayed, the withdrawal of an earlier cycle, does not meet what is announced after the return.
  func testAnnouncedAfterAnOutage() {
    for seed in 1...40 as ClosedRange<UInt64> {
      let net = Net(8, seed: seed)
      net.network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(20))
      let node = net.makeNode()
      let (server, _) = net.listen(on: node)
      guard let host = node.environment as? VirtualHost else { return XCTFail("a virtual host") }
      net.network.advance(by: 10_000 + seed * 37)
      host.isDown = true
      net.network.advance(by: 4_000 + seed * 331)
      host.isDown = false
      net.network.advance(by: 12_000)
      let holders = net.nodes.filter { $0.router.relay(target: server.target ?? Bytes32()) != nil }
      XCTAssertEqual(holders.count, 3, "seed \(seed)")
      XCTAssertEqual(server.announcer?.relays.count, 3, "seed \(seed)")
      net.destroy()
    }
  }

  func testClosedServerIsQuiet() {
    let net = Net(8)
    let (server, _) = net.listen(on: net.makeNode())
    server.close()
    net.network.advance(by: 5000)
    // Nothing of a closed server goes on.
    net.network.isLogging = true
    net.network.log = []
    net.network.advance(by: 120_000)
    XCTAssertEqual(commands(net, .announce).count + commands(net, .findPeer).count, 0)
    net.destroy()
  }

  func testDHT_42_closeWithdrawsTheAnnouncement() {
    let net = Net(8)
    let (server, _) = net.listen(on: net.makeNode())
    let relays = net.nodes.filter { $0.router.relay(target: server.target ?? Bytes32()) != nil }
    XCTAssertEqual(relays.count, 3)
    var closes = 0
    server.onClose = { closes += 1 }
    net.settle { done in server.close { done(()) } }
    net.settle { done in server.close { done(()) } }
    XCTAssertEqual(closes, 1)
    XCTAssertTrue(relays.allSatisfy { $0.router.relay(target: server.target ?? Bytes32()) == nil })
    XCTAssertTrue(server.isClosed)
    net.destroy()
  }

  /// A confirmation that is lost leaves the announcement at the node: closing has to remove it all the same.
  func testCloseDuringListenWithdrawsUnconfirmedAnnouncements() {
    let net = Net(8)
    let node = net.makeNode()
    let server = node.makeServer()
    net.network.shouldDrop = { packet in
      guard let response = Datagrams.response(packet.bytes) else { return false }
      return response.token == nil && response.value == nil && response.closerNodes.isEmpty
    }
    var results: [Result<Void, DHTError>] = []
    server.listen { results.append($0) }
    net.network.advance(by: 200)
    let target = server.target ?? Bytes32()
    XCTAssertFalse(net.nodes.filter { $0.router.relay(target: target) != nil }.isEmpty)
    net.network.shouldDrop = nil
    net.settle { done in server.close { done(()) } }
    XCTAssertEqual(results.count, 1)
    XCTAssertTrue(net.nodes.allSatisfy { $0.router.relay(target: target) == nil })
    net.destroy()
  }
}
