import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// What is answered under packets with invented sources: dht-rpc.md B-5, C-11 and C-13.
final class ReplyBudgetTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)
  private var node: RPCNode!
  private var own: Endpoint!

  override func setUpWithError() throws {
    network = VirtualNetwork(seed: 11, isLogging: true)
    node = try makeBootstrapper(network)
    own = try endpoint(of: node)
  }

  override func tearDown() { destroy([node], network) }

  private func ping(_ tid: UInt16 = 1, id: Bytes32? = nil, to place: Endpoint? = nil) -> [UInt8] {
    RequestDatagram(tid: tid, to: place ?? own, id: id, isInternal: true).encode()
  }

  /// Puts pings in the name of `host` into the node for a while, 1,000 a second, from ports of their own.
  private func spoof(_ host: IPv4Address, milliseconds: UInt64, tid: () -> UInt16 = { 1 }) {
    for _ in 0..<milliseconds {
      node.serverSocket?.receive(ping(tid()), from: Endpoint(host: host, port: UInt16.random(in: 1...1023)))
      network.advance(by: 1)
    }
  }

  private func answers(_ peer: RawPeer, of requests: Int) -> Int {
    peer.clear()
    for tid in 0..<requests {
      peer.socket.send(ping(UInt16(tid)), to: own)
      spoof(peer.endpoint.host, milliseconds: 20)
    }
    return peer.responses.count
  }

  /// 1,000 pings a second in the name of a host (security notes: 3 of 8 connects to it failed).
  func testRPC_C11_spoofedPingsTakeNothingFromProvenHosts() throws {
    node.onRequest = { request in
      request.reply(nil)
      return true
    }
    // Nothing is known of the first, the second has echoed a token, the third has answered, the fourth is in the table.
    let peers = try (0..<4).map { _ in try RawPeer(network) }
    let ask = RequestDatagram(tid: 5, to: own, command: 9, target: Bytes32())
    peers[1].send(ask, to: own)
    network.advance(by: 100)
    var echo = ask
    echo.token = try XCTUnwrap(peers[1].responses.first?.token)
    peers[1].send(echo, to: own)
    peers[2].answerAll(withID: false)
    node.ping(peers[2].endpoint) { _ in }
    peers[3].answerAll()
    node.addNode(peers[3].endpoint)
    network.advance(by: 100)
    for peer in peers { peer.onDatagram = nil }
    var counts: [Int] = []
    for (index, peer) in peers.enumerated() {
      spoof(peer.endpoint.host, milliseconds: 3000)
      let count = answers(peer, of: 100)
      counts.append(count)
      if index == 0 { XCTAssertLessThan(count, 60) } else { XCTAssertEqual(count, 100, "peer \(index)") }
    }
    report(
      attack: "1,000 pings a second in the name of a host", bound: "100 of 100 answers if it has shown itself",
      measured: "\(counts[1]), \(counts[2]), \(counts[3]) (token, answer, table); \(counts[0]) if unknown")
  }

  /// A client that echoes no token, as deployed ones, under 1,000 pings a second in the name of its host: what it
  /// repeats is asked to show itself, and it has a budget of its own from then on.
  func testRPC_C11_aClientThatRepeatsItselfIsAskedWhetherItIsThere() throws {
    var tid: UInt16 = 0
    func next() -> UInt16 {
      tid &+= 1
      return tid
    }
    let peer = try RawPeer(network)
    spoof(peer.endpoint.host, milliseconds: 3000, tid: next)
    // It answers what nodes ask, and its first request is one that is refused.
    peer.answerAll(withID: false)
    peer.clear()
    var isAnswered = false
    func request(_ tid: UInt16, times: Int) -> Int? {
      for number in 1...times {
        peer.socket.send(ping(tid), to: own)
        spoof(peer.endpoint.host, milliseconds: 1000, tid: next)
        if peer.responses.contains(where: { $0.tid == tid }) { return number }
      }
      return nil
    }
    var transmissions: [Int] = []
    for number in 0..<20 as Range<UInt16> {
      let count = request(60_000 + number, times: 2)
      transmissions.append(try XCTUnwrap(count, "request \(number)"))
      isAnswered = isAnswered || count ?? 1 > 1
    }
    XCTAssertTrue(isAnswered, "one was refused: \(transmissions)")
    XCTAssertEqual(transmissions.suffix(10), ArraySlice(repeating: 1, count: 10), "\(transmissions)")
    XCTAssertEqual(peer.requests.count, 1, "one ping")
    report(
      attack: "1,000 pings a second in the name of the host of a client that echoes no token",
      bound: "20 of 20 requests answered within two transmissions",
      measured: "\(transmissions.count) of 20, \(transmissions.filter { $0 > 1 }.count) after the first")
  }

  /// Requests of one command, 1,000 a second in the name of a host: others of that host are answered, wherever they
  /// come from.
  func testRPC_C11_aYieldingCommandLeavesRoomForTheOthers() throws {
    node.yieldingCommand = 9
    var handled = 0
    node.onRequest = { _ in
      handled += 1
      return true
    }
    let peer = try RawPeer(network)
    var tid: UInt16 = 0
    func spoof(_ milliseconds: Int) {
      for _ in 0..<milliseconds {
        tid &+= 1
        let from = Endpoint(host: peer.endpoint.host, port: UInt16.random(in: 1...1023))
        let request = RequestDatagram(tid: tid, to: own, command: 9, target: Bytes32())
        node.serverSocket?.receive(request.encode(), from: from)
        network.advance(by: 1)
      }
    }
    spoof(5000)
    XCTAssertEqual(handled, 768 + 5 * 256, accuracy: 2)
    for tid in 0..<100 as Range<UInt16> {
      peer.socket.send(ping(tid), to: own)
      spoof(10)
    }
    XCTAssertEqual(peer.responses.count, 100)
    XCTAssertGreaterThan(handled, 768 + 5 * 256 + 100, "it goes on, too")
    // The same number for one that is not the yielding one.
    let user = RequestDatagram(tid: 7, to: own, command: 8, target: Bytes32()).encode()
    let before = handled
    node.serverSocket?.receive(user, from: Endpoint(host: peer.endpoint.host, port: 7))
    XCTAssertEqual(handled, before + 1)
    report(
      attack: "1,000 handshakes a second in the name of a client's host, at one node",
      bound: "100 of 100 other requests answered", measured: "\(peer.responses.count)")
  }

  /// Invented hosts come faster than they can be remembered: the first request of the yielding command of one that is
  /// new is not heard, and its copy is.
  func testRPC_C11_theYieldingCommandOfNewHostsIsHeardTheSecondTimeInACrowd() {
    node.yieldingCommand = 9
    var hosts: Set<IPv4Address> = []
    node.onRequest = { request in
      hosts.insert(request.from.endpoint.host)
      return true
    }
    let request = RequestDatagram(tid: 1, to: own, command: 9, target: Bytes32()).encode()
    func crowd(_ range: Range<UInt32>) {
      for index in range {
        node.serverSocket?.receive(request, from: Endpoint(host: IPv4Address(value: 11 << 24 + index), port: 1))
        if index % 4 == 0 { network.advance(by: 1) }
      }
    }
    crowd(0..<6000)
    hosts = []
    crowd(6000..<8000)
    XCTAssertEqual(hosts.count, 0)
    let client = Endpoint(host: IPv4Address(12, 1, 1, 1), port: 1)
    node.serverSocket?.receive(request, from: client)
    XCTAssertEqual(hosts.count, 0)
    crowd(8000..<10_000)
    node.serverSocket?.receive(request, from: client)
    XCTAssertEqual(hosts, [client.host])
  }

  /// A flood whose messages each come again competes for these pings, which are bounded.
  func testRPC_C13_pingsToThoseThatWaitAreBounded() {
    network.log = []
    for _ in 0..<5 {
      for index in 0..<20_000 as Range<UInt32> {
        node.serverSocket?.receive(ping(), from: Endpoint(host: IPv4Address(value: 11 << 24 + index), port: 1))
      }
      network.advance(by: 1000)
    }
    let pings = network.log.filter { $0.source == own && request($0.bytes) != nil }
    XCTAssertGreaterThan(node.statistics.drops.rateLimited, 40_000)
    XCTAssertGreaterThan(pings.count, 32)
    XCTAssertLessThanOrEqual(pings.count, 256 + 5 * 64)
    XCTAssertEqual(Set(pings.map(\.destination)).count, pings.count, "one an address")
    report(
      attack: "20,000 pings a second of invented hosts, each again after a second", bound: "576 pings to them in 5 s",
      measured: "\(pings.count)")
  }

  /// Also when the very port is forged, an answer to what this node has forwarded gets through: its transaction id is
  /// known on its path only.
  func testRPC_C11_answersToForwardedRequestsAreNotCharged() throws {
    let requester = Endpoint(host: IPv4Address(9, 9, 9, 1), port: 1)
    let server = Endpoint(host: IPv4Address(9, 9, 9, 2), port: 2)
    var seen: [Endpoint?] = []
    node.onRequest = { request in
      if request.from.endpoint == requester {
        request.relay([1], to: server)
      } else {
        seen.append(request.answers)
      }
      return true
    }
    let target = Bytes32(repeating: 6)
    func deliver(_ tid: UInt16, _ target: Bytes32, from source: Endpoint) {
      let datagram = RequestDatagram(tid: tid, to: own, command: 0, target: target, value: [1])
      node.serverSocket?.receive(datagram.encode(), from: source)
    }
    for _ in 0..<2000 { deliver(1, Bytes32(), from: server) }
    XCTAssertEqual(seen.count, 1024)
    seen = []
    deliver(77, target, from: requester)
    deliver(78, target, from: server)
    deliver(77, Bytes32(), from: server)
    XCTAssertEqual(seen, [], "another exchange")
    // As many answers as a forward may bring, and no more.
    for _ in 0..<5 { deliver(77, target, from: server) }
    XCTAssertEqual(seen, [requester, requester])
    // A requester that repeats its request is no answer.
    deliver(77, target, from: requester)
    deliver(77, target, from: requester)
    XCTAssertEqual(seen.count, 2)
    network.advance(by: 60_000)
    for _ in 0..<2000 { deliver(1, Bytes32(), from: server) }
    seen = []
    deliver(77, target, from: server)
    XCTAssertEqual(seen, [], "after a while it is an exchange of its own")
  }

  /// Sources that never existed: what all of them draw is bounded.
  func testRPC_B5_answersToInventedSourcesAreBounded() {
    network.log = []
    for index in 0..<40_000 as Range<UInt32> {
      node.serverSocket?.receive(ping(), from: Endpoint(host: IPv4Address(value: 11 << 24 + index), port: 1))
    }
    XCTAssertEqual(network.log.count, Int(Limits.totalRequestBurst))
    network.advance(by: 1000)
    network.log = []
    for index in 0..<40_000 as Range<UInt32> {
      node.serverSocket?.receive(ping(), from: Endpoint(host: IPv4Address(value: 12 << 24 + index), port: 1))
    }
    XCTAssertEqual(network.log.count, Int(Limits.totalRequestsPerSecond))
    report(
      attack: "40,000 pings of invented hosts in a second", bound: "\(Limits.totalRequestsPerSecond) answers",
      measured: "\(network.log.count)")
  }

  /// Unknown nodes ask in the name of hosts that never existed, 1,000 a second: one whose request carries a
  /// token is pinged, and enters the table.
  func testRPC_C13_inventedRequestersDoNotKeepProvenOnesOut() throws {
    node.onRequest = { request in
      request.reply(nil)
      return true
    }
    var number: UInt32 = 0
    func flood(_ milliseconds: Int) {
      for _ in 0..<milliseconds {
        number += 1
        let source = Endpoint(host: IPv4Address(value: 11 << 24 + number * 257), port: 1)
        node.serverSocket?.receive(ping(id: NodeAddress.id(of: source)), from: source)
        network.advance(by: 1)
      }
    }
    flood(3000)
    let before = network.log.count
    let peers = try (0..<8).map { _ in try RawPeer(network) }
    for peer in peers {
      let ask = RequestDatagram(tid: 5, to: own, command: 9, target: Bytes32())
      peer.send(ask, to: own)
      network.advance(by: 100)
      var again = ask
      again.token = try XCTUnwrap(peer.responses.first?.token)
      again.id = NodeAddress.id(of: peer.endpoint)
      peer.answerAll()
      peer.send(again, to: own)
      flood(500)
    }
    let learned = peers.count { node.table.contains(NodeAddress.id(of: $0.endpoint)) }
    XCTAssertEqual(learned, peers.count)
    XCTAssertGreaterThan(network.log.count, before)
    report(
      attack: "1,000 requests a second of nodes that do not exist", bound: "8 of 8 nodes that echo a token are pinged",
      measured: "\(learned) of \(peers.count)")
  }

  /// Delayed answers for hosts that do not exist take all places, and go on: one that has shown itself gets its answer.
  func testRPC_28_inventedRequestersDoNotKeepDelayedAnswers() throws {
    func wait(_ tid: UInt16) -> [UInt8] {
      RequestDatagram(tid: tid, to: own, isInternal: true, command: 4, value: [0x10, 0x27, 0, 0]).encode()
    }
    func flood(_ range: Range<UInt32>) {
      for number in range {
        let source = Endpoint(host: IPv4Address(value: 11 << 24 + number), port: 1)
        node.serverSocket?.receive(wait(1), from: source)
      }
    }
    flood(0..<3000)
    XCTAssertEqual(node.delayedPings.count, Limits.maximumDelayedPings)
    let (stranger, friend) = (try RawPeer(network), try RawPeer(network))
    friend.answerAll(withID: false)
    node.ping(friend.endpoint) { _ in }
    network.advance(by: 100)
    friend.onDatagram = nil
    for peer in [stranger, friend] {
      peer.clear()
      peer.socket.send(wait(7), to: own)
    }
    network.advance(by: 500)
    flood(3000..<6000)
    XCTAssertEqual(node.delayedPings.count, Limits.maximumDelayedPings)
    network.advance(by: 11_000)
    XCTAssertEqual(friend.responses.count, 1, "no forged request takes the place of a proven one")
    XCTAssertEqual(stranger.responses.count, 0)
    XCTAssertEqual(node.delayedPings.count, 0)
  }

  /// A secret that leaks says nothing about later ones: none is made of those before.
  func testRPC_C11_tokenSecretsAreNotChained() throws {
    _ = node.issueToken(for: own.host)
    let before = try XCTUnwrap(node.tokens)
    network.advance(by: Limits.drainInterval * UInt64(Limits.drainsPerTokenRotation))
    _ = node.issueToken(for: own.host)
    let after = try XCTUnwrap(node.tokens)
    XCTAssertEqual(after.previous, before.current, "the last one is still accepted")
    for secret in [before.previous, before.current] {
      XCTAssertNotEqual(after.current, Blake2b.hash32(secret.bytes))
    }
  }

  // MARK: Nodes that ask

  /// A request brings no node into the table, and nothing it says of this node's address counts; one ping decides.
  func testRPC_C13_requestersAreAskedBeforeTheyAreNodes() throws {
    let liar = Endpoint(host: IPv4Address(6, 6, 6, 6), port: 6)
    let silent = try RawPeer(network)
    let living = try RawPeer(network)
    living.answerAll()
    for _ in 0..<10 {
      for peer in [silent, living] { peer.socket.send(ping(id: peer.id, to: liar), to: own) }
      network.advance(by: 1000)
    }
    XCTAssertEqual(node.recentNodes(), [living.endpoint])
    XCTAssertEqual(silent.requests.count, 1, "asked once a minute")
    XCTAssertEqual(living.requests.count, 1)
    XCTAssertEqual(node.sampler.host, own.host)
    XCTAssertEqual(node.sampler.count, 2, "the address that it was started with, and what the living one has answered")
    XCTAssertEqual(node.statistics.timeouts, 0, "invented sources do not make the network look silent")
    network.advance(by: 120_000)
    silent.answerAll()
    silent.socket.send(ping(id: silent.id), to: own)
    network.advance(by: 1000)
    XCTAssertEqual(node.nodeCount, 2)
  }

  func testRPC_C13_pingsToRequestersAreBounded() {
    network.log = []
    for index in 0..<5000 as Range<UInt32> {
      let source = Endpoint(host: IPv4Address(value: 11 << 24 + index << 8 + 1), port: 1)
      node.serverSocket?.receive(ping(id: NodeAddress.id(of: source)), from: source)
      network.advance(by: 1)
    }
    let pings = network.log.filter { $0.source == own && request($0.bytes) != nil }
    XCTAssertEqual(node.nodeCount, 0)
    XCTAssertGreaterThan(pings.count, 64)
    XCTAssertLessThanOrEqual(pings.count, 256 + 5 * 16)
    report(
      attack: "5,000 invented nodes ask within 5 s", bound: "none in the table, 336 pings to them",
      measured: "\(node.nodeCount) in the table, \(pings.count) pings")
    XCTAssertTrue(node.isOnline)
  }

  /// A bootstrapper that sends no requests of its own fills its table, and small networks work.
  func testRPC_C13_smallNetworksFindThemselves() throws {
    for size in 2...4 {
      let network = VirtualNetwork(seed: UInt64(size), isLogging: true)
      let nodes = try makeSwarm(network, size: size)
      network.advance(by: 30_000)
      for node in nodes { XCTAssertEqual(node.nodeCount, size - 1, "\(size) nodes") }
      destroy(nodes, network)
    }
  }
}
