import HyperCrypto
import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Forwarding of handshakes and hole-punch messages: hyperdht.md 5, A-5, and hyperdht.md B-2, B-3, B-6, B-13.
final class RouterTests: XCTestCase {
  private let client = Endpoint(host: IPv4Address(31, 1, 1, 1), port: 1111)
  private let relay = Endpoint(host: IPv4Address(32, 2, 2, 2), port: 2222)
  private let server = Endpoint(host: IPv4Address(33, 3, 3, 3), port: 3333)
  private let other = Endpoint(host: IPv4Address(34, 4, 4, 4), port: 4444)
  private let pair = KeyPair(seed: Bytes32(repeating: 2))
  private var target: Bytes32 { Target.of(publicKey: pair.publicKey) }
  private let noise: [UInt8] = [1, 2, 3]
  private let table = [
    Endpoint(host: IPv4Address(41, 1, 1, 1), port: 1), Endpoint(host: IPv4Address(42, 1, 1, 1), port: 2),
  ]

  private func makeNode(announced: Bool = false, configuration: RouterConfiguration = RouterConfiguration()) throws
    -> PassiveNode
  {
    let node = try PassiveNode(table: table, routerConfiguration: configuration)
    if announced { node.announce(pair, target: target, from: server) }
    return node
  }

  private func pin(_ node: PassiveNode, reply: [UInt8]? = [9, 9]) -> FakeServer {
    let local = FakeServer()
    local.handshakeReply = reply.map { HandshakeReply(noise: $0) }
    local.holepunchReply = reply.map { HolepunchReply(payload: $0) }
    node.router.pin(target: target, record: PeerRecord(publicKey: pair.publicKey), server: local)
    return local
  }

  private func handshake(
    _ node: PassiveNode, _ mode: RoutingMode, peer: Endpoint? = nil, via: Endpoint? = nil, from source: Endpoint
  ) {
    let message = HandshakeMessage(mode: mode, noise: noise, peerAddress: peer, relayAddress: via)
    node.request(.peerHandshake, target: target, value: message.encoded, from: source)
  }

  private func holepunch(_ node: PassiveNode, _ mode: RoutingMode, peer: Endpoint? = nil, from source: Endpoint) {
    let message = HolepunchMessage(mode: mode, id: 7, payload: noise, peerAddress: peer)
    node.request(.peerHolepunch, target: target, value: message.encoded, from: source)
  }

  /// The forwarded handshake of the last step, after the checks that hold for every forwarded request (57b).
  private func forwardedHandshake(_ node: PassiveNode, to destination: Endpoint) throws -> HandshakeMessage {
    let request = try XCTUnwrap(node.forwarded)
    XCTAssertEqual(node.sent[0].destination, destination)
    XCTAssertEqual(request.to, destination)
    XCTAssertEqual(request.tid, node.lastTID)
    XCTAssertEqual(request.command, Command.peerHandshake.rawValue)
    XCTAssertEqual(request.target, target)
    XCTAssertNil(request.token)
    XCTAssertEqual(node.sent[0].source.port, node.address.port)
    return try CompactReader.decode(HandshakeMessage.self, from: try XCTUnwrap(request.value))
  }

  private func handshakeResponse(_ node: PassiveNode, to destination: Endpoint) throws -> HandshakeMessage {
    let response = try XCTUnwrap(node.response)
    XCTAssertEqual(node.sent[0].destination, destination)
    XCTAssertEqual(response.to, destination)
    XCTAssertEqual(response.tid, node.lastTID)
    XCTAssertNil(response.token)
    XCTAssertNil(response.closerNodes)
    return try CompactReader.decode(HandshakeMessage.self, from: try XCTUnwrap(response.value))
  }

  // MARK: 51, without the server

  func testDHT_51_fromClientGoesToTheAnnouncedAddress() throws {
    let node = try makeNode(announced: true)
    handshake(node, .fromClient, from: client)
    XCTAssertEqual(
      try forwardedHandshake(node, to: server), HandshakeMessage(mode: .fromRelay, noise: noise, peerAddress: client))
    // What the client says about itself does not travel.
    handshake(node, .fromClient, peer: other, from: client)
    XCTAssertEqual(try forwardedHandshake(node, to: server).peerAddress, client)
    XCTAssertEqual(node.router.statistics.handshakesForwarded, 2)
  }

