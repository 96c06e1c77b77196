import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Peers of deployed versions that think of themselves what is not so: they repeat it, and send nothing before they are
/// heard. A relay that is named is a way all the same.
final class DeployedPeerTests: XCTestCase {
  private func makeRelay(_ net: Net) -> RelayService {
    let service = RelayService(node: net.makeNode(firewalled: false))
    let result: Result<Void, DHTError>? = net.settle { service.listen(completion: $0) }
    XCTAssertEqual(result.map(isSuccess), true)
    return service
  }

  private func makeDeceived(_ net: Net, _ filter: VirtualNAT.Filter) -> DHTNode {
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 1), mapping: .portPreserving, filter: filter)
    let host = net.network.makeHost(IPv4Address(192, 168, 1, 2), behind: nat)
    return net.makeNode(on: host, firewalled: false) { $0.port = 40_000 }
  }

  private func makeSite(_ net: Net, _ number: UInt8 = 2) -> DHTNode {
    let nat = net.network.makeNAT(mapping: .endpointIndependent, filter: .addressAndPortDependent)
    return net.makeNode(on: net.network.makeHost(IPv4Address(192, 168, number, 2), behind: nat))
  }

  /// The server remembers nothing of a client that did not come, so it claims to be open each time.
  func testServerThatRepeatsItsClaimIsReachedOverARelay() {
    for seed in 1...10 as ClosedRange<UInt64> {
      for namedByServer in [false, true] {
        let what = "seed \(seed), named by the server \(namedByServer)"
        let net = Net(seed: 400 + seed)
        let relay = makeRelay(net)
        let serverNode = makeDeceived(net, .addressAndPortDependent)
        let key = relay.server.publicKey ?? Bytes32()
        var serverOptions = ServerOptions()
        serverOptions.relayThrough = namedByServer ? .keys([key]) : nil
        let (server, accepted) = net.listen(on: serverNode, options: serverOptions)
        var options = ConnectOptions()
        options.relayThrough = namedByServer ? nil : .keys([key])
        let start = net.network.now
        let peer = net.connect(makeSite(net), to: server, options: options)
        // Before the second handshake.
        net.network.advance(by: 800)
        XCTAssertEqual(peer.opened, 0, what)
        for session in server.table.sessions { session.map { server.clear($0) } }
        net.assertEcho(peer, what, within: 3_000)
        XCTAssertLessThan(net.network.now - start, 3_000_000, what)
        XCTAssertEqual(accepted.peers.count { !$0.isClosed }, 1, what)
        net.settle { done in relay.close { done(()) } }
        net.destroy()
      }
    }
  }

  /// A client that claims to be open, and does not hear us, comes again after 10 s with the same claim and a relay.
  func testClientThatRepeatsItsClaimIsMetOverItsRelay() {
    for isSoon in [false, true] {
      let net = Net(seed: 500)
      let relay = makeRelay(net)
      let (server, accepted) = net.listen(on: makeSite(net))
      let client = RawClient(net)
      let target = server.target ?? Bytes32()
      let ticket = NoisePayload.RelayThroughInfo(
        publicKey: relay.server.publicKey ?? Bytes32(), token: Bytes32(repeating: 7))
      let through = server.relayAddresses[0]
      func dial(relay: NoisePayload.RelayThroughInfo?, ephemeral: UInt8) {
        let payload = NoisePayload(
          firewall: .open, addresses4: [Endpoint(host: client.host.address, port: 5000)], udx: .init(id: 4711),
          secretStream: .init(), relayThrough: relay)
        let (_, noise) = client.noise(server, payload: payload, ephemeral: ephemeral)
        client.send(HandshakeMessage(mode: .fromClient, noise: noise), to: through, target: target)
      }
      dial(relay: ticket, ephemeral: 101)
      net.network.advance(by: isSoon ? 1_000 : 11_000)
      XCTAssertEqual(server.node.statistics.relaying.attempts, 0, "the claim is believed")
      XCTAssertEqual(server.node.statistics.punches.open, 1)
      dial(relay: ticket, ephemeral: 102)
      net.network.advance(by: 1_000)
      // Two dials within a second are two connections; the first may still be on its way.
      XCTAssertEqual(server.node.statistics.relaying.attempts, isSoon ? 0 : 1)
      if isSoon { XCTAssertEqual(server.node.statistics.punches.open, 2) }
      XCTAssertEqual(accepted.peers.count, 0)
      net.settle { done in relay.close { done(()) } }
      net.destroy()
    }
  }

  /// A look-up by key, not a walk over all handshakes.
  func testTheNewestHandshakeOfAClientIsFound() {
    let net = Net(seed: 600)
    let (server, _) = net.listen(on: makeSite(net))
    let client = makeSite(net, 3)
    let first = net.connect(client, to: server)
    net.assertEcho(first)
    let session = server.table.latest(of: client.defaultKeyPair.publicKey)
    XCTAssertNotNil(session)
    let second = net.connect(client, to: server)
    net.assertEcho(second)
    let newer = server.table.latest(of: client.defaultKeyPair.publicKey)
    XCTAssertFalse(session === newer)
    if let session { server.clear(session) }
    XCTAssertTrue(server.table.latest(of: client.defaultKeyPair.publicKey) === newer, "an older one went")
    if let newer { server.clear(newer) }
    XCTAssertNil(server.table.latest(of: client.defaultKeyPair.publicKey))
    net.destroy()
  }
}
