import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Items 34-48 of dht-rpc.md Part A: outgoing requests.
final class RequestTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)
  private var node: RPCNode!
  private let silent = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 99)

  override func setUpWithError() throws {
    network = VirtualNetwork(seed: 34, isLogging: true)
    node = makeNode(network, bootstrap: [])
    try node.bind()
  }

  override func tearDown() { destroy([node], network) }

  private func sent(to endpoint: Endpoint) -> [VirtualNetwork.Packet] {
    network.log.filter { $0.destination == endpoint }
  }

  private func error(_ result: Result<Response, RPCError>?) -> RPCError? {
    if case .failure(let error) = result { return error }
    return nil
  }

  func testRPC_34_silentHostFourTransmissions() {
    var results: [Result<Response, RPCError>] = []
    let start = network.now
    node.request(RequestMessage(command: 1, value: [1]), to: silent) { results.append($0) }
    network.advance(by: 3999)
    XCTAssertEqual(results.count, 0)
    network.advance(by: 2)
    XCTAssertEqual(results.count, 1)
    XCTAssertEqual(error(results.first), .requestTimeout)
    network.advance(by: 10_000)
    let packets = sent(to: silent)
    XCTAssertEqual(packets.map { ($0.sentAt - start) / 1000 }, [0, 1000, 2000, 3000])
    XCTAssertEqual(Set(packets.map(\.bytes)).count, 1)
    XCTAssertEqual(node.statistics.retries, 3)
    XCTAssertEqual(node.statistics.timeouts, 1)
    XCTAssertEqual(results.count, 1)
  }

  func testRPC_35_noRetriesSendsOnce() {
    var result: Result<Response, RPCError>?
    node.ping(silent, options: RequestOptions(retries: 0)) { result = $0 }
    network.advance(by: 1001)
    XCTAssertEqual(error(result), .requestTimeout)
    XCTAssertEqual(sent(to: silent).count, 1)
  }

  func testRPC_36_queryVisitIsSentSixTimes() {
    var options = QueryOptions()
    options.seeds = [silent]
    options.onlySeeds = true
    let query = node.findNode(target: Bytes32(), options: options)
    var isFinished = false
    query.onFinished = { _ in isFinished = true }
    query.start()
    network.advance(by: 5990)
    XCTAssertFalse(isFinished)
    network.advance(by: 20)
    XCTAssertTrue(isFinished)
    XCTAssertEqual(sent(to: silent).count, 6)
  }

  /// A query whose one live node names one dead node.
  private func runQueryWithDeadNode(_ configure: (inout RPCConfiguration) -> Void = { _ in }) throws
    -> [RequestDatagram]
  {
    let referrer = try RawPeer(network)
    referrer.answerAll(closerNodes: [silent])
    let asker = makeNode(network, bootstrap: [referrer.endpoint], configure)
    try asker.bind()
    let query = asker.findNode(target: Bytes32())
    var isFinished = false
    query.onFinished = { _ in isFinished = true }
    query.start()
    XCTAssertTrue(network.run(within: 7000) { isFinished })
    network.advance(by: 5000)
    destroy([asker], network)
    return referrer.requests
  }

  func testRPC_37_oneDownHintToTheReferrer() throws {
    let hints = try runQueryWithDeadNode().filter { $0.isInternal && $0.command == 3 }
    XCTAssertEqual(hints.map(\.value), [silent.encoded])
  }

  func testRPC_38_withoutDownHintsUserCommandThreeStillWorks() throws {
    let requests = try runQueryWithDeadNode { $0.sendDownHints = false }
    XCTAssertEqual(requests.filter { $0.isInternal && $0.command == 3 }.count, 0)
    let peer = try RawPeer(network)
    peer.answerAll()
    let asker = makeNode(network, bootstrap: []) { $0.sendDownHints = false }
    try asker.bind()
    var result: Result<Response, RPCError>?
    asker.request(RequestMessage(command: 3), to: peer.endpoint) { result = $0 }
    network.advance(by: 100)
    XCTAssertNoThrow(try XCTUnwrap(result).get())
    XCTAssertEqual(peer.requests.first?.isInternal, false)
    destroy([asker], network)
  }

  func testRPC_39_downHintAllowancePerTick() throws {
    for (limit, expected) in [(0, 0), (1, 1), (-1, 4), (50, 4)] {
      let network = VirtualNetwork(seed: 39, isLogging: true)
      let referrer = try RawPeer(network)
      let dead = (1...4).map { Endpoint(host: IPv4Address(9, 9, 9, UInt8($0)), port: 9) }
      referrer.answerAll(closerNodes: dead)
      let asker = makeNode(network, bootstrap: [referrer.endpoint]) { $0.downHintsRateLimit = limit }
      asker.start()
      // The bootstrap look-up meets the dead nodes after 6 s.
      XCTAssertTrue(network.run(within: 10_000) { asker.isBootstrapped })
      network.advance(by: 1)
      XCTAssertEqual(asker.statistics.downHint.tx, UInt64(expected), "limit \(limit)")
      XCTAssertEqual(referrer.requests.filter { $0.isInternal && $0.command == 3 }.count, expected)
      if limit == 1 {
        XCTAssertEqual(asker.downHintsLeft, 0)
        network.advance(by: 5000)
        XCTAssertEqual(asker.downHintsLeft, 1, "the allowance returns at the tick")
      }
      destroy([asker], network)
    }
  }

  func testRPC_40_windowLimitsUnansweredDatagrams() throws {
    network.advance(by: 500)  // to the beginning of a slot
    var failures = 0
    for _ in 0..<200 { node.request(RequestMessage(command: 1), to: silent) { _ in failures += 1 } }
    network.advance(by: 0)  // the end of this turn
    XCTAssertEqual(sent(to: silent).count, 80)
    network.advance(by: 750)
    XCTAssertEqual(sent(to: silent).count, 160)
    network.advance(by: 2240)
    XCTAssertEqual(sent(to: silent).count, 160, "retransmissions wait too")
    // At no time more than 80 in a slot or 160 within 3 s.
    network.advance(by: 60_000)
    XCTAssertEqual(failures, 200)
    let times = sent(to: silent).map { $0.sentAt / 1000 }
    XCTAssertEqual(Dictionary(grouping: times) { $0 / 750 }.values.map(\.count).max(), 80)
    let first = try XCTUnwrap(times.first)
    XCTAssertEqual(times.filter { $0 < first + 3000 }.count, 160)
    for _ in 0..<100 { node.request(RequestMessage(command: 1), to: silent) { _ in } }
    XCTAssertTrue(node.window.isFull)
    // Forced requests bypass the window.
    var options = RequestOptions(retries: 0)
    options.isForced = true
    let other = Endpoint(host: silent.host, port: 100)
    for _ in 0..<10 { node.request(RequestMessage(command: 1), to: other, options: options) { _ in } }
    network.advance(by: 0)
    XCTAssertEqual(sent(to: other).count, 10)
  }

  /// Event-driven drain (dht-rpc.md C-12): an answer makes room at once, not only at the next slot.
  func testRPC_40_answersReleaseTheQueueAtOnce() throws {
    let peer = try RawPeer(network)
    peer.answerAll()
    var answers = 0
    for _ in 0..<400 { node.request(RequestMessage(command: 1), to: peer.endpoint) { _ in answers += 1 } }
    network.advance(by: 0)
    XCTAssertEqual(sent(to: peer.endpoint).count, 80)
    network.advance(by: 100)
    XCTAssertEqual(answers, 400)
  }

  /// What was answered in a later slot than it was counted in does not count on: 50 exchanges of 20 requests at a time
  /// wait for no slot.
  func testAnswersCreditTheSlotThatCountedTheRequest() throws {
    for seed in 0..<20 as Range<UInt64> {
      let network = VirtualNetwork(seed: 4000 + seed)
      // Answers take 200 to 400 ms: many come in another slot.
      network.latency = { [unowned network] _ in 100_000 + UInt64(network.random.next() % 100_000) }
      let node = makeNode(network, bootstrap: [])
      try node.bind()
      let peer = try RawPeer(network)
      peer.answerAll()
      var times: [UInt64] = []
      func dial() {
        let begun = network.now
        node.request(RequestMessage(command: 1), to: peer.endpoint) { _ in
          times.append((network.now - begun) / 1000)
          if times.count < 2000 { dial() }
        }
      }
      for _ in 0..<50 { dial() }
      network.advance(by: 60_000)
      XCTAssertGreaterThanOrEqual(times.count, 2000)
      let sorted = times.sorted()
      // The longest path is 400 ms.
      XCTAssertLessThanOrEqual(try XCTUnwrap(sorted.dropLast(sorted.count / 100).last), 600, "seed \(seed)")
      destroy([node], network)
      peer.socket.close()
    }
  }

  func testRPC_40_queueIsBounded() {
    var queueFull = 0
    for _ in 0..<(Limits.maximumQueuedRequests + 80 + 25) {
      node.request(RequestMessage(command: 1), to: silent, options: RequestOptions(retries: 0)) { result in
        if self.error(result) == .queueFull { queueFull += 1 }
      }
    }
    network.advance(by: 1)
    XCTAssertEqual(queueFull, 25)
    XCTAssertEqual(node.sendQueue.count, Limits.maximumQueuedRequests)
  }

  func testRPC_41_requestsBeforeBindAreSentAfterIt() throws {
    let peer = try RawPeer(network)
    peer.answerAll()
    let late = makeNode(network, bootstrap: [])
    var result: Result<Response, RPCError>?
    late.ping(peer.endpoint) { result = $0 }
    network.advance(by: 20_000)
    XCTAssertNil(result)
    XCTAssertEqual(peer.received.count, 0)
    try late.bind()
    network.advance(by: 100)
    XCTAssertNoThrow(try XCTUnwrap(result).get())
    destroy([late], network)
  }

  func testRPC_42_roundTripTime() throws {
    network.latency = { _ in 20_000 }
    let peer = try RawPeer(network)
    peer.answerAll()
    var result: Result<Response, RPCError>?
    node.ping(peer.endpoint) { result = $0 }
    network.advance(by: 100)
    XCTAssertEqual(try result?.get().roundTripTime, 40)
    // Time in the queue does not count (dht-rpc.md E-13).
    for _ in 0..<160 { node.request(RequestMessage(command: 1), to: silent) { _ in } }
    result = nil
    node.ping(peer.endpoint) { result = $0 }
    XCTAssertTrue(network.run(within: 30_000) { result != nil })
    XCTAssertEqual(try result?.get().roundTripTime, 40)
  }

  func testRPC_43_pingStatistics() throws {
    let peer = try RawPeer(network)
    peer.answerAll()
    node.ping(peer.endpoint, size: 5) { _ in }
    XCTAssertEqual(node.statistics.ping.tx, 1)
    XCTAssertEqual(node.statistics.ping.rx, 0)
    XCTAssertEqual(node.statistics.requestsActive, 1)
    network.advance(by: 50)
    XCTAssertEqual(node.statistics.ping.tx, 1)
    XCTAssertEqual(node.statistics.ping.rx, 1)
    XCTAssertEqual(node.statistics.requestsActive, 0)
    XCTAssertEqual(node.statistics.responses, 1)
    XCTAssertEqual(peer.requests.first?.value, [0, 0, 0, 0, 0])
  }

  func testRPC_44_delayAboveTheCapFailsWithoutAPacket() {
    var result: Result<Response, RPCError>?
    node.delayedPing(silent, after: 10_001) { result = $0 }
    XCTAssertNil(result, "never inside the call")
    network.advance(by: 1)
    XCTAssertEqual(error(result), .delayTooLong)
    XCTAssertEqual(network.log.count, 0)
    XCTAssertEqual(node.statistics.requestsTotal, 0)
  }

  func testRPC_45_delayedPingTakesItsTime() throws {
    let server = try makeBootstrapper(network)
    var result: Result<Response, RPCError>?
    let start = network.now
    node.delayedPing(try endpoint(of: server), after: 1100) { result = $0 }
    XCTAssertTrue(network.run(within: 5000) { result != nil })
    XCTAssertNoThrow(try XCTUnwrap(result).get())
    XCTAssertGreaterThanOrEqual(network.now - start, 1_100_000)
    XCTAssertEqual(node.statistics.retries, 0)
    destroy([server], network)
  }

  func testRPC_46_smallerCapOfTheServerMeansTimeout() throws {
    let server = makeNode(network, bootstrap: []) { $0.maxPingDelay = 1000 }
    try server.bind()
    let port = try XCTUnwrap(server.serverSocket?.localEndpoint?.port)
    let address = Endpoint(host: try XCTUnwrap(server.environment as? VirtualHost).address, port: port)
    var result: Result<Response, RPCError>?
    let start = network.now
    node.delayedPing(address, after: 1500) { result = $0 }
    XCTAssertTrue(network.run(within: 20_000) { result != nil })
    XCTAssertEqual(error(result), .requestTimeout)
    XCTAssertEqual((network.now - start) / 1000, 4 * 2500)
    destroy([server], network)
  }

  func testRPC_47_destroyAndSuspendFailRequestsInFlight() throws {
    var results: [Result<Response, RPCError>] = []
    node.ping(silent) { results.append($0) }
    network.advance(by: 10)
    node.suspend()
    network.advance(by: 10)
    XCTAssertEqual(results.map { error($0) }, [.suspended])
    // dht-rpc.md C-18: refused at once while suspended.
    node.ping(silent) { results.append($0) }
    network.advance(by: 1)
    XCTAssertEqual(results.map { error($0) }, [.suspended, .suspended])
    node.resume()
    network.advance(by: 10)
    results = []
    node.ping(silent) { results.append($0) }
    network.advance(by: 10)
    node.destroy()
    network.advance(by: 10_000)
    XCTAssertEqual(results.map { error($0) }, [.requestDestroyed])
  }

  func testRPC_48_sessionDestroy() throws {
    let session = node.makeSession()
    var results: [Result<Response, RPCError>] = []
    for _ in 0..<3 {
      node.ping(silent, options: RequestOptions(session: session)) { results.append($0) }
    }
    var outside: Result<Response, RPCError>?
    node.ping(silent) { outside = $0 }
    network.advance(by: 10)
    XCTAssertEqual(session.count, 3)
    session.destroy()
    XCTAssertEqual(results.map { error($0) }, [.requestDestroyed, .requestDestroyed, .requestDestroyed])
    XCTAssertNil(outside)
    XCTAssertEqual(session.count, 0)
    results = []
    node.ping(silent, options: RequestOptions(session: session)) { results.append($0) }
    session.destroy(.tooFewNodes)
    XCTAssertEqual(results.map { error($0) }, [.tooFewNodes])
    let peer = try RawPeer(network)
    peer.answerAll()
    results = []
    node.ping(peer.endpoint, options: RequestOptions(session: session)) { results.append($0) }
    network.advance(by: 100)
    XCTAssertNoThrow(try XCTUnwrap(results.first).get())
    XCTAssertEqual(session.count, 0)
    network.advance(by: 5000)
    XCTAssertEqual(error(outside), .requestTimeout)
  }

  /// dht-rpc.md C-1 and B-1: ids of requests are not sequential, and distinct while in flight.
  func testRPC_C1_tidsAreUnpredictableAndDistinct() {
    let tids = (0..<4000).map { _ in node.request(RequestMessage(command: 1), to: silent) { _ in }.tid }
    XCTAssertEqual(Set(tids).count, 4000)
    let sequential = zip(tids, tids.dropFirst()).filter { $1 == $0 &+ 1 }.count
    XCTAssertLessThan(sequential, 5)
  }

  /// dht-rpc.md C-18 and C-11.9: bad destinations and too large messages fail without state.
  func testRPC_C18_badRequestsFailAtOnce() {
    var errors: [RPCError?] = []
    node.ping(Endpoint(host: silent.host, port: 0)) { errors.append(self.error($0)) }
    node.ping(Endpoint(host: .any, port: 1)) { errors.append(self.error($0)) }
    let large = RequestMessage(command: 1, value: [UInt8](repeating: 0, count: 2048))
    node.request(large, to: silent) { errors.append(self.error($0)) }
    XCTAssertEqual(errors, [])
    XCTAssertEqual(node.statistics.requestsTotal, 0)
    network.advance(by: 1)
    XCTAssertEqual(errors, [.invalidAddress, .invalidAddress, .messageTooLarge])
    XCTAssertEqual(network.log.count, 0)
  }

  /// A caller's socket: no id, answers are fed by the caller.
  func testRPC_04_requestFromAnExtraSocket() throws {
    let peer = try RawPeer(network)
    peer.answerAll()
    let persistent = try makeBootstrapper(network)
    let pool = persistent.environment.makeSocket()
    try pool.bind(host: .any, port: 0)
    pool.onMessage = { [unowned persistent, unowned pool] in persistent.receive($0, from: $1, on: pool) }
    var result: Result<Response, RPCError>?
    persistent.ping(peer.endpoint, options: RequestOptions(socket: pool)) { result = $0 }
    network.advance(by: 100)
    XCTAssertTrue(try XCTUnwrap(result).get().socket === pool)
    XCTAssertNil(peer.requests.first?.id)
    XCTAssertEqual(peer.received.first?.from.port, pool.localEndpoint?.port)
    XCTAssertEqual(persistent.sampler.count, 1, "external traffic is no NAT sample")
    pool.close()
    destroy([persistent], network)
  }
}