  func testDHT_51_namedRelayComesFirst() throws {
    for announced in [false, true] {
      let node = try makeNode(announced: announced)
      handshake(node, .fromClient, via: relay, from: client)
      XCTAssertEqual(
        try forwardedHandshake(node, to: relay), HandshakeMessage(mode: .fromRelay, noise: noise, peerAddress: client))
    }
    var configuration = RouterConfiguration()
    configuration.requiresRouteForNamedRelay = true
    let node = try makeNode(configuration: configuration)
    handshake(node, .fromClient, via: relay, from: client)
    XCTAssertNil(node.forwarded)
    XCTAssertNotNil(node.response)
  }

  func testDHT_52_unknownServerAnswersWithCloserNodes() throws {
    let node = try makeNode()
    handshake(node, .fromClient, from: client)
    let response = try XCTUnwrap(node.response)
    XCTAssertEqual(node.sent[0].destination, client)
    XCTAssertNil(response.value)
    XCTAssertNil(response.token)
    XCTAssertEqual(response.error, 0)
    XCTAssertEqual(Set(response.closerNodes ?? []), Set(table))
  }

  func testDHT_51_fromRelayGoesOnAsSecondRelay() throws {
    let node = try makeNode(announced: true)
    handshake(node, .fromRelay, peer: client, from: relay)
    XCTAssertEqual(
      try forwardedHandshake(node, to: server),
      HandshakeMessage(mode: .fromSecondRelay, noise: noise, peerAddress: client, relayAddress: relay))
    let unknown = try makeNode()
    handshake(unknown, .fromRelay, peer: client, from: relay)
    XCTAssertEqual(unknown.sent.count, 0)
    XCTAssertEqual(unknown.router.statistics.unroutable, 1)
  }

  func testDHT_51_fromServerBecomesTheResponse() throws {
    for announced in [false, true] {
      let node = try makeNode(announced: announced)
      handshake(node, .fromServer, peer: client, from: server)
      XCTAssertEqual(
        try handshakeResponse(node, to: client), HandshakeMessage(mode: .reply, noise: noise, peerAddress: server))
      handshake(node, .fromServer, from: server)
      XCTAssertEqual(node.sent.count, 0)
    }
  }

  func testDHT_51_otherModesAreDropped() throws {
    for announced in [false, true] {
      let node = try makeNode(announced: announced)
      for mode in [RoutingMode.fromSecondRelay, .reply, RoutingMode(rawValue: 5), RoutingMode(rawValue: .max)] {
        handshake(node, mode, peer: client, via: relay, from: other)
        XCTAssertEqual(node.sent.count, 0, "\(mode)")
      }
      XCTAssertEqual(node.router.statistics.malformed, 4)
    }
  }

  // MARK: 51, with the server

  func testDHT_51_localServerAnswersADirectClient() throws {
    let node = try makeNode()
    let local = pin(node)
    handshake(node, .fromClient, from: client)
    XCTAssertEqual(try handshakeResponse(node, to: client), HandshakeMessage(mode: .reply, noise: [9, 9]))
    XCTAssertEqual(local.handshakes.count, 1)
    XCTAssertTrue(local.handshakes[0].isDirect)
    XCTAssertEqual(local.handshakes[0].clientAddress, client)
    XCTAssertEqual(local.handshakes[0].noise, noise)
    XCTAssertEqual(local.handshakes[0].to, node.address)
  }

  func testDHT_51_localServerAnswersThroughTheRelay() throws {
    let node = try makeNode()
    let local = pin(node)
    handshake(node, .fromRelay, peer: client, from: relay)
    let back = HandshakeMessage(mode: .fromServer, noise: [9, 9], peerAddress: client)
    XCTAssertEqual(try forwardedHandshake(node, to: relay), back)
    XCTAssertFalse(local.handshakes[0].isDirect)
    XCTAssertEqual(local.handshakes[0].clientAddress, client)
    XCTAssertEqual(local.handshakes[0].from, relay)

    handshake(node, .fromSecondRelay, peer: client, via: relay, from: other)
    XCTAssertEqual(try forwardedHandshake(node, to: relay), back)
    XCTAssertEqual(local.handshakes[1].from, other)
    handshake(node, .fromSecondRelay, peer: client, from: other)
    XCTAssertEqual(node.sent.count, 0)
  }

