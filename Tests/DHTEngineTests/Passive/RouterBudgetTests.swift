import HyperCrypto
import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// What strangers can make a router send, and what they can keep others from sending: hyperdht.md B-6.
final class RouterBudgetTests: XCTestCase {
  private let client = Endpoint(host: IPv4Address(31, 1, 1, 1), port: 1111)
  private let victim = Endpoint(host: IPv4Address(32, 2, 2, 2), port: 2222)
  private let server = Endpoint(host: IPv4Address(33, 3, 3, 3), port: 3333)
  private let other = Endpoint(host: IPv4Address(34, 4, 4, 4), port: 4444)
  private let pair = KeyPair(seed: Bytes32(repeating: 2))
  private var target: Bytes32 { Target.of(publicKey: pair.publicKey) }

  private func makeNode(_ configuration: RouterConfiguration = RouterConfiguration()) throws -> PassiveNode {
    let node = try PassiveNode(routerConfiguration: configuration)
    node.announce(pair, target: target, from: server)
    return node
  }

  /// The number of packets that the node sends for it.
  private func handshake(
    _ node: PassiveNode, _ mode: RoutingMode, peer: Endpoint? = nil, from source: Endpoint, continues: Bool = false
  ) -> Int {
    let message = HandshakeMessage(mode: mode, noise: [1, 2, 3], peerAddress: peer)
    return node.request(
      .peerHandshake, target: target, value: message.encoded, from: source, continues: continues
    ).count
  }

  private func holepunch(
    _ node: PassiveNode, to peer: Endpoint, from source: Endpoint, withToken: Bool = false
  ) -> Int {
    let message = HolepunchMessage(mode: .fromClient, id: 7, payload: [1], peerAddress: peer)
    return node.request(
      .peerHolepunch, target: target, value: message.encoded, from: source, withToken: withToken
    ).count
  }

  func testDHT_B6_forwardingIsRatedPerSource() throws {
    var configuration = RouterConfiguration()
    configuration.forwards.burst = 10
    configuration.forwards.perSecond = 5
    let node = try makeNode(configuration)
    XCTAssertEqual((0..<50).reduce(0) { sum, _ in sum + handshake(node, .fromClient, from: client) }, 8)
    XCTAssertEqual(node.router.statistics.rateLimited, 42)
    // A quarter is left for the hole punching that follows.
    XCTAssertEqual((0..<50).reduce(0) { sum, _ in sum + holepunch(node, to: victim, from: client) }, 2)
    // Others are not affected.
    XCTAssertEqual(handshake(node, .fromClient, from: other), 1)
    // An announcement gives no right to send to any address.
    let punchSocket = Endpoint(host: server.host, port: 9)
    XCTAssertEqual(
      (0..<50).reduce(0) { sum, _ in sum + handshake(node, .fromServer, peer: victim, from: punchSocket) }, 8)
    node.network.advance(by: 1000)
    XCTAssertEqual((0..<50).reduce(0) { sum, _ in sum + holepunch(node, to: victim, from: client) }, 5)
  }

  /// A server that is asked much through this node answers much, from whatever socket; to the clients that asked.
  func testDHT_B6_answersToForwardedMessagesAreNotCharged() throws {
    var configuration = RouterConfiguration()
    configuration.forwards.burst = 10
    configuration.forwards.perSecond = 5
    let node = try makeNode(configuration)
    let punchSocket = Endpoint(host: server.host, port: 9)
    for index in 0..<100 {
      let client = Endpoint(host: IPv4Address(35, 1, 1, UInt8(index)), port: 5)
      XCTAssertEqual(handshake(node, .fromClient, from: client), 1)
      XCTAssertEqual(handshake(node, .fromServer, peer: client, from: punchSocket, continues: true), 1)
    }
    XCTAssertEqual(node.router.statistics.rateLimited, 0)
    // Towards another address it is charged, with the right transaction id too.
    var sent = 0
    for _ in 0..<30 {
      node.network.advance(by: 200)
      XCTAssertEqual(handshake(node, .fromClient, from: client), 1)
      for _ in 0..<3 { sent += handshake(node, .fromServer, peer: victim, from: punchSocket, continues: true) }
    }
    XCTAssertEqual(sent, 37, "eight at once and five a second, of which the first fifth finds no room")
  }

  /// 64 sources together, towards one host (security notes: 49,121 packets in four seconds).
  func testDHT_B6_forwardingIsRatedPerDestination() throws {
    let node = try makeNode()
    var sent = 0
    for index in 0..<32_000 {
      let source = Endpoint(host: IPv4Address(44, 170, 9, UInt8(index % 64)), port: 9)
      sent += holepunch(node, to: victim, from: source)
      if index % 8 == 0 { node.network.advance(by: 1) }
    }
    XCTAssertLessThanOrEqual(sent, 512 + 4 * 256)
    XCTAssertGreaterThan(sent, 4 * 256 - 100)
    XCTAssertGreaterThan(holepunch(node, to: other, from: client), 0, "other destinations are free")
    report(
      attack: "32,000 packets of 64 sources to forward to one host, in 4 s", bound: "1,536 are", measured: "\(sent)")
  }

