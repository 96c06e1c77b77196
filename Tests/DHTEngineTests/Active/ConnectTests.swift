import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Part A-4 of hyperdht.md: connecting.
final class ConnectTests: XCTestCase {
  func testDHT_32_openDataHalfCloseClose() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.nodes[2])
    let peer = net.connect(net.makeNode(), to: server)
    net.assertEcho(peer, "one")
    net.assertEcho(peer, "two")
    XCTAssertEqual(peer.opened, 1)
    peer.stream.end()
    net.wait { peer.isClosed && accepted.peers.first?.isClosed == true }
    XCTAssertEqual(peer.ended, 1)
    XCTAssertEqual(accepted.peers.first?.ended, 1)
    XCTAssertEqual(peer.closed, 1)
    XCTAssertEqual(accepted.peers.first?.closed, 1)
    XCTAssertNil(peer.closeError)
    XCTAssertNil(accepted.peers.first?.closeError ?? nil)
    net.destroy()
  }

  /// Smaller than in the checklist, which measures the transport: the path through this layer is the same.
  func testDHT_33_eightMebibytesEchoedTenInFlight() {
    let net = Net(5)
    let (server, _) = net.listen(on: net.nodes[2])
    let peer = net.connect(net.makeNode(), to: server)
    let total = 2048
    var sent = 0
    var received = 0
    var mismatches = 0
    func message(_ index: Int) -> [UInt8] {
      [UInt8](repeating: UInt8(truncatingIfNeeded: index &* 31), count: 4096)
    }
    func send() {
      guard sent < total else { return }
      peer.stream.write(message(sent))
      sent += 1
    }
    peer.stream.onMessage = { bytes in
      if !bytes.elementsEqual(message(received)) { mismatches += 1 }
      received += 1
      send()
    }
    for _ in 0..<10 { send() }
    net.wait(600_000) { received == total || peer.isClosed }
    XCTAssertEqual(received, total)
    XCTAssertEqual(mismatches, 0)
    net.destroy()
  }

  func testDHT_34_halfOpen() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.nodes[2], echoes: false)
    let peer = net.connect(net.makeNode(), to: server)
    peer.stream.write(Array("ping".utf8))
    peer.stream.end()
    net.wait { accepted.peers.first?.ended == 1 }
    XCTAssertEqual(accepted.peers.first?.received, [Array("ping".utf8)])
    net.network.advance(by: 2000)
    XCTAssertFalse(peer.isClosed)
    accepted.peers.first?.stream.write(Array("pong".utf8))
    accepted.peers.first?.stream.end()
    net.wait { peer.isClosed }
    XCTAssertEqual(peer.received, [Array("pong".utf8)])
    XCTAssertNil(peer.closeError)
    net.destroy()
  }

  func testDHT_35_tenParallelConnectsToAServerThatEndsAtOnce() {
    let net = Net()
    let server = net.nodes[1].makeServer()
    var accepted: [Peer] = []
    server.onConnection = { stream in
      accepted.append(Peer(stream))
      stream.end()
    }
    net.settle { server.listen(completion: $0) }
    let client = net.makeNode()
    let peers = (0..<10).map { _ in net.connect(client, to: server) }
    for peer in peers { peer.stream.onEnd = { [unowned peer] in peer.stream.end() } }
    net.wait { peers.allSatisfy(\.isClosed) && accepted.count == 10 && accepted.allSatisfy(\.isClosed) }
    XCTAssertEqual(peers.filter { $0.closeError == nil }.count, 10)
    net.destroy()
  }

  func testDHT_36_serverOnANodeOfTheNet() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.nodes[3])
    let client = net.makeNode()
    let peer = net.connect(client, to: server)
    net.assertEcho(peer)
    XCTAssertEqual(peer.opened, 1)
    XCTAssertEqual(accepted.peers.count, 1)
    XCTAssertEqual(accepted.peers.first?.stream.remotePublicKey, client.defaultKeyPair.publicKey)
    XCTAssertEqual(peer.stream.remotePublicKey, server.publicKey)
    XCTAssertEqual(peer.stream.handshakeHash, accepted.peers.first?.stream.handshakeHash)
    net.destroy()
  }

  func testDHT_36_serverAndClientOnTheSameNode() {
    let net = Net()
    let (server, _) = net.listen(on: net.nodes[3])
    net.assertEcho(net.connect(net.nodes[3], to: server))
    net.destroy()
  }

  func testDHT_36_twoEphemeralNodes() {
    let net = Net()
    let (server, _) = net.listen(on: net.makeNode())
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  func testDHT_36_bothOnOneEphemeralNode() {
    let net = Net()
    let node = net.makeNode()
    let (server, _) = net.listen(on: node)
    net.assertEcho(net.connect(node, to: server))
    net.destroy()
  }

  func testDHT_36_twoEphemeralNodesOnOneHost() {
    let net = Net()
    let host = net.network.makeHost()
    let (server, _) = net.listen(on: net.makeNode(on: host))
    net.assertEcho(net.connect(net.makeNode(on: host), to: server))
    net.destroy()
  }

  /// Everything on one address, as `hyperswarm demo` runs it.
  func testDHT_36_wholeNetOnLoopback() {
    let network = VirtualNetwork(seed: 5, isLogging: true)
    let host = network.makeHost()
    let testnet = Testnet(environment: host, size: 5)
    var isUp = false
    testnet.start { isUp = isSuccess($0) }
    network.run(within: 60_000) { isUp }
    XCTAssertTrue(isUp)
    for firewalled in [true, false] {
      var options = DHTOptions(bootstrap: nil, host: .loopback, port: 0)
      options.firewalled = firewalled
      let a = testnet.createNode(options: options)!
      let b = testnet.createNode(options: options)!
      let server = a.makeServer()
      server.onConnection = { stream in stream.onMessage = { [unowned stream] in stream.write(Array($0)) } }
      var listening = false
      server.listen { listening = isSuccess($0) }
      network.run(within: 60_000) { listening }
      XCTAssertTrue(listening)
      let peer = Peer(b.connect(to: server.publicKey ?? Bytes32()))
      peer.stream.write([1, 2, 3])
      network.run(within: 30_000) { !peer.received.isEmpty || peer.isClosed }
      XCTAssertEqual(peer.received, [[1, 2, 3]], "firewalled \(firewalled): \(String(describing: peer.closeError))")
    }
    var done = false
    testnet.destroy { done = true }
    network.run(within: 60_000) { done }
    XCTAssertTrue(done)
    XCTAssertEqual(host.openSocketCount, 0)
    XCTAssertEqual(host.openStreamCount, 0)
  }

  func testDHT_37_clientIsTheServersRelay() {
    let net = Net()
    let (server, _) = net.listen(on: net.makeNode())
    let relay = net.nodes.first { $0.router.relay(target: server.target ?? Bytes32()) != nil }
    XCTAssertNotNil(relay)
    guard let relay else { return }
    net.assertEcho(net.connect(relay, to: server))
    net.destroy()
  }

  func testDHT_38_ownKeyPair() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.nodes[2])
    var options = ConnectOptions()
    let keyPair = KeyPair(seed: Bytes32(repeating: 9))
    options.keyPair = keyPair
    let peer = net.connect(net.makeNode(), to: server, options: options)
    XCTAssertEqual(peer.stream.publicKey, keyPair.publicKey, "visible before the handshake")
    net.assertEcho(peer)
    XCTAssertEqual(accepted.peers.first?.stream.remotePublicKey, keyPair.publicKey)
    XCTAssertEqual(peer.stream.publicKey, keyPair.publicKey)
    net.destroy()
  }

  /// The hint list of the address blob, as the facade passes it on.
  func testDHT_40_relayHintsAreTriedFirst() {
    let net = Net()
    let (server, _) = net.listen(on: net.makeNode())
    let client = net.makeNode()
    var options = ConnectOptions()
    options.relayAddresses = server.relayAddresses
    XCTAssertFalse(options.relayAddresses.isEmpty)
    net.network.isLogging = true
    net.network.log = []
    net.assertEcho(net.connect(client, to: server, options: options))
    net.network.isLogging = false
    // The first hint gets the handshake while the query has only begun.
    let handshake = net.network.log.first { Datagrams.request($0.bytes)?.command == Command.peerHandshake.rawValue }
    XCTAssertEqual(handshake?.destination, options.relayAddresses.first)
    net.destroy()
  }

  func testDHT_40_deadHintsDoNotPreventTheConnection() {
    let net = Net()
    let (server, _) = net.listen(on: net.nodes[1])
    var options = ConnectOptions()
    options.relayAddresses = [Endpoint(host: IPv4Address(9, 9, 9, 9), port: 1)]
    net.assertEcho(net.connect(net.makeNode(), to: server, options: options))
    net.destroy()
  }

  func testDHT_66_secondConnectUsesRememberedRelays() {
    let net = Net()
    let (server, _) = net.listen(on: net.makeNode())
    let client = net.makeNode()
    XCTAssertTrue(client.relayHints[server.publicKey ?? Bytes32()].isEmpty)
    net.assertEcho(net.connect(client, to: server))
    XCTAssertEqual(client.relayHints[server.publicKey ?? Bytes32()], server.relayAddresses)
    net.assertEcho(net.connect(client, to: server))
    net.destroy()
  }

  func testDHT_41_unknownKey() {
    let net = Net()
    let client = net.makeNode()
    let started = net.network.now
    let peer = Peer(client.connect(to: KeyPair(seed: Bytes32(repeating: 77)).publicKey))
    net.wait { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "PEER_NOT_FOUND")
    XCTAssertEqual(peer.closed, 1)
    XCTAssertEqual(peer.opened, 0)
    XCTAssertLessThan(net.network.now - started, 1_000_000, "fails as soon as the network has answered")
    net.destroy()
  }

  func testDHT_41_keyThatIsNoPoint() {
    let net = Net()
    let peer = Peer(net.makeNode().connect(to: Bytes32(repeating: 0xff)))
    net.wait { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "PEER_NOT_FOUND")
    net.destroy()
  }

  func testDHT_41_rejectingFirewallIsSilent() {
    let net = Net()
    var options = ServerOptions()
    var asked: [(Bytes32, Endpoint)] = []
    options.firewall = { key, payload, address, verdict in
      asked.append((key, address))
      XCTAssertEqual(payload.version, 1)
      verdict(.reject)
      verdict(.accept)  // only the first counts
    }
    let (server, accepted) = net.listen(on: net.makeNode(), options: options)
    let client = net.makeNode()
    net.network.isLogging = true
    net.network.log = []
    let peer = net.connect(client, to: server)
    net.wait(60_000) { peer.isClosed }
    net.network.isLogging = false
    XCTAssertEqual(peer.closeError?.code, "PEER_CONNECTION_FAILED")
    XCTAssertEqual(asked.count, 1, "copies of message 1 ask once")
    XCTAssertEqual(asked.first?.0, client.defaultKeyPair.publicKey)
    XCTAssertTrue(accepted.peers.isEmpty)
    let answers = net.network.log.filter {
      Datagrams.handshake($0.bytes)?.mode == .fromServer || Datagrams.handshake($0.bytes)?.mode == .reply
    }
    XCTAssertEqual(answers.count, 0, "the server does not reveal that it exists")
    XCTAssertEqual(server.handshakeCount, 0)
    net.destroy()
  }

  func testDHT_41_lateVerdict() {
    let net = Net()
    var options = ServerOptions()
    options.firewall = { _, _, _, verdict in
      _ = net.network.makeHost().schedule(after: 500) { verdict(.accept) }
    }
    let (server, _) = net.listen(on: net.nodes[1], options: options)
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  func testDHT_41_noVerdictIsARejection() {
    let net = Net()
    var options = ServerOptions()
    var verdicts: [(FirewallVerdict) -> Void] = []
    options.firewall = { _, _, _, verdict in verdicts.append(verdict) }
    let (server, accepted) = net.listen(on: net.nodes[1], options: options)
    let peer = net.connect(net.makeNode(), to: server)
    net.wait(60_000) { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "PEER_CONNECTION_FAILED")
    net.network.advance(by: 20_000)
    XCTAssertEqual(server.handshakeCount, 0)
    for verdict in verdicts { verdict(.accept) }
    net.network.advance(by: 5000)
    XCTAssertTrue(accepted.peers.isEmpty)
    net.destroy()
  }

  func testDHT_44_keepAlive() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.nodes[1])
    let peer = net.connect(net.makeNode(), to: server)
    net.assertEcho(peer)
    XCTAssertEqual(peer.stream.keepAlive, 5000)
    XCTAssertEqual(accepted.peers.first?.stream.keepAlive, 5000)
    let written = peer.stream.statistics.messagesWritten
    net.network.advance(by: 20_500)
    XCTAssertGreaterThanOrEqual(peer.stream.statistics.messagesWritten, written + 4, "an empty frame every 5 s")
    XCTAssertEqual(peer.received.count, 1, "and none of them is delivered")

    var options = ServerOptions()
    options.connectionKeepAlive = 700
    let (other, otherAccepted) = net.listen(on: net.makeNode { $0.connectionKeepAlive = 0 }, options: options)
    let quiet = net.connect(net.makeNode { $0.connectionKeepAlive = 0 }, to: other)
    net.assertEcho(quiet)
    XCTAssertEqual(quiet.stream.keepAlive, 0)
    XCTAssertEqual(otherAccepted.peers.first?.stream.keepAlive, 700)
    net.destroy()
  }

  func testDHT_48_rawStreamsBesideAConnection() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.nodes[1])
    let client = net.makeNode()
    let peer = net.connect(client, to: server)
    net.assertEcho(peer)
    let a = client.makeTransportStream()!
    let b = net.nodes[1].makeTransportStream()!
    var received: [UInt8] = []
    b.onData = { received.append(contentsOf: $0) }
    XCTAssertNoThrow(try DHTNode.connect(a, alongside: peer.stream, remoteID: b.localID))
    XCTAssertNoThrow(try DHTNode.connect(b, alongside: accepted.peers[0].stream, remoteID: a.localID))
    a.write(OwnedBuffer([1, 2, 3]))
    net.wait { received == [1, 2, 3] }
    let unconnected = EncryptedStream(environment: net.hosts[0], isInitiator: true)
    let c = client.makeTransportStream()!
    XCTAssertThrowsError(try DHTNode.connect(c, alongside: unconnected, remoteID: 1)) {
      XCTAssertEqual(($0 as? DHTError)?.code, "STREAM_NOT_CONNECTED")
    }
    XCTAssertEqual(client.rawStreamCount, 3)
    net.destroy()
  }

  func testDHT_49_peerVanishes() {
    let net = Net()
    let host = net.network.makeHost()
    let (server, _) = net.listen(on: net.makeNode(on: host))
    let peer = net.connect(net.makeNode(), to: server)
    net.assertEcho(peer)
    host.isDown = true
    net.wait(120_000, "keepalive finds out") { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "ETIMEDOUT")
    host.isDown = false
    net.destroy()
  }

  func testDHT_50_suggestedAddressAndNodesOption() {
    let net = Net(4)
    let entry = net.testnet.bootstrap.first
    guard case .endpoint(let endpoint) = entry else { return XCTFail("no bootstrap") }
    let suggested = net.makeNode {
      $0.bootstrap = [.suggested(endpoint.host, "does-not-exist.invalid", endpoint.port)]
    }
    XCTAssertGreaterThan(suggested.rpc.nodeCount, 0)
    var options = DHTOptions(bootstrap: [], host: .any, port: 0)
    options.nodes = net.nodes.compactMap(\.rpc.remoteAddress)
    let seeded = DHTNode(environment: net.network.makeHost(), options: options)
    seeded.start()
    net.settle { seeded.whenBootstrapped($0) }
    XCTAssertGreaterThanOrEqual(seeded.rpc.nodeCount, options.nodes.count)
    net.settle { done in seeded.destroy { done(()) } }
    net.destroy()
  }

  func testDHT_C11_deadline() {
    let net = Net()
    var options = ServerOptions()
    options.firewall = { _, _, _, verdict in verdict(.reject) }
    let (server, _) = net.listen(on: net.nodes[1], options: options)
    var connect = ConnectOptions()
    connect.deadline = 1500
    let started = net.network.now
    let peer = net.connect(net.makeNode(), to: server, options: connect)
    net.wait { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "CONNECT_TIMEOUT")
    XCTAssertLessThan(net.network.now - started, 1_700_000)
    net.destroy()
  }

  func testCallerDestroysAtAnyStage() {
    // Whatever the stage, one close and nothing left behind.
    let net = Net(5)
    let (server, _) = net.listen(on: net.makeNode())
    let client = net.makeNode()
    let sockets = client.sockets.count
    for delay in stride(from: UInt64(0), through: 24, by: 1) {
      let peer = net.connect(client, to: server)
      net.network.advance(by: delay)
      peer.stream.destroy()
      net.wait { peer.isClosed }
      XCTAssertEqual(peer.closed, 1, "destroyed after \(delay) ms")
      XCTAssertNil(peer.closeError)
    }
    net.network.advance(by: 40_000)
    XCTAssertEqual(client.connectors.count, 0)
    XCTAssertEqual(client.rawStreamCount, 0)
    XCTAssertEqual(client.sockets.count, sockets)
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertEqual(server.node.sockets.count, 0)
    net.destroy()
  }
}