  /// 56: the server names the socket, usually that of its puncher; no id travels from it.
  func testDHT_56_replySocketIsTheServersChoice() throws {
    let node = try makeNode()
    let local = pin(node)
    let punch = node.host.makeSocket()
    try punch.bind(host: .any, port: 7777)
    local.handshakeReply = HandshakeReply(noise: [8], socket: punch)
    local.holepunchReply = HolepunchReply(payload: [8], socket: punch)
    handshake(node, .fromRelay, peer: client, from: relay)
    XCTAssertEqual(node.sent[0].source.port, 7777)
    XCTAssertNil(try XCTUnwrap(node.forwarded).id)
    holepunch(node, .fromRelay, peer: client, from: relay)
    XCTAssertEqual(node.sent[0].source.port, 7777)
    handshake(node, .fromClient, from: client)
    XCTAssertEqual(node.sent[0].source.port, 7777)
  }

  func testDHT_41_noAnswerWhenTheServerHasNone() throws {
    let node = try makeNode()
    let local = pin(node, reply: nil)
    handshake(node, .fromClient, from: client)
    handshake(node, .fromRelay, peer: client, from: relay)
    holepunch(node, .fromRelay, peer: client, from: relay)
    XCTAssertEqual(node.sent.count, 0)
    XCTAssertEqual(local.handshakes.count, 2)
    XCTAssertEqual(node.router.pendingReplies, 0)
  }

  func testDHT_B2_claimedAddressOfADirectClientIsIgnored() throws {
    let node = try makeNode()
    let local = pin(node)
    handshake(node, .fromClient, peer: other, via: relay, from: client)
    XCTAssertTrue(local.handshakes[0].isDirect)
    XCTAssertEqual(local.handshakes[0].clientAddress, client)
    XCTAssertEqual(node.sent[0].destination, client)
  }

  func testDHT_B3_modeIsCheckedBeforeTheServerIsAsked() throws {
    let node = try makeNode()
    let local = pin(node)
    for mode in [RoutingMode.fromServer, .reply, RoutingMode(rawValue: 99)] {
      handshake(node, mode, peer: client, via: relay, from: other)
    }
    // Through a relay without the client's address: the answer could not arrive.
    handshake(node, .fromRelay, from: relay)
    handshake(node, .fromRelay, peer: Endpoint(host: client.host, port: 0), from: relay)
    handshake(node, .fromSecondRelay, peer: client, from: relay)
    XCTAssertEqual(local.handshakes.count, 0)
    XCTAssertEqual(node.router.statistics.malformed, 6)
  }

  // MARK: Completions

  func testLateAnswersGoOutOnce() throws {
    let node = try makeNode()
    let local = pin(node)
    local.isLate = true
    handshake(node, .fromRelay, peer: client, from: relay)
    XCTAssertEqual(node.sent.count, 0)
    XCTAssertEqual(node.router.pendingReplies, 1)
    node.network.advance(by: 500)
    node.network.log = []
    for _ in 0..<3 { local.lateHandshakes[0](HandshakeReply(noise: [5])) }
    node.network.advance(by: 0)
    XCTAssertEqual(node.network.log.count, 1)
    XCTAssertEqual(node.network.log[0].destination, relay)
    XCTAssertEqual(node.router.pendingReplies, 0)
  }

  func testNoAnswerAfterTheServerIsGone() throws {
    let node = try makeNode()
    let local = pin(node)
    local.isLate = true
    handshake(node, .fromClient, from: client)
    node.router.unpin(target: target)
    local.lateHandshakes[0](HandshakeReply(noise: [5]))
    node.network.advance(by: 0)
    XCTAssertEqual(node.network.log.count, 0)

    let successor = pin(node)
    successor.isLate = true
    handshake(node, .fromClient, from: client)
    node.router.destroy()
    successor.lateHandshakes[0](HandshakeReply(noise: [5]))
    handshake(node, .fromClient, from: client)
    node.network.advance(by: 0)
    XCTAssertEqual(node.network.log.count, 0)
    XCTAssertEqual(node.router.pendingReplies, 0)
  }

  func testOpenRepliesAreBounded() throws {
    var configuration = RouterConfiguration()
    configuration.maximumPendingReplies = 5
    let node = try makeNode(configuration: configuration)
    let local = pin(node)
    local.isLate = true
    for _ in 0..<20 { handshake(node, .fromClient, from: client) }
    XCTAssertEqual(local.handshakes.count, 5)
    XCTAssertEqual(node.router.statistics.rateLimited, 15)
    // A completion that is thrown away frees its place.
    local.lateHandshakes = []
    handshake(node, .fromClient, from: client)
    XCTAssertEqual(local.handshakes.count, 6)
  }

