import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// A handshake names an address as the client's: what that gets before it has spoken (RFC 9000, section 8).
final class ClaimedAddressTests: XCTestCase {
  /// Packets of streams that leave for an address.
  private final class Tap {
    var counts: [Endpoint: Int] = [:]

    init(_ network: VirtualNetwork) {
      network.shouldDrop = { [weak self] packet in
        if packet.isStream { self?.counts[packet.destination, default: 0] += 1 }
        return false
      }
    }
  }

  private func openPayload(_ id: UInt32) -> NoisePayload {
    NoisePayload(firewall: .open, addresses4: [], udx: .init(id: id), secretStream: .init())
  }

  /// The address of a host that knows of nothing, named by a node that passes the handshake on; and the source of a
  /// handshake that never says anything more.
  func testClaimedAddressesGetThreePackets() throws {
    let net = Net(4)
    let node = net.makeNode(firewalled: false)
    let (server, accepted) = net.listen(on: node)
    let address = try XCTUnwrap(node.rpc.remoteAddress)
    let target = try XCTUnwrap(server.target)
    let victim = Endpoint(host: net.network.makeHost().address, port: 9)
    let relay = RawClient(net)
    let tap = Tap(net.network)
    let count = 10
    for number in 1...count {
      let (_, named) = relay.noise(server, payload: openPayload(UInt32(number)), seed: UInt8(number))
      relay.send(HandshakeMessage(mode: .fromRelay, noise: named, peerAddress: victim), to: address, target: target)
      net.network.advance(by: 50)
    }
    let direct = RawClient(net)
    let (_, own) = direct.noise(server, payload: openPayload(99), seed: 99)
    direct.send(HandshakeMessage(mode: .fromClient, noise: own), to: address, target: target)
    net.network.advance(by: 30_000)
    XCTAssertEqual(tap.counts[victim], 3 * count)
    XCTAssertEqual(tap.counts[Endpoint(host: direct.host.address, port: 5000)], 3)
    XCTAssertEqual(node.statistics.handshakes.phantoms, UInt64(count + 1), "each has lived its time")
    XCTAssertEqual(accepted.peers.count, 0)
    net.network.shouldDrop = nil
    net.destroy()
  }

  /// A client learns within its dial that it is reachable, and goes on from its other socket: the server, which it has
  /// asked itself, sends to the one that asked, and hears nothing from there. Both directions work all the same.
  func testAClientThatSpeaksFromAnotherSocketIsServed() throws {
    for seed in 1...10 as ClosedRange<UInt64> {
      let net = Net(seed: seed)
      let node = net.makeNode(firewalled: false)
      let (server, accepted) = net.listen(on: node)
      let client = net.makeNode(firewalled: true)
      let own = try XCTUnwrap(node.rpc.remoteAddress)
      let host = try XCTUnwrap(client.environment as? VirtualHost).address
      // The answer over a node comes before that of the server itself, and before its first stream packet.
      net.network.latency = { packet in
        packet.source.host == own.host && packet.destination.host == host ? 200_000 : 5_000 + seed * 100
      }
      var options = ConnectOptions()
      options.relayAddresses = [own]
      let peer = net.connect(client, to: server, options: options)
      net.wait { server.handshakeCount == 1 }
      client.rpc.isFirewalled = false
      for number in 1...8 { net.assertEcho(peer, "seed \(seed), \(number)", within: 1_500) }
      let asked = try XCTUnwrap(client.rpc.clientSocket?.localEndpoint?.port)
      let raw = try XCTUnwrap(client.rawStreams.all.first)
      XCTAssertNotEqual(raw.socket?.localEndpoint?.port, asked, "seed \(seed): the case that is meant")
      peer.stream.end()
      net.wait(2_000, "regular end, seed \(seed)") { peer.isClosed && accepted.peers.allSatisfy(\.isClosed) }
      XCTAssertNil(peer.closeError)
      XCTAssertEqual(accepted.peers.count, 1)
      XCTAssertNil(accepted.peers.first?.closeError)
      net.network.latency = nil
      net.destroy()
    }
  }

  /// A packet in five is lost: reachable clients meet servers that are reachable, and such behind a NAT box.
  func testLossDoesNotKeepClaimedClientsOut() {
    for isBehindNAT in [false, true] {
      var opened = 0
      let count = 20
      for seed in 1...UInt64(count) {
        let net = Net(4, seed: seed)
        let nat = net.network.makeNAT(mapping: .portPreserving, filter: .addressAndPortDependent)
        let host = isBehindNAT ? net.network.makeHost(IPv4Address(192, 168, 1, 2), behind: nat) : net.network.makeHost()
        let node = net.makeNode(on: host, firewalled: isBehindNAT)
        let (server, _) = net.listen(on: node)
        let client = net.makeNode(firewalled: false)
        net.network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(5), loss: 0.2)
        let peer = net.connect(client, to: server)
        net.network.run(within: 30_000) { peer.opened > 0 || peer.isClosed }
        if peer.opened > 0 { opened += 1 }
        net.network.conditions = LinkConditions()
        net.destroy()
      }
      XCTAssertEqual(opened, count, isBehindNAT ? "behind a NAT box" : "reachable")
    }
  }
}
