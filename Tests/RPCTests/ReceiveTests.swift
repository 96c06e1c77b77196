import HyperCrypto
import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Items 10-33 of dht-rpc.md Part A: what a node answers.
final class ReceiveTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)
  private var node: RPCNode!
  private var address: Endpoint!
  private var peer: RawPeer!

  override func setUpWithError() throws {
    network = VirtualNetwork(seed: 10, isLogging: true)
    node = try makeBootstrapper(network)
    address = try endpoint(of: node)
    peer = try RawPeer(network)
  }

  override func tearDown() {
    destroy([node], network)
  }

  private func internalRequest(_ command: UInt64, value: [UInt8]? = nil, target: Bytes32? = nil) -> RequestDatagram {
    RequestDatagram(tid: 77, to: address, isInternal: true, command: command, target: target, value: value)
  }

  /// Sends and returns what came back within `milliseconds`.
  @discardableResult
  private func ask(_ request: RequestDatagram, within milliseconds: UInt64 = 50) -> [ResponseDatagram] {
    peer.clear()
    peer.send(request, to: address)
    network.advance(by: milliseconds)
    return peer.responses
  }

  func testRPC_10_garbageGetsNoAnswer() {
    for bytes in [[], [3], [0x13], [2, 4, 0, 0], [0x23, 0, 0, 0], [0xff, 1], [3, 4, 1, 0, 127, 0, 0], [0]] as [[UInt8]]
    {
      peer.socket.send(bytes, to: address)
    }
    network.advance(by: 100)
    XCTAssertEqual(peer.received.count, 0)
    XCTAssertEqual(node.statistics.drops.malformed, 8)
  }

  func testRPC_11_sourcePortZeroIsDropped() {
    let server = node.serverSocket
    server?.receive(internalRequest(0).encode(), from: Endpoint(host: peer.endpoint.host, port: 0))
    network.advance(by: 50)
    XCTAssertEqual(network.log.filter { $0.source == address }.count, 0)
    XCTAssertEqual(node.statistics.drops.malformed, 1)
  }

  func testRPC_12_unknownTidChangesNothing() {
    peer.send(ResponseDatagram(tid: 5, to: address, id: peer.id), to: address)
    network.advance(by: 50)
    XCTAssertEqual(node.nodeCount, 0)
    XCTAssertEqual(node.statistics.responses, 0)
    XCTAssertEqual(node.statistics.drops.unknownTid, 1)
  }

  func testRPC_13_14_wrongIDIsIgnoredAndNotLearned() {
    var request = internalRequest(0)
    request.id = Bytes32(repeating: 9)
    XCTAssertEqual(ask(request).count, 1)
    XCTAssertEqual(node.recentNodes(), [])
    request.id = nil
    XCTAssertEqual(ask(request).count, 1)
    XCTAssertEqual(node.recentNodes(), [])
    request.id = peer.id
    XCTAssertEqual(ask(request).count, 1)
    XCTAssertEqual(node.recentNodes(), [], "its request alone proves nothing")
    network.advance(by: Limits.sourceCheckInterval * 2)
    peer.answerAll()
    XCTAssertEqual(ask(request).count, 1)
    XCTAssertEqual(node.recentNodes(), [peer.endpoint])
  }

  func testRPC_15_wrongTokenGetsErrorAndFreshToken() {
    node.onRequest = { _ in
      XCTFail("handled")
      return true
    }
    for isInternal in [true, false] {
      var request = internalRequest(0, target: Bytes32(repeating: 1))
      request.isInternal = isInternal
      request.token = Bytes32(repeating: 3)
      request.id = peer.id
      let replies = ask(request)
      XCTAssertEqual(replies.count, 1)
      XCTAssertEqual(replies.first?.error, 2)
      XCTAssertEqual(replies.first?.token, node.issueToken(for: peer.endpoint.host))
      XCTAssertEqual(node.nodeCount, 0, "the sender must not be learned")
    }
  }

  func testRPC_16_tokenBelongsToTheIPAddress() throws {
    var seen: [Bytes32?] = []
    node.onRequest = { request in
      seen.append(request.token)
      request.reply(nil)
      return true
    }
    var request = internalRequest(1)
    request.isInternal = false
    let token = try XCTUnwrap(ask(request).first?.token)
    request.token = token
    let samePlace = try RawPeer(network, host: peer.environment)
    let elsewhere = try RawPeer(network)
    samePlace.send(request, to: address)
    elsewhere.send(request, to: address)
    network.advance(by: 50)
    XCTAssertNotEqual(samePlace.endpoint.port, peer.endpoint.port)
    XCTAssertEqual(samePlace.responses.first?.error, 0)
    XCTAssertEqual(elsewhere.responses.first?.error, 2)
    XCTAssertEqual(seen, [nil, token])
  }

  func testRPC_17_tokenLifetime() throws {
    node.onRequest = { request in
      request.reply(nil)
      return true
    }
    // Tokens issued at several moments of the rotation period.
    for offset in [UInt64(0), 1000, 3700, 7400] {
      network.advance(by: offset)
      var request = internalRequest(1)
      request.isInternal = false
      let issuedAt = network.now
      let token = try XCTUnwrap(ask(request, within: 10).first?.token)
      request.token = token
      network.advance(by: 7480 - (network.now - issuedAt) / 1000)
      XCTAssertEqual(ask(request, within: 10).first?.error, 0, "good for at least 7.5 s")
      network.advance(by: 15_010 - (network.now - issuedAt) / 1000)
      XCTAssertEqual(ask(request, within: 10).first?.error, 2, "bad after 15 s")
    }
  }

  func testRPC_18_pingReply() {
    let reply = ask(internalRequest(0, value: [0, 0, 0], target: Bytes32(repeating: 1))).first
    XCTAssertEqual(reply, ResponseDatagram(tid: 77, to: peer.endpoint, id: node.id))
  }

  func testRPC_19_pingOnTheClientSocketOfAPersistentNode() throws {
    let clientPort = try XCTUnwrap(node.clientSocket?.localEndpoint?.port)
    let client = Endpoint(host: address.host, port: clientPort)
    peer.send(internalRequest(0), to: client)
    network.advance(by: 50)
    XCTAssertEqual(peer.received.first?.from, client)
    XCTAssertEqual(peer.responses.first, ResponseDatagram(tid: 77, to: peer.endpoint))
  }

  func testRPC_20_pingNATAnswersToTheGivenPort() throws {
    let other = try RawPeer(network, host: peer.environment, port: 4242)
    XCTAssertEqual(ask(internalRequest(1, value: [0x92, 0x10, 9, 9])).count, 0)
    XCTAssertEqual(other.received.first?.from, address)
    XCTAssertEqual(other.responses.first?.to, other.endpoint)
    XCTAssertEqual(other.responses.first?.to.port, 4242)
  }

  func testRPC_21_badPingNATIsNotAnswered() {
    for value in [nil, [], [1], [0, 0]] as [[UInt8]?] {
      XCTAssertEqual(ask(internalRequest(1, value: value)).count, 0)
    }
    XCTAssertEqual(network.log.filter { $0.source.host == address.host }.count, 0)
    XCTAssertEqual(node.statistics.drops.invalidCommand, 4)
  }

  func testRPC_22_findNode() {
    XCTAssertEqual(ask(internalRequest(2)).count, 0)
    XCTAssertNil(ask(internalRequest(2, target: Bytes32())).first?.closerNodes, "an empty table clears the flag")
    for index in 1...30 {
      node.addNode(Endpoint(host: IPv4Address(9, 9, UInt8(index), 9), port: 1000))
    }
    let reply = ask(internalRequest(2, target: Bytes32())).first
    XCTAssertEqual(reply?.closerNodes?.count, 20)
    XCTAssertNil(reply?.token)
    XCTAssertEqual(reply?.error, 0)
  }

  func testRPC_23_24_downHintIsAcknowledgedAndUnknownNodesCauseNoTraffic() {
    XCTAssertEqual(ask(internalRequest(3)).count, 0)
    XCTAssertEqual(ask(internalRequest(3, value: [1, 2, 3, 4, 5])).count, 0)
    let before = node.statistics.requestsTotal
    let unknown = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    XCTAssertEqual(ask(internalRequest(3, value: unknown.encoded + [1])).count, 1)
    XCTAssertEqual(node.statistics.requestsTotal, before)
  }

  func testRPC_25_downHintRemovesADeadNode() {
    let dead = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    node.addNode(dead)
    XCTAssertEqual(ask(internalRequest(3, value: dead.encoded)).count, 1)
    network.advance(by: 3900)
    XCTAssertEqual(node.nodeCount, 1)
    network.advance(by: 200)
    XCTAssertEqual(node.nodeCount, 0)
    XCTAssertEqual(network.log.filter { $0.destination == dead }.count, 4)
  }

  /// The reference removes a live node here (dht-rpc.md E-2): the hint comes in the tick in which the node was heard.
  func testRPC_26_downHintNeverRemovesALiveNode() throws {
    let live = try RawPeer(network)
    live.answerAll()
    var hello = internalRequest(0)
    hello.id = live.id
    live.send(hello, to: address)
    network.advance(by: 10)
    XCTAssertEqual(node.recentNodes(), [live.endpoint])
    for _ in 0..<10 {
      ask(internalRequest(3, value: live.endpoint.encoded))
      network.advance(by: 6000)
      XCTAssertEqual(node.recentNodes(), [live.endpoint])
    }
    XCTAssertGreaterThan(live.requests.filter { $0.command == 0 }.count, 5, "hints were followed by checks")
    // A node that answers without its id has become ephemeral or moved: it goes.
    live.answerAll(withID: false)
    network.advance(by: 6000)
    ask(internalRequest(3, value: live.endpoint.encoded), within: 4500)
    XCTAssertEqual(node.recentNodes(), [])
  }

  func testRPC_27_atMostTenChecksAtOnce() throws {
    let dead = (1...15).map { Endpoint(host: IPv4Address(9, 9, 9, UInt8($0)), port: 9) }
    for endpoint in dead { node.addNode(endpoint) }
    for endpoint in dead { XCTAssertEqual(ask(internalRequest(3, value: endpoint.encoded), within: 5).count, 1) }
    XCTAssertEqual(node.downChecks, 10)
    XCTAssertEqual(Set(network.log.map(\.destination)).intersection(dead).count, 10)
  }

  func testRPC_28_delayedPing() {
    peer.clear()
    let start = network.now
    XCTAssertEqual(ask(internalRequest(4, value: [0xe8, 3, 0, 0]), within: 990).count, 0)
    network.advance(by: 20)
    XCTAssertEqual(peer.responses.count, 1)
    XCTAssertGreaterThanOrEqual(peer.received[0].at - start, 1_000_000)
    XCTAssertEqual(ask(internalRequest(4, value: [0x11, 0x27, 0, 0]), within: 30_000).count, 0, "10,001 ms")
    XCTAssertEqual(ask(internalRequest(4, value: [0x10, 0x27, 0, 0]), within: 10_100).count, 1, "10,000 ms")
    XCTAssertEqual(ask(internalRequest(4, value: [1, 0, 0]), within: 1000).count, 0)
    XCTAssertEqual(ask(internalRequest(4, value: nil), within: 1000).count, 0)
  }

  func testRPC_28_delayedPingsAreBounded() {
    peer.clear()
    for tid in 0..<100 {
      var request = internalRequest(4, value: [0xe8, 3, 0, 0])
      request.tid = UInt16(tid)
      peer.send(request, to: address)
    }
    network.advance(by: 50)
    XCTAssertEqual(node.delayedPings.count, Limits.maximumDelayedPingsPerSource)
    XCTAssertEqual(node.statistics.drops.delayedPings, 68)
    network.advance(by: 2000)
    XCTAssertEqual(node.delayedPings.count, 0)
    XCTAssertEqual(peer.responses.count, Limits.maximumDelayedPingsPerSource)
  }

  func testRPC_29_unknownInternalCommand() {
    node.addNode(Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9))
    let plain = ask(internalRequest(99)).first
    XCTAssertEqual(plain?.error, 1)
    XCTAssertNil(plain?.closerNodes)
    XCTAssertNil(plain?.token)
    let targeted = ask(internalRequest(99, target: Bytes32())).first
    XCTAssertEqual(targeted?.error, 1)
    XCTAssertEqual(targeted?.closerNodes?.count, 1)
  }

  func testRPC_30_userCommandWithoutHandler() {
    var request = internalRequest(99)
    request.isInternal = false
    XCTAssertEqual(ask(request).first?.error, 1)
    node.onRequest = { _ in false }
    XCTAssertEqual(ask(request).first?.error, 1)
    XCTAssertNil(ask(request).first?.token)
  }

  func testRPC_31_tokenAndCloserNodesDefaults() {
    node.addNode(Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9))
    var isError = false
    node.onRequest = { request in
      if isError { request.error(20) } else { request.reply([1]) }
      return true
    }
    for target in [nil, Bytes32()] {
      var request = internalRequest(6, target: target)
      request.isInternal = false
      isError = false
      let reply = ask(request).first
      XCTAssertNotNil(reply?.token)
      XCTAssertEqual(reply?.closerNodes?.count, target == nil ? nil : 1)
      XCTAssertEqual(reply?.value, [1])
      isError = true
      let error = ask(request).first
      XCTAssertEqual(error?.error, 20)
      XCTAssertNil(error?.token)
      XCTAssertEqual(error?.closerNodes?.count, target == nil ? nil : 1)
    }
  }

  /// A asks B, B relays to C, C answers A directly with A's transaction id.
  func testRPC_32_relayAndAnswerFromAThirdNode() throws {
    let last = try RawPeer(network)
    let target = Bytes32(repeating: 4)
    node.onRequest = { request in
      request.relay([7, 8], to: last.endpoint)
      return true
    }
    let asker = makeNode(network, bootstrap: [])
    try asker.bind()
    let askerAddress = Endpoint(
      host: try XCTUnwrap(asker.environment as? VirtualHost).address,
      port: try XCTUnwrap(asker.clientSocket?.localEndpoint?.port))
    last.onDatagram = { [unowned self] bytes, source in
      guard let relayed = request(bytes) else { return XCTFail("no request") }
      XCTAssertEqual(source, address)
      XCTAssertEqual(relayed.command, 33)
      XCTAssertEqual(relayed.target, target)
      XCTAssertNil(relayed.token)
      XCTAssertEqual(relayed.value, [7, 8])
      XCTAssertEqual(relayed.id, node.id)
      XCTAssertEqual(relayed.to, last.endpoint)
      last.send(ResponseDatagram(tid: relayed.tid, to: askerAddress, value: [9]), to: askerAddress)
    }
    let token = node.issueToken(for: askerAddress.host)
    var results: [Result<Response, RPCError>] = []
    var options = RequestOptions(retries: 0)
    options.acceptsAnswerFromAnyAddress = true
    let message = RequestMessage(command: 33, target: target, token: token, value: [1])
    asker.request(message, to: address, options: options) { results.append($0) }
    network.advance(by: 100)
    let response = try XCTUnwrap(try results.first?.get())
    XCTAssertEqual(response.from.endpoint, last.endpoint)
    XCTAssertEqual(response.value, [9])
    // Without the opt-out such an answer is ignored and the request goes on waiting (dht-rpc.md C-1).
    options.acceptsAnswerFromAnyAddress = false
    asker.request(message, to: address, options: options) { results.append($0) }
    network.advance(by: 500)
    XCTAssertEqual(results.count, 1)
    XCTAssertEqual(asker.statistics.drops.wrongSource, 1)
    network.advance(by: 600)
    XCTAssertEqual(results.count, 2)
    XCTAssertThrowsError(try results.last?.get()) { XCTAssertEqual($0 as? RPCError, .requestTimeout) }
    destroy([asker], network)
  }

  func testRPC_33_suspendedNodesAnswerNothing() {
    let server = node.serverSocket
    node.suspend()
    server?.receive(internalRequest(0).encode(), from: peer.endpoint)
    XCTAssertEqual(ask(internalRequest(0)).count, 0)
    network.advance(by: 100)
    XCTAssertEqual(ask(internalRequest(0)).count, 0)
    node.resume()
    network.advance(by: 100)
    XCTAssertEqual(ask(internalRequest(0)).count, 1)
  }
}