  /// A server that takes its time makes room among those that wait by itself: a router that refused newcomers before
  /// would leave the places to those that came first.
  func testOpenRepliesAreAsManyAsAServerLetsWait() throws {
    let node = try makeNode()
    let local = pin(node)
    local.isLate = true
    for number in 0..<Limits.Server.waitingHandshakes + 100 {
      // From this machine: no budget of a source comes before.
      let source = Endpoint(host: IPv4Address(127, 0, 0, 1), port: UInt16(1 + number))
      handshake(node, .fromClient, from: source)
      XCTAssertEqual(local.handshakes.count, number + 1)
    }
  }

  // MARK: Hole punching

  private func forwardedHolepunch(_ node: PassiveNode, to destination: Endpoint) throws -> HolepunchMessage {
    let request = try XCTUnwrap(node.forwarded)
    XCTAssertEqual(node.sent[0].destination, destination)
    XCTAssertEqual(request.to, destination)
    XCTAssertEqual(request.tid, node.lastTID)
    XCTAssertEqual(request.command, Command.peerHolepunch.rawValue)
    XCTAssertNil(request.token)
    return try CompactReader.decode(HolepunchMessage.self, from: try XCTUnwrap(request.value))
  }

  func testDHT_55_holepunchForwarding() throws {
    let node = try makeNode(announced: true)
    let expected = HolepunchMessage(mode: .fromRelay, id: 7, payload: noise, peerAddress: client)
    holepunch(node, .fromClient, from: client)
    XCTAssertEqual(try forwardedHolepunch(node, to: server), expected)
    holepunch(node, .fromClient, peer: other, from: client)
    XCTAssertEqual(try forwardedHolepunch(node, to: other), expected)
    holepunch(node, .fromServer, peer: client, from: server)
    let response = try XCTUnwrap(node.response)
    XCTAssertEqual(node.sent[0].destination, client)
    XCTAssertNil(response.token)
    XCTAssertNil(response.closerNodes)
    XCTAssertEqual(
      try CompactReader.decode(HolepunchMessage.self, from: try XCTUnwrap(response.value)),
      HolepunchMessage(mode: .reply, id: 7, payload: noise, peerAddress: server))
    for mode in [RoutingMode.fromRelay, .fromSecondRelay, .reply, RoutingMode(rawValue: 17)] {
      holepunch(node, mode, peer: client, from: relay)
      XCTAssertEqual(node.sent.count, 0)
    }
    holepunch(node, .fromServer, from: server)
    XCTAssertEqual(node.sent.count, 0)

    // Any node forwards to a named address, with or without state.
    let stranger = try makeNode()
    holepunch(stranger, .fromClient, peer: other, from: client)
    XCTAssertEqual(try forwardedHolepunch(stranger, to: other), expected)
    holepunch(stranger, .fromClient, from: client)
    XCTAssertEqual(stranger.sent.count, 0)
  }

  func testDHT_55_localServerAnswersHolepunches() throws {
    let node = try makeNode()
    let local = pin(node)
    holepunch(node, .fromRelay, peer: client, from: relay)
    XCTAssertEqual(
      try forwardedHolepunch(node, to: relay),
      HolepunchMessage(mode: .fromServer, id: 0, payload: [9, 9], peerAddress: client))
    XCTAssertEqual(local.holepunches[0].id, 7)
    XCTAssertEqual(local.holepunches[0].peerAddress, client)
    XCTAssertEqual(local.holepunches[0].from, relay)
    holepunch(node, .fromRelay, from: relay)
    holepunch(node, .fromClient, from: client)
    XCTAssertEqual(node.sent.count, 0)
    XCTAssertEqual(local.holepunches.count, 1)
  }

  // MARK: Table

  func testDHT_57_remoteMessagesDoNotTouchALocalServer() throws {
    let node = try makeNode()
    let local = pin(node)
    XCTAssertEqual(node.announce(pair, target: target, from: server).count, 1)
    handshake(node, .fromClient, from: client)
    XCTAssertEqual(local.handshakes.count, 1)
    // BETTER (hyperdht.md Part B, 13): the reference lets an unannounce remove the local entry.
    XCTAssertEqual(node.unannounce(pair, target: target, from: server).count, 1)
    handshake(node, .fromClient, from: client)
    XCTAssertEqual(local.handshakes.count, 2)
    XCTAssertEqual(try node.findPeer(pair.publicKey, from: client), PeerRecord(publicKey: pair.publicKey))
    node.router.unpin(target: target)
    XCTAssertNil(try node.findPeer(pair.publicKey, from: client))
  }

