import Foundation
import HyperCollections
import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// dht-rpc.md Part B of dht-rpc.md: what hostile traffic may cost.
final class AbuseTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)

  override func setUp() { network = VirtualNetwork(seed: 666, isLogging: true) }

  private func randomEndpoint(_ random: inout SeededRandom) -> Endpoint {
    // Anywhere in 11.0.0.0 to 99.255.255.255, which is public.
    Endpoint(
      host: IPv4Address(value: UInt32(11 << 24) + UInt32(random.next() % (88 << 24))),
      port: UInt16(1 + random.next() % 65_535))
  }

  private func answersToAPing(_ node: Endpoint) throws -> Int {
    let peer = try RawPeer(network)
    peer.send(RequestDatagram(tid: 1, to: node, isInternal: true), to: node)
    network.advance(by: 20_000)
    return peer.responses.count
  }

  /// 100,000 datagrams, or as many as RPC_FLOOD says (the million takes most of a minute in a debug build):
  /// noise, noise behind a valid first byte, damaged golden requests, and well-formed requests of identified senders.
  func testFloodOfRandomDatagrams() throws {
    network.isLogging = false
    let node = try makeBootstrapper(network)
    let server = try XCTUnwrap(node.serverSocket)
    let client = try XCTUnwrap(node.clientSocket)
    var handled = 0
    node.onRequest = { request in
      handled += 1
      request.reply([1])
      return true
    }
    let own = try endpoint(of: node)
    var random = SeededRandom(seed: 1)
    let templates: [[UInt8]] = [
      RequestDatagram(tid: 1, to: own, isInternal: true).encode(),
      RequestDatagram(tid: 2, to: own, isInternal: true, command: 1, value: [1, 2]).encode(),
      RequestDatagram(tid: 3, to: own, isInternal: true, command: 2, target: Bytes32()).encode(),
      RequestDatagram(tid: 4, to: own, isInternal: true, command: 3, value: own.encoded).encode(),
      RequestDatagram(tid: 5, to: own, isInternal: true, command: 4, value: [16, 39, 0, 0]).encode(),
      RequestDatagram(tid: 6, to: own, token: Bytes32(), command: 6, target: Bytes32(), value: [1]).encode(),
      ResponseDatagram(tid: 7, to: own, closerNodes: [own], value: [1]).encode(),
    ]
    let total = ProcessInfo.processInfo.environment["RPC_FLOOD"].flatMap { Int($0) } ?? 100_000
    for index in 0..<total {
      let source = randomEndpoint(&random)
      var bytes: [UInt8]
      switch index % 4 {
      case 0: bytes = random.bytes(Int(random.next() % 64))
      case 1: bytes = [random.next() % 2 == 0 ? 3 : 0x13] + random.bytes(Int(random.next() % 127))
      case 2:
        bytes = templates[Int(random.next() % UInt64(templates.count))]
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
        bytes.removeLast(Int(random.next() % 4))
      default:
        var request = RequestDatagram(tid: UInt16(truncatingIfNeeded: index), to: own, isInternal: true)
        request.id = NodeAddress.id(of: source)
        request.command = random.next() % 6
        request.target = Bytes32(random.bytes(32))
        request.value = random.next() % 2 == 0 ? randomEndpoint(&random).encoded : [0x88, 0x13, 0, 0]
        bytes = request.encode()
      }
      (random.next() % 8 == 0 ? client : server).receive(bytes, from: source)
      if index % 1000 == 0 { network.advance(by: 10) }
    }
    let drops = node.statistics.drops
    print(
      "flood: \(total) datagrams; malformed \(drops.malformed), no such request \(drops.unknownTid),",
      "rate limited \(drops.rateLimited), delayed pings refused \(drops.delayedPings),",
      "user commands \(handled), table \(node.nodeCount)")
    XCTAssertGreaterThan(drops.malformed, UInt64(total) / 3)
    XCTAssertGreaterThan(drops.unknownTid, UInt64(total) / 100)
    // Everything is bounded.
    XCTAssertLessThanOrEqual(node.nodeCount, 20 * 20)
    XCTAssertEqual(node.recentNodes().count, node.nodeCount)
    XCTAssertLessThanOrEqual(node.delayedPings.count, Limits.maximumDelayedPings)
    XCTAssertLessThanOrEqual(node.replyBudget.trackedCount, Limits.trackedSources)
    XCTAssertLessThanOrEqual(node.hintBudget.trackedCount, Limits.trackedSources)
    XCTAssertLessThanOrEqual(node.downChecks, Limits.maximumDownChecks)
    XCTAssertLessThanOrEqual(node.repings, Limits.maximumRepings)
    XCTAssertLessThanOrEqual(node.statistics.requestsActive, 100)
    // And the node still works, for a source that may be forged as soon as the flood is over.
    network.advance(by: 1000)
    let answers = try answersToAPing(own)
    XCTAssertEqual(answers, 1)
    XCTAssertEqual(node.delayedPings.count, 0)
    report(
      attack: "\(total) datagrams of noise and damaged requests", bound: "tables within bounds; a ping is answered",
      measured: "\(node.nodeCount) nodes, \(answers) answer")
    destroy([node], network)
  }

  /// dht-rpc.md B-4: a reply with many addresses makes a node visit at most 20 of them, and none that cannot be a
  /// node's.
  func testRPC_B4_C7_closerNodesOfAReply() throws {
    var list = [
      "0.0.0.0:1", "0.1.2.3:1", "224.0.0.1:1", "255.255.255.255:1", "250.1.1.1:1", "8.8.8.8:0", "127.0.0.1:1",
      "10.0.0.1:1", "172.16.0.1:1", "172.31.9.9:1", "192.168.1.1:1", "169.254.1.1:1", "100.64.0.1:1", "9.9.9.1:1",
      "9.9.9.1:1",
    ].compactMap { Endpoint($0) }
    XCTAssertEqual(list.count, 15)
    list += (1...200).map { Endpoint(host: IPv4Address(9, 9, 8, UInt8($0)), port: 9) }
    let peer = try RawPeer(network)
    peer.answerAll(closerNodes: list)
    let node = makeNode(network, bootstrap: [])
    try node.bind()
    var result: Result<Response, RPCError>?
    node.ping(peer.endpoint) { result = $0 }
    network.advance(by: 100)
    let closer = try XCTUnwrap(result).get().closerNodes
    XCTAssertEqual(closer.count, 20)
    XCTAssertEqual(closer.first?.description, "9.9.9.1:1")
    XCTAssertEqual(Set(closer).count, 20)
    let query = node.findNode(target: Bytes32(), options: QueryOptions(seeds: [peer.endpoint]))
    query.start()
    network.advance(by: 20_000)
    let contacted = network.log.filter { $0.source.host == (node.environment as? VirtualHost)?.address }
    XCTAssertEqual(Set(contacted.map(\.destination)).count, 21, "the replier and 20 it named")
    destroy([node], network)

    // Local addresses are fine where the replier or we ourselves are local.
    let local = try XCTUnwrap(Endpoint("192.168.1.1:1"))
    let loopback = try XCTUnwrap(Endpoint("127.0.0.1:1"))
    let publicHost = IPv4Address(9, 9, 9, 9)
    XCTAssertEqual(CloserNodes.accepted([local], from: publicHost, own: nil), [])
    XCTAssertEqual(CloserNodes.accepted([local], from: publicHost, own: IPv4Address(8, 8, 8, 8)), [])
    XCTAssertEqual(CloserNodes.accepted([local], from: publicHost, own: IPv4Address(10, 0, 0, 1)), [local])
    XCTAssertEqual(CloserNodes.accepted([local, loopback], from: .loopback, own: nil), [local, loopback])
    for text in ["172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.167.0.1", "11.0.0.1", "169.253.0.1"] {
      XCTAssertFalse(try XCTUnwrap(IPv4Address(text)).isPrivate, text)
    }
  }

  func testRPC_C7_candidatesOfAQueryAreCapped() throws {
    // Hosts that keep naming new addresses: with id order arranged so that all of them look nearer.
    var counter: UInt32 = 0
    let node = makeNode(network, bootstrap: [])
    try node.bind()
    let peers = try (0..<80).map { _ in try RawPeer(network) }
    for peer in peers {
      peer.onDatagram = { [unowned self, unowned peer] bytes, source in
        guard let incoming = request(bytes) else { return }
        // No id: the closest set stays empty, so everything named is taken.
        var reply = ResponseDatagram(tid: incoming.tid, to: source)
        reply.closerNodes = (0..<20).map { _ in
          counter += 1
          return Endpoint(host: IPv4Address(value: 9 << 24 | counter << 8 | 9), port: 9)
        }
        peer.send(reply, to: source)
      }
    }
    let query = node.findNode(target: Bytes32(), options: QueryOptions(seeds: peers.map(\.endpoint)))
    query.start()
    network.advance(by: 120_000)
    XCTAssertGreaterThan(counter, 1000)
    XCTAssertEqual(query.knownNodeCount, Limits.maximumQueryCandidates)
    query.destroy()
    destroy([node], network)
  }

  /// dht-rpc.md B-5 and C-11: a forged source gets a bounded number of answers.
  func testRPC_B5_C11_repliesPerSourceAreLimited() throws {
    let node = try makeBootstrapper(network)
    let server = try XCTUnwrap(node.serverSocket)
    let own = try endpoint(of: node)
    let ask = RequestDatagram(tid: 1, to: own, isInternal: true, command: 2, target: Bytes32()).encode()
    let victim = IPv4Address(9, 9, 9, 9)
    func flood(_ count: Int) {
      for index in 0..<count { server.receive(ask, from: Endpoint(host: victim, port: UInt16(index % 60_000 + 1))) }
    }
    network.log = []
    flood(3000)
    XCTAssertEqual(network.log.count, 1024)
    XCTAssertEqual(node.statistics.drops.rateLimited, 1976)
    network.advance(by: 1000)
    network.log = []
    flood(3000)
    let pings = network.log.count { $0.bytes.first == DatagramKind.request }
    XCTAssertEqual(network.log.count - pings, 256)
    XCTAssertLessThanOrEqual(pings, Int(Limits.sourceCheckBurst), "to what comes again")
    // Others are not affected, loopback never.
    network.log = []
    server.receive(ask, from: Endpoint(host: IPv4Address(9, 9, 9, 10), port: 1))
    for _ in 0..<3000 { server.receive(ask, from: Endpoint(host: .loopback, port: 1)) }
    XCTAssertEqual(network.log.count, 3001)
    destroy([node], network)
  }

  func testRPC_C11_sourceBudgetForgetsAndRefills() {
    var policy = ReplyBudget.policy
    policy.total = nil
    policy.perSource = Rate(burst: 4, perSecond: 2)
    var budget = SourceBudget(policy, now: 1000)
    let host = IPv4Address(9, 9, 9, 9)
    XCTAssertEqual((0..<6).map { _ in budget.take(host, now: 1000) }, [true, true, true, true, false, false])
    XCTAssertFalse(budget.take(host, now: 1400))
    XCTAssertTrue(budget.take(host, now: 1900))
    XCTAssertFalse(budget.take(host, now: 1900))
    XCTAssertEqual((0..<6).map { _ in budget.take(host, now: 900_000_000) }, [true, true, true, true, false, false])
    for value in 0..<20_000 { _ = budget.take(IPv4Address(value: 9 << 24 + UInt32(value)), now: 900_000_000) }
    XCTAssertLessThanOrEqual(budget.trackedCount, Limits.trackedSources)
  }

  /// dht-rpc.md B-7: one source cannot keep a node busy with liveness checks.
  func testRPC_B7_downHintsPerSourceAreLimited() throws {
    let node = try makeBootstrapper(network)
    let server = try XCTUnwrap(node.serverSocket)
    let own = try endpoint(of: node)
    let peers = try (0..<40).map { _ in try RawPeer(network) }
    for peer in peers {
      peer.answerAll()
      node.addNode(peer.endpoint)
    }
    let known = node.recentNodes()
    XCTAssertGreaterThan(known.count, 30)
    let source = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    for endpoint in known {
      let hint = RequestDatagram(tid: 1, to: own, isInternal: true, command: 3, value: endpoint.encoded)
      server.receive(hint.encode(), from: source)
      network.advance(by: 10)
    }
    XCTAssertEqual(node.statistics.ping.tx, Limits.downHintBurst)
    XCTAssertEqual(node.statistics.downHint.served, UInt64(known.count))
    XCTAssertEqual(node.recentNodes().count, known.count)
    destroy([node], network)
  }

  /// dht-rpc.md B-1: answers from an address that was not asked change nothing, also with the right transaction id.
  func testRPC_B1_forgedAnswersAreIgnored() throws {
    let asked = try RawPeer(network)
    let forger = try RawPeer(network)
    let node = makeNode(network, bootstrap: [])
    try node.bind()
    var result: Result<Response, RPCError>?
    let pending = node.request(RequestMessage(command: 1), to: asked.endpoint) { result = $0 }
    network.advance(by: 10)
    let from = try XCTUnwrap(asked.received.first?.from)
    forger.send(ResponseDatagram(tid: pending.tid, to: from, id: forger.id, value: [6]), to: from)
    network.advance(by: 10)
    XCTAssertNil(result)
    XCTAssertEqual(node.nodeCount, 0)
    XCTAssertEqual(node.sampler.count, 0, "and it is no NAT sample")
    report(
      attack: "an answer with the right transaction id from another address", bound: "no node, no sample, no result",
      measured: "\(node.nodeCount) nodes, \(node.sampler.count) samples")
    asked.send(ResponseDatagram(tid: pending.tid, to: from, value: [5]), to: from)
    asked.send(ResponseDatagram(tid: pending.tid, to: from, value: [4]), to: from)
    network.advance(by: 10)
    XCTAssertEqual(try result?.get().value, [5])
    XCTAssertEqual(node.statistics.drops.unknownTid, 1, "the second answer is dropped")
    destroy([node], network)
  }

  /// dht-rpc.md E-6: what arrives on another socket than the one we send from says nothing about that one's mapping.
  func testRPC_E6_externalTrafficIsNoSample() throws {
    let node = makeNode(network, bootstrap: [])
    try node.bind()
    let server = try XCTUnwrap(node.serverSocket)
    let client = try XCTUnwrap(node.clientSocket)
    let peer = try RawPeer(network)
    let observed = Endpoint(host: IPv4Address(5, 5, 5, 5), port: 5)
    /// Answers a ping on one of the sockets.
    func answer(on socket: any DatagramSocket) {
      let ping = node.ping(peer.endpoint) { _ in }
      let response = ResponseDatagram(tid: ping.tid, to: observed, id: peer.id)
      socket.receive(response.encode(), from: peer.endpoint)
    }
    answer(on: server)
    XCTAssertEqual(node.nodeCount, 1)
    XCTAssertEqual(node.sampler.count, 0)
    // A request says nothing at all: its source may be forged.
    let hello = RequestDatagram(tid: 1, to: observed, id: peer.id, isInternal: true).encode()
    client.receive(hello, from: peer.endpoint)
    XCTAssertEqual(node.sampler.count, 0)
    answer(on: client)
    XCTAssertEqual(node.host, observed.host)
    XCTAssertEqual(node.port, 5)
    answer(on: client)
    XCTAssertEqual(node.sampler.count, 1, "at most every 30 min per node")
    node.tick += Limits.oldNodeTicks
    answer(on: client)
    XCTAssertEqual(node.sampler.count, 2)
    destroy([node], network)
  }

  func testOversizedRepliesShrinkOrAreDropped() throws {
    let node = try makeBootstrapper(network)
    for index in 1...20 { node.addNode(Endpoint(host: IPv4Address(9, 9, UInt8(index), 9), port: 1)) }
    let own = try endpoint(of: node)
    let peer = try RawPeer(network)
    var size = 1900
    node.onRequest = { request in
      request.reply([UInt8](repeating: 1, count: size))
      return true
    }
    let ask = RequestDatagram(tid: 1, to: own, command: 9, target: Bytes32())
    for (count, hasCloserNodes, answers) in [(1800, true, 1), (1900, false, 1), (2040, false, 0)] {
      size = count
      peer.clear()
      peer.send(ask, to: own)
      network.advance(by: 50)
      XCTAssertEqual(peer.responses.count, answers)
      XCTAssertEqual(peer.responses.first?.closerNodes != nil, hasCloserNodes)
    }
    XCTAssertEqual(node.statistics.drops.oversizedReplies, 1)
    destroy([node], network)
  }
}
