import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Nodes that think of themselves or of the peer what is not so: a connection is made all the same, and none is
/// reported before the peer has been heard.
final class JudgementTests: XCTestCase {
  /// A node whose NAT box keeps its port, so that it looks like a public one, but lets in only answers.
  private func deceived(_ net: Net, _ number: UInt8, _ filter: VirtualNAT.Filter) -> DHTNode {
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, number), mapping: .portPreserving, filter: filter)
    let host = net.network.makeHost(IPv4Address(192, 168, number, 2), behind: nat)
    let node = net.makeNode(on: host, firewalled: false) { $0.port = 40_000 }
    XCTAssertNotNil(node.rpc.remoteAddress, "thinks that it is reachable")
    return node
  }

  private func site(_ net: Net, _ number: UInt8) -> DHTNode {
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 6, number), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    return net.makeNode(on: net.network.makeHost(IPv4Address(192, 168, 100 + number, 2), behind: nat))
  }

  /// Milliseconds until the echo of the first message.
  private func assertMeets(_ net: Net, _ client: DHTNode, _ serverNode: DHTNode, _ what: String) {
    let (server, accepted) = net.listen(on: serverNode)
    var isReported = false
    let start = net.network.now
    let peer = net.connect(client, to: server)
    peer.stream.onOpen = {
      isReported = true
      XCTAssertLessThanOrEqual(net.network.now - start, 3_000_000, what)
    }
    net.assertEcho(peer, what, within: 3_000)
    XCTAssertTrue(isReported, what)
    // A session that was given up after ten seconds is remembered for ten more.
    net.network.advance(by: 20_500)
    XCTAssertEqual(accepted.peers.count { !$0.isClosed }, 1, what)
    XCTAssertEqual(server.handshakeCount, 0, what)
    XCTAssertEqual(client.connectors.count, 0, what)
    net.assertEcho(peer, "\(what) later")
  }

  func testClientThatThinksItselfOpen() {
    for seed in 1...10 as ClosedRange<UInt64> {
      for filter in [VirtualNAT.Filter.addressDependent, .addressAndPortDependent] {
        let net = Net(seed: seed)
        assertMeets(net, deceived(net, 1, filter), site(net, 1), "seed \(seed) \(filter)")
        net.destroy()
      }
    }
  }

  func testServerThatThinksItselfOpen() {
    for seed in 1...10 as ClosedRange<UInt64> {
      for filter in [VirtualNAT.Filter.addressDependent, .addressAndPortDependent] {
        let net = Net(seed: 100 + seed)
        assertMeets(net, site(net, 1), deceived(net, 1, filter), "seed \(seed) \(filter)")
        net.destroy()
      }
    }
  }

  func testBothThinkThemselvesOpen() {
    for seed in 1...10 as ClosedRange<UInt64> {
      let net = Net(seed: 200 + seed)
      let filter = VirtualNAT.Filter.addressAndPortDependent
      assertMeets(net, deceived(net, 1, filter), deceived(net, 2, filter), "seed \(seed)")
      net.destroy()
    }
  }

  /// The server's header comes in the turn in which a second handshake is decided on, before that one has a transport.
  /// The server's session of the first handshake waits at the relay when the second handshake comes there: the two are
  /// not paired with each other.
  func testASecondHandshakeHasATokenOfItsOwn() {
    for seed in 1...5 as ClosedRange<UInt64> {
      let world = RelayWorld(seed: seed)
      let node = deceived(world.net, 9, .addressAndPortDependent)
      let (server, _) = world.net.listen(on: node)
      // The client's second request reaches the relay before that of the server's second session.
      world.net.network.latency = { packet in
        packet.source.host == IPv4Address(5, 5, 5, 9) && packet.destination.host == world.relayHost ? 80_000 : 10_000
      }
      var options = ConnectOptions()
      options.relayThrough = .keys([world.relayKey])
      let peer = world.net.connect(world.clientNode, to: server, options: options)
      world.net.assertEcho(peer, "seed \(seed)", within: 6_000)
      XCTAssertNil(peer.closeError, "seed \(seed)")
      XCTAssertGreaterThan(
        peer.stream.pathTimeline?().count { $0.contains("attempt started") } ?? 0, 1, "seed \(seed): shook hands again")
      world.net.destroy()
    }
  }

  func testTheHeaderThatComesWithTheDecision() throws {
    let net = Net(seed: 400)
    let (server, accepted) = net.listen(on: net.makeNode(firewalled: false))
    let client = site(net, 1)
    let peer = net.connect(client, to: server)
    net.wait { client.rawStreams.all.first?.isConnected ?? false }
    let raw = try XCTUnwrap(client.rawStreams.all.first)
    var held: [UInt8] = []
    raw.onData = { held.append(contentsOf: $0) }
    let due = net.network.now + Limits.Connect.judgementTrial * 1000
    net.network.run(within: 2_000) { net.network.now >= due }
    XCTAssertFalse(held.isEmpty)
    XCTAssertEqual(peer.opened, 0)
    held.withUnsafeBytes { raw.onData?($0) }
    net.wait(1_000) { peer.opened == 1 }
    net.assertEcho(peer, within: 1_000)
    XCTAssertEqual(client.rawStreams.count, 1, "no second handshake")
    XCTAssertEqual(accepted.peers.count, 1)
    XCTAssertEqual(client.connectors.count, 0)
    net.destroy()
  }

  /// A server that is gone is not reported, and given up soon.
  func testServerThatIsGoneIsNoConnection() {
    for seed in 1...5 as ClosedRange<UInt64> {
      let net = Net(seed: 300 + seed)
      let serverNode = deceived(net, 1, .endpointIndependent)
      let (server, _) = net.listen(on: serverNode)
      let client = site(net, 1)
      let own = IPv4Address(5, 5, 5, 1)
      // Handshakes come and go through the nodes, nothing passes between the two.
      net.network.shouldDrop = { datagram in
        let ends = Set([datagram.source.host, datagram.destination.host])
        return ends == [own, IPv4Address(5, 5, 6, 1)]
      }
      let peer = net.connect(client, to: server)
      let start = net.network.now
      net.wait(30_000) { peer.isClosed }
      XCTAssertEqual(peer.opened, 0, "seed \(seed)")
      XCTAssertLessThan(net.network.now - start, 20_000_000, "seed \(seed)")
      net.destroy()
    }
  }
}