  func testDHT_51_entriesExpireWithoutUseAndLiveWithIt() throws {
    let node = try makeNode(announced: true)
    for _ in 0..<10 {
      node.network.advance(by: 10 * 60 * 1000)
      handshake(node, .fromClient, from: client)
      XCTAssertNotNil(node.forwarded)
    }
    node.network.advance(by: 27 * 60 * 1000)
    handshake(node, .fromClient, from: client)
    XCTAssertNil(node.forwarded)
  }

  // MARK: Abuse

  func testDHT_B6_destinationsThatAreNotForwardedTo() throws {
    let node = try makeNode()
    let refused = [
      "0.0.0.0:80", "255.255.255.255:80", "224.0.0.251:5353", "31.1.1.9:0", "127.0.0.1:80", "192.168.1.1:80",
      "10.0.0.1:53", "203.0.113.5:99",
    ].compactMap { Endpoint($0) }
    for destination in refused {
      holepunch(node, .fromClient, peer: destination, from: client)
      handshake(node, .fromClient, via: destination, from: client)
      handshake(node, .fromServer, peer: destination, from: server)
      XCTAssertEqual(node.sent.count, 0, "\(destination)")
    }
    XCTAssertEqual(node.router.statistics.refusedDestinations, 3 * refused.count)
    node.router.isOwnAddress = { $0 == node.address }
    holepunch(node, .fromClient, peer: node.address, from: client)
    XCTAssertEqual(node.sent.count, 0)
  }

  /// On a LAN or a test network everything happens between such addresses.
  func testDHT_B6_privateNetworksForwardAmongThemselves() throws {
    let node = try makeNode()
    let lan = Endpoint(host: IPv4Address(192, 168, 1, 5), port: 5)
    let loopback = Endpoint(host: .loopback, port: 6)
    holepunch(node, .fromClient, peer: lan, from: loopback)
    XCTAssertEqual(node.sent.first?.destination, lan)
    holepunch(node, .fromClient, peer: loopback, from: lan)
    XCTAssertEqual(node.sent.first?.destination, loopback)
    for _ in 0..<2000 { holepunch(node, .fromClient, peer: loopback, from: loopback) }
    XCTAssertEqual(node.router.statistics.rateLimited, 0, "loopback is exempt")
    // A server in our network that has announced itself is reachable from outside.
    node.announce(pair, target: target, from: lan)
    handshake(node, .fromClient, from: client)
    XCTAssertEqual(node.sent.first?.destination, lan)
  }

  /// A server beside us answers from its punch socket, and a client beside us waits for answers from outside.
  func testDHT_B6_privatePeersThatTakePartAreReachable() throws {
    let node = try makeNode()
    let beside = Endpoint(host: IPv4Address(192, 168, 1, 5), port: 5)
    let punchSocket = Endpoint(host: beside.host, port: 6)
    node.announce(pair, target: target, from: beside)
    holepunch(node, .fromClient, peer: punchSocket, from: client)
    XCTAssertEqual(node.sent.count, 0)
    handshake(node, .fromServer, peer: client, from: punchSocket)
    XCTAssertEqual(node.sent.count, 1)
    holepunch(node, .fromClient, peer: punchSocket, from: client)
    XCTAssertEqual(node.sent.first?.destination, punchSocket)

    let neighbour = Endpoint(host: IPv4Address(192, 168, 1, 9), port: 9)
    handshake(node, .fromServer, peer: neighbour, from: server)
    XCTAssertEqual(node.sent.count, 0)
    handshake(node, .fromClient, via: relay, from: neighbour)
    handshake(node, .fromServer, peer: neighbour, from: server)
    XCTAssertEqual(node.sent.first?.destination, neighbour)
    node.network.advance(by: 200_000)
    handshake(node, .fromServer, peer: neighbour, from: server)
    XCTAssertEqual(node.sent.count, 0)
  }

  func testDHT_94_garbageIsDropped() throws {
    let node = try makeNode(announced: true)
    let local = pin(node)
    for command in [Command.peerHandshake, .peerHolepunch] {
      for value: [UInt8]? in [
        nil, [0], [0, 0], [0xff], [3, 0, 0], [1, 2, 0xfd, 0xff, 0xff],
        [0, 0, 0xff] + [UInt8](repeating: 0xff, count: 8),
      ] {
        node.request(command, target: target, value: value, from: client)
        XCTAssertEqual(node.sent.count, 0)
      }
    }
    XCTAssertEqual(local.handshakes.count + local.holepunches.count, 0)
    XCTAssertEqual(node.router.statistics.malformed, 14)
  }
}
