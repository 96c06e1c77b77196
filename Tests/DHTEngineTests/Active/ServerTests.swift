import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Parts A-4 (42, 43, 45, 47), A-5 and A-10 (93 to 95) of hyperdht.md, and the server's defences (hyperdht.md Part B).
final class ServerTests: XCTestCase {
  private func address(_ node: DHTNode) -> Endpoint {
    Endpoint(
      host: (node.environment as! VirtualHost).address, port: node.rpc.serverSocket?.localEndpoint?.port ?? 0)
  }

  private func payload(_ handshake: NoiseHandshake, _ reply: [UInt8]) -> NoisePayload? {
    var handshake = handshake
    guard let bytes = try? handshake.receive(reply) else { return nil }
    return try? CompactReader.decode(NoisePayload.self, from: bytes)
  }

  // MARK: A-4

  func testDHT_42_nodeDestroyClosesStreamsOnBothSides() {
    for destroysServer in [true, false] {
      let net = Net()
      let (server, accepted) = net.listen(on: net.makeNode())
      let client = net.makeNode()
      let peer = net.connect(client, to: server)
      net.assertEcho(peer)
      let node = destroysServer ? server.node : client
      net.settle { done in node.destroy { done(()) } }
      net.wait { peer.isClosed && accepted.peers.first?.isClosed == true }
      XCTAssertEqual(peer.closed, 1)
      XCTAssertEqual(accepted.peers.first?.closed, 1)
      XCTAssertEqual((destroysServer ? peer : accepted.peers.first)?.closeError?.code, "ECONNRESET")
      let host = node.environment as! VirtualHost
      XCTAssertEqual(host.openSocketCount, 0)
      XCTAssertEqual(host.openStreamCount, 0)
      XCTAssertEqual(server.isClosed, destroysServer)
      net.destroy()
    }
  }

  func testDHT_42_destroyDuringListenAndConnectSettlesEverything() {
    for force in [false, true] {
      for delay in stride(from: UInt64(0), through: 12, by: 1) {
        let net = Net(4)
        let (target, _) = net.listen(on: net.nodes[1])
        let node = net.makeNode()
        let server = node.makeServer()
        var listens: [Result<Void, DHTError>] = []
        var closes = 0
        server.onClose = { closes += 1 }
        server.listen { listens.append($0) }
        let peer = net.connect(node, to: target)
        net.network.advance(by: delay)
        var destroyed = 0
        node.destroy(force: force) { destroyed += 1 }
        node.destroy(force: force) { destroyed += 1 }
        net.wait(120_000, "destroy after \(delay) ms") { destroyed == 2 && peer.isClosed }
        XCTAssertEqual(listens.count, 1)
        XCTAssertTrue(listens.first.map(isSuccess) ?? false, "listen resolves")
        XCTAssertEqual(closes, 1)
        XCTAssertEqual(peer.closed, 1)
        XCTAssertTrue(server.isClosed)
        XCTAssertEqual((node.environment as! VirtualHost).openSocketCount, 0)
        net.settle { done in node.destroy { done(()) } }
        net.destroy()
      }
    }
  }

  func testDHT_42_afterDestroy() {
    let net = Net(3)
    let node = net.makeNode()
    net.settle { done in node.destroy { done(()) } }
    let peer = Peer(node.connect(to: Bytes32(repeating: 1)))
    net.wait { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "NODE_DESTROYED")
    let server = node.makeServer()
    guard case .failure(.nodeDestroyed) = net.settle({ server.listen(completion: $0) }) else {
      return XCTFail("listen on a destroyed node")
    }
    net.destroy()
  }

  func testDHT_43_oneServerPerKeyAndOneListenPerServer() {
    let net = Net()
    let keyPair = KeyPair(seed: Bytes32(repeating: 8))
    let (server, _) = net.listen(on: net.nodes[1], keyPair: keyPair)
    guard case .failure(.alreadyListening) = net.settle({ server.listen(keyPair: keyPair, completion: $0) }) else {
      return XCTFail("second listen")
    }
    let second = net.nodes[1].makeServer()
    guard case .failure(.keyPairAlreadyUsed) = net.settle({ second.listen(keyPair: keyPair, completion: $0) }) else {
      return XCTFail("second server")
    }
    net.settle { done in server.close { done(()) } }
    let (third, _) = net.listen(on: net.nodes[1], keyPair: keyPair)
    net.assertEcho(net.connect(net.makeNode(), to: third))
    net.destroy()
  }

