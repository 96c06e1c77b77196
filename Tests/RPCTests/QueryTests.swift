import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Items 91-105 of dht-rpc.md Part A: queries.
final class QueryTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)

  override func setUp() { network = VirtualNetwork(seed: 91, isLogging: true) }

  /// Runs a query to its end.
  @discardableResult
  private func run(_ query: Query, within milliseconds: UInt64 = 30_000) -> Result<Void, RPCError>? {
    var results: [Result<Void, RPCError>] = []
    query.onFinished = { results.append($0) }
    query.start()
    XCTAssertEqual(results.count, 0, "never inside start")
    network.run(within: milliseconds) { !results.isEmpty }
    XCTAssertEqual(results.count, 1)
    XCTAssertTrue(query.isFinished)
    return results.first
  }

  private func error(_ result: Result<Void, RPCError>?) -> RPCError? {
    if case .failure(let error) = result { return error }
    return nil
  }

  private func makeClient(_ bootstrap: [Endpoint]) throws -> RPCNode {
    let node = makeNode(network, bootstrap: bootstrap) { $0.quickFirewall = false }
    try node.bind()
    return node
  }

  /// In a network of 120 (500 would take long in debug builds).
  func testRPC_91_92_findNodeFindsAMember() throws {
    network.isLogging = false
    let swarm = try makeSwarm(network, size: 120)
    let hintsBefore = swarm.reduce(0) { $0 + $1.statistics.downHint.tx }
    let boot = try endpoint(of: swarm[0])
    for member in [3, 60, 119] {
      let target = try XCTUnwrap(swarm[member].id)
      let exact = swarm.map { $0.tableID }.sorted { $0.distance(to: target) < $1.distance(to: target) }.prefix(20)
      // From scratch.
      let fromScratch = try makeClient([boot])
      let first = fromScratch.findNode(target: target)
      run(first)
      XCTAssertEqual(first.closestReplies.first?.from.id, target)
      XCTAssertEqual(first.closestReplies.compactMap(\.from.id), Array(exact), "the true 20 nearest")
      // From `nodes`.
      let fromNodes = makeNode(network, bootstrap: []) {
        $0.nodes = [swarm[7], swarm[8]].compactMap { try? self.endpoint(of: $0) }
      }
      try fromNodes.bind()
      let second = fromNodes.findNode(target: target)
      run(second)
      XCTAssertEqual(second.closestReplies.first?.from.id, target)
      // From earlier replies.
      let fromReplies = try makeClient([])
      var options = QueryOptions()
      options.seeds = first.closestNodes
      let third = fromReplies.findNode(target: target, options: options)
      run(third)
      XCTAssertEqual(third.closestReplies.first?.from.id, target)
      XCTAssertEqual(third.errors, 0)
      destroy([fromScratch, fromNodes, fromReplies], network)
    }
    XCTAssertEqual(
      swarm.reduce(0) { $0 + $1.statistics.downHint.tx }, hintsBefore, "nobody timed out, so no down hints")
    destroy(swarm, network)
  }

  func testRPC_93_94_105_commit() throws {
    network.isLogging = false
    let swarm = try makeSwarm(network, size: 40)
    let target = Bytes32(repeating: 0x5c)
    var tokens = 0
    var plain = 0
    for node in swarm {
      node.onRequest = { request in
        XCTAssertEqual(request.command, 7)
        XCTAssertEqual(request.target, target)
        XCTAssertEqual(request.value, [1, 2])
        if request.token != nil { tokens += 1 } else { plain += 1 }
        request.reply([3])
        return true
      }
    }
    let client = try makeClient([try endpoint(of: swarm[0])])
    var options = QueryOptions()
    options.commitsWithToken = true
    let query = client.query(target: target, command: 7, value: [1, 2], options: options)
    XCTAssertNil(error(run(query)))
    XCTAssertEqual(tokens, 20)
    XCTAssertGreaterThanOrEqual(plain, 20)
    // Item 105.
    let distances = query.closestReplies.compactMap { $0.from.id?.distance(to: target) }
    XCTAssertEqual(distances.count, 20)
    XCTAssertEqual(distances, distances.sorted())
    XCTAssertEqual(Set(distances).count, 20)
    XCTAssertTrue(query.closestReplies.allSatisfy { $0.error == 0 })

    // Item 93: a custom commit is called once per closest reply.
    var committed: [Endpoint] = []
    var custom = QueryOptions()
    custom.commit = { reply, done in
      XCTAssertNotNil(reply.token)
      committed.append(reply.from.endpoint)
      done(.success(()))
      done(.failure(.tooFewNodes))  // a second call changes nothing
    }
    let second = client.query(target: target, command: 7, value: [1, 2], options: custom)
    XCTAssertNil(error(run(second)))
    XCTAssertEqual(committed, second.closestNodes)
    XCTAssertEqual(committed.count, 20)

    // One success among failures is a success; only failures are the last failure.
    for (good, expected) in [(1, nil), (0, RPCError.remote(16))] as [(Int, RPCError?)] {
      var left = good
      var mixed = QueryOptions()
      mixed.commit = { _, done in
        client.environment.defer {
          left -= 1
          done(left >= 0 ? .success(()) : .failure(.remote(16)))
        }
      }
      XCTAssertEqual(error(run(client.query(target: target, command: 7, value: [1, 2], options: mixed))), expected)
    }
    destroy(swarm + [client], network)
  }

  /// dht-rpc.md C-2: a token that expired on the way is replaced once by the fresh one.
  func testRPC_C2_commitRetriesOnceOnARefusedToken() throws {
    let peer = try RawPeer(network)
    var tokens: [Bytes32?] = []
    peer.onDatagram = { [unowned self] bytes, source in
      guard let incoming = request(bytes) else { return }
      tokens.append(incoming.token)
      var reply = ResponseDatagram(tid: incoming.tid, to: source, id: peer.id)
      reply.token = Bytes32(repeating: UInt8(tokens.count))
      reply.error = tokens.count == 2 ? 2 : 0
      peer.send(reply, to: source)
    }
    let client = try makeClient([peer.endpoint])
    var options = QueryOptions()
    options.commitsWithToken = true
    XCTAssertNil(error(run(client.query(target: Bytes32(), command: 1, options: options))))
    XCTAssertEqual(tokens, [nil, Bytes32(repeating: 1), Bytes32(repeating: 2)])
    destroy([client], network)
  }

  func testRPC_95_commitWithoutClosestRepliesFails() throws {
    let ephemeral = try RawPeer(network)
    ephemeral.answerAll(withID: false)
    var options = QueryOptions()
    options.commit = { _, _ in XCTFail("nobody to commit to") }
    for bootstrap in [[], [ephemeral.endpoint]] {
      let client = try makeClient(bootstrap)
      XCTAssertEqual(error(run(client.query(target: Bytes32(), command: 1, options: options))), .tooFewNodes)
      destroy([client], network)
    }
  }

  func testRPC_96_97_98_repliesAndItems() throws {
    let refusing = try RawPeer(network)
    let ephemeral = try RawPeer(network)
    let named = try RawPeer(network)
    refusing.answerAll(closerNodes: [named.endpoint], error: 16)
    ephemeral.answerAll(withID: false)
    named.answerAll()
    let client = try makeClient([refusing.endpoint, ephemeral.endpoint])
    let query = client.query(target: Bytes32(), command: 1)
    var items: [Endpoint] = []
    query.onReply = { items.append($0.from.endpoint) }
    run(query)
    XCTAssertEqual(Set(items), [ephemeral.endpoint, named.endpoint], "an error reply yields closer nodes but no item")
    XCTAssertEqual(query.closestNodes, [named.endpoint], "an ephemeral replier is data, not a closest node")
    XCTAssertEqual(query.successes, 2)
    XCTAssertEqual(query.errors, 1)
    destroy([client], network)
  }

  /// Cached seeds that mostly fail fall back to the routing table.
  func testRPC_99_fallBackFromTheCache() throws {
    let live = try RawPeer(network)
    live.answerAll()
    let client = try makeClient([])
    client.addNode(live.endpoint)
    var options = QueryOptions()
    options.seeds = (1...20).map { Endpoint(host: IPv4Address(9, 9, 9, UInt8($0)), port: 9) }
    options.retries = 0
    let query = client.findNode(target: Bytes32(), options: options)
    run(query)
    XCTAssertEqual(query.closestNodes, [live.endpoint])
    XCTAssertEqual(query.errors, 20)
    destroy([client], network)
  }

  func testRPC_100_slowStartFromTheCache() throws {
    var pending: [(RawPeer, RequestDatagram, Endpoint)] = []
    let peers = try (0..<40).map { _ in try RawPeer(network) }
    for peer in peers {
      peer.onDatagram = { [unowned self, unowned peer] bytes, source in
        guard let incoming = request(bytes) else { return }
        pending.append((peer, incoming, source))
      }
    }
    func answer(_ count: Int) {
      for (peer, incoming, source) in pending.prefix(count) {
        peer.send(ResponseDatagram(tid: incoming.tid, to: source, id: peer.id), to: source)
      }
      pending.removeFirst(count)
      network.advance(by: 5)
    }
    let client = try makeClient([])
    var options = QueryOptions()
    options.seeds = peers.map(\.endpoint)
    let query = client.findNode(target: Bytes32(), options: options)
    query.start()
    network.advance(by: 5)
    XCTAssertEqual(query.inFlight, 10, "the first burst is as wide as the concurrency")
    answer(7)
    XCTAssertEqual(query.inFlight, 3, "no new visits until fewer than three are in flight")
    answer(1)
    XCTAssertEqual(query.inFlight, 3)
    XCTAssertEqual(pending.count, 3)
    answer(1)
    XCTAssertEqual(query.inFlight, 3)
    answer(1)
    XCTAssertEqual(query.successes, 10)
    XCTAssertEqual(query.inFlight, 10, "ten results are in: full speed")
    query.destroy()
    destroy([client], network)
  }

  func testRPC_101_slowRequestsDoNotCount() throws {
    // Ten silent seeds take up the concurrency; each stops to count after 1 s. They are not all among the ten nearest,
    // so some are visited only when the first ones have turned slow.
    let silent = (1...10).map { Endpoint(host: IPv4Address(9, 9, 9, UInt8($0)), port: 9) }
    let live = try (0..<25).map { _ in try RawPeer(network) }
    for peer in live { peer.answerAll() }
    let target = try XCTUnwrap(silent.map { NodeAddress.id(of: $0) }.first)
    let client = try makeClient([])
    var options = QueryOptions()
    options.seeds = silent + live.map(\.endpoint)
    options.onlySeeds = true
    options.concurrency = 10
    let query = client.findNode(target: target, options: options)
    let start = network.now
    run(query)
    let duration = (network.now - start) / 1000
    XCTAssertGreaterThanOrEqual(duration, 1000)
    XCTAssertLessThan(duration, 2100, "a full closest set and only slow requests: finished")
    XCTAssertEqual(query.closestReplies.count, 20)
    XCTAssertEqual(client.statistics.timeouts, 0)
    destroy([client], network)
  }

  func testRPC_102_onlySeedsContactsNobodyElse() throws {
    let other = try RawPeer(network)
    other.answerAll()
    let seed = try RawPeer(network)
    seed.answerAll(closerNodes: [other.endpoint])
    let client = try makeClient([other.endpoint])
    client.addNode(other.endpoint)
    var options = QueryOptions()
    options.seeds = [seed.endpoint, seed.endpoint]
    options.onlySeeds = true
    let query = client.findNode(target: Bytes32(), options: options)
    run(query)
    XCTAssertEqual(query.closestNodes, [seed.endpoint])
    XCTAssertEqual(other.received.count, 0)
    XCTAssertEqual(seed.received.count, 1)
    destroy([client], network)
  }

  func testRPC_103_104_destroyAndFinish() throws {
    let silent = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    let client = try makeClient([silent])
    let query = client.findNode(target: Bytes32())
    var results: [Result<Void, RPCError>] = []
    query.onFinished = { results.append($0) }
    network.advance(by: 1000)
    XCTAssertEqual(network.log.count, 0, "lazy")
    XCTAssertEqual(client.statistics.queriesActive, 1, "but active from creation")
    query.start()
    query.start()
    network.advance(by: 100)
    XCTAssertEqual(client.statistics.requestsActive, 1)
    query.destroy()
    query.destroy()
    XCTAssertEqual(results.count, 1)
    XCTAssertEqual(error(results.first), .requestDestroyed)
    XCTAssertEqual(client.statistics.requestsActive, 0)
    XCTAssertEqual(client.statistics.queriesActive, 0)
    network.advance(by: 10_000)
    XCTAssertEqual(network.log.count, 1)
    // A caller's session survives the query.
    let session = client.makeSession()
    var options = QueryOptions()
    options.session = session
    let shared = client.findNode(target: Bytes32(), options: options)
    shared.start()
    network.advance(by: 10)
    shared.destroy()
    XCTAssertEqual(session.count, 1)
    session.destroy()
    // A query that is never started and forgotten does not stay active.
    _ = client.findNode(target: Bytes32())
    XCTAssertEqual(client.statistics.queriesActive, 0)
    destroy([client], network)
  }

  func testPauseAndResume() throws {
    let peers = try (0..<15).map { _ in try RawPeer(network) }
    for peer in peers { peer.answerAll() }
    let client = try makeClient([])
    var options = QueryOptions()
    options.seeds = peers.map(\.endpoint)
    options.onlySeeds = true
    let query = client.findNode(target: Bytes32(), options: options)
    var items = 0
    var isFinished = false
    query.onReply = { _ in
      items += 1
      if items == 3 { query.pause() }
    }
    query.onFinished = { _ in isFinished = true }
    query.start()
    network.advance(by: 1000)
    XCTAssertLessThanOrEqual(items, 12)
    XCTAssertFalse(isFinished)
    query.resume()
    network.advance(by: 1000)
    XCTAssertEqual(items, 15)
    XCTAssertTrue(isFinished)
    destroy([client], network)
  }

  /// dht-rpc.md C-5: the nearest candidate is visited first, whichever node named it when.
  func testRPC_C5_nearestFirst() throws {
    let peers = try (0..<30).map { _ in try RawPeer(network) }
    var order: [Bytes32] = []
    for peer in peers {
      peer.onDatagram = { [unowned self, unowned peer] bytes, source in
        guard let incoming = request(bytes) else { return }
        order.append(peer.id)
        peer.send(ResponseDatagram(tid: incoming.tid, to: source, id: peer.id), to: source)
      }
    }
    let client = try makeClient([])
    var options = QueryOptions()
    options.seeds = peers.map(\.endpoint)
    options.concurrency = 1
    let target = Bytes32(repeating: 0x77)
    let query = client.findNode(target: target, options: options)
    run(query)
    let distances = order.map { $0.distance(to: target) }
    XCTAssertEqual(distances, distances.sorted())
    XCTAssertEqual(order.count, 20, "the 20 nearest known have answered: the others are left alone")
    destroy([client], network)
  }
}