  /// Under such a flood a client that connects now and then reaches the host that all want to reach.
  func testDHT_B6_lightSourcesAreServedFirst() throws {
    let node = try makeNode()
    var served = 0
    var tried = 0
    for index in 0..<32_000 {
      let source = Endpoint(host: IPv4Address(44, 170, 9, UInt8(index % 64)), port: 9)
      _ = handshake(node, .fromClient, from: source)
      if index % 8 == 0 { node.network.advance(by: 1) }
      // A connect with hole punching once in 400 ms, each time of another client.
      guard index > 8000, index % 3200 < 5 * 8, index % 8 == 0 else { continue }
      tried += 1
      served += handshake(node, .fromClient, from: Endpoint(host: IPv4Address(45, 1, 1, UInt8(index / 3200)), port: 7))
    }
    XCTAssertEqual(tried, 35)
    XCTAssertEqual(served, tried)
    report(
      attack: "the same, and clients that connect to that host", bound: "35 of 35 handshakes forwarded",
      measured: "\(served) of \(tried)")
  }

  /// The same for the total: many sources and as many destinations.
  func testDHT_B6_lightSourcesAreServedWhileTheTotalIsUsedUp() throws {
    var configuration = RouterConfiguration()
    configuration.totalForwards.burst = 1000
    configuration.totalForwards.perSecond = 500
    let node = try makeNode(configuration)
    var sent = 0
    var served = 0
    for index in 0..<16_000 {
      let source = Endpoint(host: IPv4Address(44, 170, 9, UInt8(index % 64)), port: 9)
      let destination = Endpoint(host: IPv4Address(46, 1, UInt8(index >> 8 & 0xff), UInt8(index & 0xff)), port: 9)
      sent += holepunch(node, to: destination, from: source)
      if index % 8 == 0 { node.network.advance(by: 1) }
      if index % 800 == 799 {
        served += handshake(node, .fromClient, from: Endpoint(host: IPv4Address(45, 1, 1, UInt8(index / 800)), port: 7))
      }
    }
    XCTAssertLessThanOrEqual(sent, 1000 + 2 * 500)
    XCTAssertEqual(served, 20)
  }

  /// Sources that were never seen before are all light; the last quarter is for those that have shown themselves.
  func testDHT_B6_provenSourcesHaveTheLastQuarter() throws {
    let node = try makeNode()
    XCTAssertEqual(holepunch(node, to: other, from: client, withToken: true), 1)
    for index in 0..<2000 {
      let source = Endpoint(host: IPv4Address(44, 171, UInt8(index >> 8), UInt8(index & 0xff)), port: 9)
      _ = holepunch(node, to: victim, from: source)
    }
    XCTAssertEqual(holepunch(node, to: victim, from: Endpoint(host: client.host, port: 8)), 0)
    XCTAssertEqual(holepunch(node, to: victim, from: client), 1)
  }

  // MARK: What forged sources cannot be told from

  /// Handshakes of sources that were never seen before, so many for each of so many milliseconds.
  private func flood(_ node: PassiveNode, milliseconds: Int, random: inout SeededRandom) -> Int {
    var sent = 0
    for _ in 0..<milliseconds {
      for _ in 0..<4 {
        let host = IPv4Address(value: 0x4480_0000 | UInt32(random.next() % 0x7f_0000))
        sent += handshake(node, .fromClient, from: Endpoint(host: host, port: UInt16(1024 + random.next() % 60_000)))
      }
      node.network.advance(by: 1)
    }
    return sent
  }

  /// The datagram of a handshake, the same at every transmission.
  private func message(_ node: PassiveNode, tid: UInt16) -> [UInt8] {
    let value = HandshakeMessage(mode: .fromClient, noise: [9, 9]).encoded
    return RequestDatagram(
      tid: tid, to: node.address, command: Command.peerHandshake.rawValue, target: target, value: value
    ).encode()
  }