  func testDHT_45_handshakeClearWait() {
    let net = Net()
    var options = ServerOptions()
    XCTAssertEqual(options.handshakeClearWait, 10_000)
    options.handshakeClearWait = 2500
    let (server, _) = net.listen(on: net.nodes[1], options: options)
    let client = net.makeNode()
    net.assertEcho(net.connect(client, to: server))
    XCTAssertEqual(server.handshakeCount, 1)
    XCTAssertNotNil(server.table.session(at: 0))
    net.network.advance(by: 2000)
    XCTAssertEqual(server.handshakeCount, 1)
    net.network.advance(by: 600)
    XCTAssertEqual(server.handshakeCount, 0)
    net.assertEcho(net.connect(client, to: server))
    XCTAssertNotNil(server.table.session(at: 0), "the index is used again")
    net.destroy()
  }

  func testDHT_47_94_strayAndMalformedDatagrams() {
    let net = Net(4)
    let (server, _) = net.listen(on: net.nodes[1])
    let socket = net.network.makeHost().makeSocket()
    var answers = 0
    socket.onMessage = { bytes, _ in if bytes.first != 0x13 || bytes[1] & 8 == 0 { answers += 1 } }
    XCTAssertNoThrow(try socket.bind(host: .any, port: 0))
    var random = SeededRandom(seed: 3)
    let to = address(net.nodes[1])
    for length in [0, 1, 2, 9, 10, 40, 200, 1200] {
      for _ in 0..<100 { socket.send(random.bytes(length), to: to) }
    }
    net.network.advance(by: 100)
    answers = 0
    for command in UInt64(0)...10 {
      for length in [0, 1, 2, 33, 98, 200] {
        let value = random.bytes(length)
        // No token: commands that need one drop it as well.
        socket.send(
          Datagrams.encodeRequest(
            tid: 1, to: to, command: command, target: command < 2 ? server.target : nil, value: value), to: to)
      }
    }
    net.network.advance(by: 1000)
    XCTAssertEqual(answers, 0)
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  // MARK: A-5

  func testDHT_53_sameMessageThroughTwoRelays() {
    let net = Net()
    let (server, _) = net.listen(on: net.makeNode())
    let client = RawClient(net)
    let (_, noise) = client.noise(server)
    for relay in server.relayAddresses {
      client.send(HandshakeMessage(mode: .fromClient, noise: noise), to: relay, target: server.target ?? Bytes32())
    }
    net.network.advance(by: 700)
    XCTAssertEqual(client.replies.count, 3)
    let values = client.replies.compactMap { reply in
      reply.datagram.value.flatMap { try? CompactReader.decode(HandshakeMessage.self, from: $0) }
    }
    XCTAssertEqual(values.count, 3)
    XCTAssertEqual(Set(values.map(\.noise)).count, 1, "identical message 2")
    XCTAssertEqual(server.handshakeCount, 1)
    XCTAssertEqual(server.node.statistics.handshakes.received, 1)
    XCTAssertEqual(Set(client.replies.map(\.source)), Set(server.relayAddresses), "each from the node that was asked")
    net.destroy()
  }

  func testDHT_55_errorReplies() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.nodes[1])
    let client = RawClient(net)
    // Version 2 and arbitrary bytes.
    let (first, noise) = client.noise(server, raw: [2, 0xff, 0xff, 1, 2, 3], seed: 1)
    client.send(
      HandshakeMessage(mode: .fromClient, noise: noise), to: address(net.nodes[1]), target: server.target ?? Bytes32())
    net.network.advance(by: 100)
    let (second, other) = client.noise(server, payload: NoisePayload(), seed: 2)
    client.send(
      HandshakeMessage(mode: .fromClient, noise: other), to: address(net.nodes[1]), target: server.target ?? Bytes32())
    net.network.advance(by: 100)
    let replies = client.replies.compactMap { reply in
      reply.datagram.value.flatMap { try? CompactReader.decode(HandshakeMessage.self, from: $0) }
    }
    XCTAssertEqual(replies.count, 2)
    guard replies.count == 2 else { return }
    let versionReply = payload(first, replies[0].noise)
    XCTAssertEqual(versionReply?.error, .versionMismatch)
    XCTAssertEqual(versionReply?.version, 1)
    XCTAssertEqual(versionReply?.udx?.id, 0)
    let abortReply = payload(second, replies[1].noise)
    XCTAssertEqual(abortReply?.error, .aborted)
    net.network.advance(by: 20_000)
    XCTAssertTrue(accepted.peers.isEmpty)
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertEqual(net.nodes[1].rawStreamCount, 0)
    net.destroy()
  }

  func testDHT_55_clientUnderstandsErrors() {
    // A server that answers every handshake with a payload of the test's choice.
    let cases: [(NoisePayload, String)] = [
      (NoisePayload(error: .versionMismatch, udx: .init(id: 0)), "SERVER_ERROR"),
      (NoisePayload(version: 2), "SERVER_INCOMPATIBLE"),
      (NoisePayload(secretStream: .init()), "SERVER_ERROR"),
    ]
    for (answer, code) in cases {
      let net = Net(1)
      let key = KeyPair(seed: Bytes32(repeating: 6))
      let relay = Endpoint(host: net.network.makeHost(IPv4Address(7, 7, 7, 7)).address, port: 7)
      let socket = net.network.makeHost(IPv4Address(7, 7, 7, 7)).makeSocket()
      XCTAssertNoThrow(try socket.bind(host: .any, port: 7))
      socket.onMessage = { [unowned socket] bytes, source in
        guard let tid = Datagrams.request(Array(bytes))?.tid, let message = Datagrams.handshake(Array(bytes)) else {
          return
        }
        var handshake = try! NoiseHandshake(
          pattern: .ik, isInitiator: false, keyPair: key, prologue: Namespaces.peerHandshake.bytes,
          ephemeral: KeyPair(seed: Bytes32(repeating: 66)))
        _ = try! handshake.receive(message.noise)
        let noise = try! handshake.send(payload: answer.encoded)
        socket.send(
          Datagrams.encodeResponse(
            tid: tid, to: source, value: HandshakeMessage(mode: .reply, noise: noise).encoded), to: source)
      }
      var options = ConnectOptions()
      options.relayAddresses = [relay]
      let peer = Peer(net.makeNode().connect(to: key.publicKey, options: options))
      net.wait { peer.isClosed }
      XCTAssertEqual(peer.closeError?.code, code)
      net.destroy()
    }
  }

  func testDHT_56_replySockets() {
    let net = Net()
    for firewalled in [true, false] {
      let node = firewalled ? net.makeNode() : net.nodes[1]
      let (server, _) = net.listen(on: node)
      let client = RawClient(net)
      net.network.isLogging = true
      net.network.log = []
      let relay = server.relayAddresses.first { $0 != node.rpc.remoteAddress } ?? server.relayAddresses[0]
      client.send(
        HandshakeMessage(mode: .fromClient, noise: client.noise(server).1), to: relay,
        target: server.target ?? Bytes32())
      net.network.advance(by: 700)
      let answer = net.network.log.first { Datagrams.handshake($0.bytes)?.mode == .fromServer }
      let known = [node.rpc.serverSocket, node.rpc.clientSocket].compactMap { $0?.localEndpoint?.port }
      XCTAssertNotNil(answer)
      XCTAssertEqual(answer.map { known.contains($0.source.port) }, !firewalled)
      net.network.isLogging = false
    }
    net.destroy()
  }

  func testDHT_57a_garbageThroughOneRelayDoesNotSpoilTheOthers() {
    let net = Net()
    let (server, _) = net.listen(on: net.nodes[1])
    // The first node that is asked answers with garbage, from the right address, before the real one does.
    let liar = net.network.makeHost()
    let socket = liar.makeSocket()
    XCTAssertNoThrow(try socket.bind(host: .any, port: 99))
    var lies = 0
    socket.onMessage = { [unowned socket] bytes, source in
      guard let request = Datagrams.request(Array(bytes)), let message = Datagrams.handshake(Array(bytes)) else {
        return
      }
      lies += 1
      let garbage = HandshakeMessage(mode: .reply, noise: Array(message.noise.reversed()))
      socket.send(Datagrams.encodeResponse(tid: request.tid, to: source, value: garbage.encoded), to: source)
    }
    var options = ConnectOptions()
    options.relayAddresses = [Endpoint(host: liar.address, port: 99)]
    net.assertEcho(net.connect(net.makeNode(), to: server, options: options))
    XCTAssertEqual(lies, 1)
    net.destroy()
  }

  func testDHT_57_remoteAnnounceDoesNotDisplaceTheLocalServer() {
    let net = Net(4)
    let keyPair = KeyPair(seed: Bytes32(repeating: 8))
    let (server, _) = net.listen(on: net.nodes[1], keyPair: keyPair)
    // Another node with the same key announces itself everywhere, and withdraws again.
    let (other, _) = net.listen(on: net.makeNode(), keyPair: keyPair)
    XCTAssertTrue(net.nodes[1].router.localServer(target: server.target ?? Bytes32()) === server)
    net.settle { done in other.close { done(()) } }
    XCTAssertTrue(net.nodes[1].router.localServer(target: server.target ?? Bytes32()) === server)
    net.destroy()
  }

  // MARK: hyperdht.md Part B

  func testDHT_B1_handshakesEndWithoutTheirClients() {
    let net = Net(4)
    let (server, accepted) = net.listen(on: net.nodes[1])
    let clients = (0..<5).map { _ in RawClient(net) }
    let to = address(net.nodes[1])
    var sent = 0
    for client in clients {
      for seed in UInt8(1)...100 {
        client.send(
          HandshakeMessage(mode: .fromClient, noise: client.noise(server, seed: seed).1), to: to,
          target: server.target ?? Bytes32())
        sent += 1
      }
      net.network.advance(by: 10)
    }
    XCTAssertEqual(sent, 500)
    // There is a place for each until all are taken, and then newcomers take them (`HandshakeFloodTests`).
    XCTAssertEqual(server.table.activeCount, 500)
    XCTAssertEqual(server.table.waitingCount(of: .direct), 500)
    XCTAssertEqual(net.nodes[1].rawStreamCount, 500)
    XCTAssertEqual(net.nodes[1].statistics.handshakes.dropped, 0)
    net.network.advance(by: 60_000)
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertEqual(net.nodes[1].rawStreamCount, 0)
    XCTAssertTrue(accepted.peers.isEmpty, "none of them has shown itself")
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  func testDHT_B1_handshakesAreRateLimited() {
    let net = Net(4)
    let (server, _) = net.listen(on: net.nodes[1])
    let client = RawClient(net)
    let to = address(net.nodes[1])
    // Message 1 with a broken payload: refused after the Diffie-Hellman, so the bound on concurrent ones does not help.
    var noise = client.noise(server).1
    for index in 0..<400 {
      noise[noise.count - 1] = UInt8(truncatingIfNeeded: index)
      noise[noise.count - 2] = UInt8(truncatingIfNeeded: index >> 8)
      client.send(HandshakeMessage(mode: .fromClient, noise: noise), to: to, target: server.target ?? Bytes32())
    }
    net.network.advance(by: 10)
    let statistics = net.nodes[1].statistics.handshakes
    XCTAssertLessThanOrEqual(statistics.received, Limits.Server.handshakeBurst + 2)
    XCTAssertGreaterThanOrEqual(statistics.received, Limits.Server.handshakeBurst)
    XCTAssertEqual(statistics.received + statistics.dropped, 400)
    net.network.advance(by: 5000)
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  func testDHT_B2_claimedPeerAddressOfADirectClientIsIgnored() {
    let net = Net(4)
    var asked: [Endpoint] = []
    var options = ServerOptions()
    options.firewall = { _, _, address, verdict in
      asked.append(address)
      verdict(.accept)
    }
    let (server, _) = net.listen(on: net.nodes[1], options: options)
    let client = RawClient(net)
    let victim = Endpoint(host: IPv4Address(66, 6, 6, 6), port: 6)
    client.send(
      HandshakeMessage(mode: .fromClient, noise: client.noise(server).1, peerAddress: victim),
      to: address(net.nodes[1]), target: server.target ?? Bytes32())
    net.network.logsStreams = true
    net.network.isLogging = true
    net.network.advance(by: 1000)
    XCTAssertEqual(asked, [Endpoint(host: client.host.address, port: 5000)])
    XCTAssertFalse(net.network.log.contains { $0.destination.host == victim.host })
    net.destroy()
  }

  func testDHT_B21_replayedFirstMessageGivesNoConnection() {
    let net = Net(6)
    var options = ServerOptions()
    options.handshakeClearWait = 1000
    let (server, accepted) = net.listen(on: net.nodes[1], options: options)
    // What a relay sees of a genuine connect.
    net.network.isLogging = true
    net.network.log = []
    let genuine = net.connect(net.makeNode(), to: server)
    net.assertEcho(genuine)
    net.network.isLogging = false
    let seen = net.network.log.compactMap { Datagrams.handshake($0.bytes) }.first { $0.mode == .fromClient }
    XCTAssertNotNil(seen)
    guard let seen else { return }
    let replayer = RawClient(net)
    replayer.send(seen, to: address(net.nodes[1]), target: server.target ?? Bytes32())
    net.network.advance(by: 100)
    XCTAssertEqual(server.node.statistics.handshakes.received, 1, "still remembered: the same handshake")
    net.network.advance(by: 2000)
    replayer.send(seen, to: address(net.nodes[1]), target: server.target ?? Bytes32())
    net.network.advance(by: 30_000)
    XCTAssertEqual(accepted.peers.count, 1, "no connection in the victim's name")
    XCTAssertEqual(net.nodes[1].statistics.handshakes.phantoms, 1)
    XCTAssertEqual(server.handshakeCount, 0)
    net.assertEcho(genuine, "undisturbed")
    net.destroy()
  }

  // MARK: A-10

  func testDHT_93_connectWhileSuspended() {
    let net = Net()
    let (server, _) = net.listen(on: net.nodes[1])
    let client = net.makeNode()
    let live = net.connect(client, to: server)
    net.assertEcho(live)
    let pending = net.connect(client, to: server)
    net.settle { done in client.suspend { done(()) } }
    net.wait { live.isClosed && pending.isClosed }
    XCTAssertEqual(pending.closeError?.code, "SUSPENDED")
    let refused = net.connect(client, to: server)
    net.wait { refused.isClosed }
    XCTAssertEqual(refused.closeError?.code, "SUSPENDED")
    net.settle { done in client.resume { _ in done(()) } }
    net.assertEcho(net.connect(client, to: server))
    net.destroy()
  }

  func testDHT_93_resumeAnnouncesAgain() {
    let net = Net()
    let node = net.makeNode()
    let (server, _) = net.listen(on: node)
    net.settle { done in node.suspend { done(()) } }
    XCTAssertTrue(net.nodes.allSatisfy { $0.router.relay(target: server.target ?? Bytes32()) == nil }, "withdrawn")
    net.network.advance(by: 60_000)
    net.settle { done in node.resume { _ in done(()) } }
    net.wait(20_000) { server.relayAddresses.count == 3 }
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  func testDHT_95_handshakeWhileSuspendedOrClosing() {
    let net = Net(4)
    let node = net.nodes[1]
    let (server, accepted) = net.listen(on: node)
    let client = RawClient(net)
    let message = HandshakeMessage(mode: .fromClient, noise: client.noise(server).1)
    net.settle { done in server.suspend { done(()) } }
    client.send(message, to: address(node), target: server.target ?? Bytes32())
    net.network.advance(by: 100)
    XCTAssertEqual(server.handshakeCount, 0)
    server.resume()
    net.network.advance(by: 1000)
    // Half-way through when the server closes.
    client.send(message, to: address(node), target: server.target ?? Bytes32())
    net.wait { server.handshakeCount == 1 }
    var closed = false
    server.close { closed = true }
    net.wait { closed }
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertEqual(node.rawStreamCount, 0)
    client.send(message, to: address(node), target: server.target ?? Bytes32())
    net.network.advance(by: 1000)
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertTrue(accepted.peers.isEmpty)
    net.destroy()
  }

  func testPortInUseIsReported() {
    let net = Net(2)
    let host = net.network.makeHost()
    let blocker = host.makeSocket()
    XCTAssertNoThrow(try blocker.bind(host: .any, port: 4000))
    var options = DHTOptions(bootstrap: net.testnet.bootstrap, host: .any, port: 4000)
    options.anyPort = false
    let node = DHTNode(environment: host, options: options)
    let server = node.makeServer()
    guard case .failure(.bindFailed) = net.settle({ server.listen(completion: $0) }) else {
      return XCTFail("listen must fail")
    }
    guard case .failure(.bindFailed) = net.settle({ node.whenBootstrapped($0) }) else {
      return XCTFail("bootstrap must fail")
    }
    net.settle { done in node.destroy { done(()) } }
    net.destroy()
  }
}