  /// A client that waits for its answer asks again, and has a part of the rate that the others do not reach.
  func testDHT_B6_whatComesAgainIsServedBeforeWhatIsNew() throws {
    for seed in 1...3 as ClosedRange<UInt64> {
      var random = SeededRandom(seed: seed)
      let node = try makeNode()
      _ = flood(node, milliseconds: 1000, random: &random)
      var waiting: [(bytes: [UInt8], source: Endpoint)] = []
      for number in 0..<40 as Range<UInt8> {
        let source = Endpoint(host: IPv4Address(45, 1, 1, number), port: 7)
        let bytes = message(node, tid: UInt16(number))
        if node.deliver(bytes, from: source).isEmpty { waiting.append((bytes, source)) }
        XCTAssertTrue(node.deliver(bytes, from: source).isEmpty, "a copy at once says nothing")
      }
      XCTAssertGreaterThan(waiting.count, 30, "seed \(seed)")
      _ = flood(node, milliseconds: 1000, random: &random)
      XCTAssertTrue(
        node.deliver(message(node, tid: 0), from: Endpoint(host: client.host, port: 7)).isEmpty, "another's message")
      // Half of what the host may get.
      for client in waiting {
        _ = flood(node, milliseconds: 8, random: &random)
        XCTAssertEqual(node.deliver(client.bytes, from: client.source).count, 1, "seed \(seed)")
      }
    }
  }

  /// A client that echoes no token, as deployed ones, under handshakes in the name of its host: one of its own that
  /// comes again has it asked whether it is there, and from its answer on it pays for nothing that is sent in its name.
  func testDHT_B6_whatWaitsIsAskedWhetherItIsThere() throws {
    for seed in 1...3 as ClosedRange<UInt64> {
      var random = SeededRandom(seed: seed)
      let node = try makeNode()
      func spoof(_ milliseconds: Int) {
        for _ in 0..<milliseconds {
          for _ in 0..<4 {
            let source = Endpoint(host: client.host, port: UInt16(2000 + random.next() % 60_000))
            _ = handshake(node, .fromClient, from: source)
          }
          node.network.advance(by: 1)
        }
        for port in 1...3 as ClosedRange<UInt16> {
          _ = handshake(node, .fromClient, from: Endpoint(host: client.host, port: port))
        }
      }
      spoof(2000)
      let bytes = message(node, tid: 9)
      XCTAssertTrue(node.deliver(bytes, from: client).isEmpty, "seed \(seed)")
      spoof(1000)
      node.deliver(bytes, from: client)
      let ping = try XCTUnwrap(node.forwarded, "seed \(seed)")
      XCTAssertTrue(ping.isInternal, "a ping, and no handshake for the server")
      XCTAssertEqual(node.sent.first?.destination, client)
      let answer = ResponseDatagram(tid: ping.tid, to: node.address).encode()
      // What it waits for goes on at once.
      XCTAssertEqual(node.deliver(answer, from: client).map(\.destination), [server], "seed \(seed)")
      for tid in 9..<29 as Range<UInt16> {
        spoof(100)
        XCTAssertEqual(node.deliver(message(node, tid: tid), from: client).map(\.destination), [server], "\(tid)")
      }
    }
  }

  /// And in the name of one host: it comes from other ports than the handshake, which have shown nothing yet.
  func testDHT_B6_handshakesInAHostsNameLeaveItItsHolepunching() throws {
    let node = try makeNode()
    func spoof(_ milliseconds: Int) {
      for index in 0..<milliseconds {
        for number in 0..<2 {
          let port = UInt16(2000 + (index * 2 + number) % 60_000)
          _ = handshake(node, .fromClient, from: Endpoint(host: client.host, port: port))
        }
        node.network.advance(by: 1)
      }
    }
    spoof(8000)
    for port in 100..<140 as Range<UInt16> {
      XCTAssertEqual(holepunch(node, to: server, from: Endpoint(host: client.host, port: port)), 1, "\(port)")
      spoof(50)
    }
  }

  /// Hole punching follows a handshake that was forwarded: more handshakes do not keep it up.
  func testDHT_B6_handshakesLeaveRoomForHolepunching() throws {
    for seed in 1...3 as ClosedRange<UInt64> {
      var random = SeededRandom(seed: seed)
      let node = try makeNode()
      _ = flood(node, milliseconds: 1000, random: &random)
      for number in 0..<40 as Range<UInt8> {
        let source = Endpoint(host: IPv4Address(45, 1, 1, number), port: 7)
        _ = flood(node, milliseconds: 8, random: &random)
        XCTAssertEqual(holepunch(node, to: server, from: source), 1, "seed \(seed)")
      }
    }
  }

  /// What is remembered of refused messages is bounded.
  func testDHT_B6_refusalsAreBounded() throws {
    var configuration = RouterConfiguration()
    configuration.maximumTrackedRefusals = 50
    var random = SeededRandom(seed: 4)
    let node = try makeNode(configuration)
    _ = flood(node, milliseconds: 1000, random: &random)
    XCTAssertLessThanOrEqual(node.router.budget.refusalCount, 100)
    XCTAssertGreaterThan(node.router.budget.refusalCount, 50)
    node.network.advance(by: 2 * Limits.Router.refusalMemory)
    XCTAssertEqual(handshake(node, .fromClient, from: client), 0, "new after a crowd")
    node.network.advance(by: 10)
    XCTAssertEqual(handshake(node, .fromClient, from: client), 1)
  }
}
