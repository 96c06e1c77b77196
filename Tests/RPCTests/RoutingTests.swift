import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Items 77-90 of dht-rpc.md Part A: routing table and tick.
final class RoutingTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)
  private var node: RPCNode!

  override func setUpWithError() throws {
    network = VirtualNetwork(seed: 77, isLogging: true)
    node = makeNode(network, bootstrap: [])
  }

  override func tearDown() { destroy([node], network) }

  private func bootstrap() {
    node.start()
    network.run(within: 1000) { node.isBootstrapped }
    node.recentre(on: Bytes32())
  }

  /// Addresses whose ids begin with a one bit: all in bucket 0 of a table centred on zero.
  private func farEndpoints(_ count: Int) -> [Endpoint] {
    var result: [Endpoint] = []
    var index: UInt32 = 0
    while result.count < count {
      index += 1
      let endpoint = Endpoint(host: IPv4Address(value: 9 << 24 | index << 8 | 9), port: 9)
      if NodeAddress.id(of: endpoint).leadingZeroBitCount == 0 { result.append(endpoint) }
    }
    return result
  }

  private func farPeers(_ count: Int) throws -> [RawPeer] {
    var result: [RawPeer] = []
    while result.count < count {
      let peer = try RawPeer(network)
      if peer.id.leadingZeroBitCount == 0 { result.append(peer) }
    }
    return result
  }

  func testRPC_79_nothingIsEvictedBeforeBootstrap() throws {
    try node.bind()
    node.recentre(on: Bytes32())
    for endpoint in farEndpoints(25) {
      node.addNode(endpoint)
      node.tick += 1
    }
    XCTAssertEqual(node.nodeCount, 20)
    XCTAssertEqual(node.repings, 0)
    XCTAssertEqual(node.statistics.requestsTotal, 0)
  }

  func testRPC_77_79_fullBucket() throws {
    bootstrap()
    let far = farEndpoints(25)
    for endpoint in far { node.addNode(endpoint) }
    XCTAssertEqual(node.nodeCount, 20)
    XCTAssertEqual(node.repings, 0, "in the tick in which all were heard nobody is a candidate")
    node.tick += 1
    for endpoint in far[20...] { node.addNode(endpoint) }
    XCTAssertEqual(node.repings, 3, "at most three evictions at once")
    XCTAssertEqual(node.statistics.ping.tx, 3)
    network.advance(by: 4500)
    XCTAssertEqual(node.repings, 0)
    XCTAssertEqual(Set(node.recentNodes()).intersection(far[20..<23]).count, 3)
    XCTAssertEqual(node.nodeCount, 20)
  }

  func testRPC_78_answeringOldestStaysDeadOneIsReplaced() throws {
    bootstrap()
    let peers = try farPeers(22)
    for peer in peers { peer.answerAll() }
    for peer in peers[..<20] {
      node.addNode(peer.endpoint)
      node.tick += 1
    }
    XCTAssertEqual(node.nodeCount, 20)
    node.addNode(peers[20].endpoint)
    network.advance(by: 100)
    XCTAssertEqual(peers[0].requests.filter { $0.command == 0 }.count, 1, "the oldest one was pinged")
    XCTAssertTrue(node.recentNodes().contains(peers[0].endpoint))
    XCTAssertFalse(node.recentNodes().contains(peers[20].endpoint))
    // Now the oldest one is dead.
    peers[1].onDatagram = nil
    node.tick += 1
    node.addNode(peers[21].endpoint)
    network.advance(by: 4100)
    XCTAssertEqual(peers[1].requests.filter { $0.command == 0 }.count, 4)
    XCTAssertFalse(node.recentNodes().contains(peers[1].endpoint))
    XCTAssertTrue(node.recentNodes().contains(peers[21].endpoint))
    XCTAssertEqual(node.nodeCount, 20)
  }

  func testRPC_80_recentAndLongLivedNodesProtectTheBucket() throws {
    for (age, silence, isProtected) in [(361, 11, true), (360, 11, false), (361, 12, false)] as [(UInt64, UInt64, Bool)]
    {
      let network = VirtualNetwork(seed: 80, isLogging: true)
      let node = makeNode(network, bootstrap: [])
      node.start()
      network.run(within: 1000) { node.isBootstrapped }
      node.recentre(on: Bytes32())
      let far = farEndpoints(21)
      for endpoint in far[..<20] { node.addNode(endpoint) }
      node.tick += age - silence
      // All are heard again.
      for endpoint in far[..<20] { node.addNode(endpoint) }
      node.tick += silence
      node.addNode(far[20])
      XCTAssertEqual(node.repings, isProtected ? 0 : 1, "\(age) \(silence)")
      destroy([node], network)
    }
  }

  func testRPC_81_recentNodesOrderAndLimits() {
    let nodes = farEndpoints(5)
    for endpoint in nodes { node.addNode(endpoint) }
    XCTAssertEqual(node.recentNodes(), nodes.reversed())
    XCTAssertEqual(node.recentNodes(limit: 0), [])
    XCTAssertEqual(node.recentNodes(limit: 1), [nodes[4]])
    XCTAssertEqual(node.recentNodes(limit: 3), [nodes[4], nodes[3], nodes[2]])
    XCTAssertEqual(node.recentNodes(limit: 99).count, 5)
    node.addNode(nodes[1])
    XCTAssertEqual(node.recentNodes(limit: 1), [nodes[1]], "heard again")
  }

  func testRPC_82_filteredNodesAreInNoTableAndNoQuery() throws {
    let banned = try RawPeer(network)
    let good = try RawPeer(network)
    banned.answerAll()
    good.answerAll(closerNodes: [banned.endpoint])
    let node = makeNode(network, bootstrap: [good.endpoint]) { $0.filterNode = { $0 != banned.endpoint } }
    node.start()
    XCTAssertTrue(network.run(within: 10_000) { node.isBootstrapped })
    XCTAssertEqual(node.recentNodes(), [good.endpoint])
    XCTAssertEqual(banned.received.count, 0)
    node.addNode(banned.endpoint)
    let samples = node.sampler.count
    let server = try XCTUnwrap(node.serverSocket)
    let hello = RequestDatagram(tid: 1, to: good.endpoint, id: banned.id, isInternal: true)
    server.receive(hello.encode(), from: banned.endpoint)
    XCTAssertEqual(node.recentNodes(), [good.endpoint])
    XCTAssertEqual(node.sampler.count, samples)
    destroy([node], network)
  }

  func testRPC_83_addingTwiceYieldsOneEntry() {
    let endpoint = farEndpoints(1)[0]
    var added: [NodeAddress] = []
    node.onNodeAdded = { added.append($0) }
    node.addNode(endpoint)
    node.addNode(endpoint)
    XCTAssertEqual(node.recentNodes(), [endpoint])
    XCTAssertEqual(node.nodeCount, 1)
    XCTAssertEqual(added.count, 1)
    node.addNode(Endpoint(host: .any, port: 1))
    node.addNode(Endpoint(host: IPv4Address(224, 0, 0, 1), port: 1))
    node.addNode(Endpoint(host: IPv4Address(1, 2, 3, 4), port: 0))
    XCTAssertEqual(node.nodeCount, 1)
  }

  func testRPC_84_timeoutTowardATableNodeRemovesIt() throws {
    bootstrap()
    let endpoint = farEndpoints(1)[0]
    node.addNode(endpoint)
    var removed: [Endpoint] = []
    node.onNodeRemoved = { removed.append($0.endpoint) }
    // A user request carries no id: the node stays.
    node.ping(endpoint) { _ in }
    network.advance(by: 4100)
    XCTAssertEqual(node.nodeCount, 1)
    let query = node.findNode(target: Bytes32())
    query.start()
    network.advance(by: 6100)
    XCTAssertEqual(node.nodeCount, 0)
    XCTAssertEqual(removed, [endpoint])
  }

  /// The worked example of dht-rpc.md 12.3, which the reference gets wrong, and a random comparison.
  func testRPC_85_closestIsInTrueDistanceOrder() {
    func id(_ first: UInt8, _ last: UInt8 = 0) -> Bytes32 {
      var bytes = [UInt8](repeating: 0, count: 32)
      bytes[0] = first
      bytes[31] = last
      return Bytes32(bytes) ?? Bytes32()
    }
    var table = RoutingTable(id: Bytes32(), isDiverse: false)
    let place = Endpoint(host: IPv4Address(1, 1, 1, 1), port: 1)
    let ids = (0..<20).map { id(0x80, UInt8($0)) } + [id(0x40), id(0x20), id(0x21), id(0x01)]
    for id in ids { XCTAssertTrue(table.insert(RoutingNode(id: id, endpoint: place, tick: 0))) }
    XCTAssertEqual(table.closest(to: id(0x40), limit: 4).map(\.id), [id(0x40), id(0x01), id(0x20), id(0x21)])
    XCTAssertEqual(table.closest(to: id(0x21), limit: 3).map(\.id), [id(0x21), id(0x20), id(0x01)])
    XCTAssertEqual(table.closest(to: id(0), limit: 0).count, 0)

    var random = SeededRandom(seed: 85)
    var other = RoutingTable(id: Bytes32(random.bytes(32)) ?? Bytes32(), isDiverse: false)
    var all: [Bytes32] = []
    for _ in 0..<400 {
      // Ids near our own, so that many buckets are filled.
      var bytes = random.bytes(32)
      let shared = Int(random.next() % 4)
      for index in 0..<shared { bytes[index] = other.id.bytes[index] }
      guard let id = Bytes32(bytes) else { continue }
      if other.insert(RoutingNode(id: id, endpoint: place, tick: 0)) { all.append(id) }
    }
    var targets = (0..<60).compactMap { _ in Bytes32(random.bytes(32)) } + [other.id] + all.prefix(40)
    targets += all.prefix(20).map { $0.distance(to: Bytes32((0..<32).map { $0 == 31 ? 1 : 0 }) ?? Bytes32()) }
    for target in targets {
      let exact = all.sorted { $0.distance(to: target) < $1.distance(to: target) }
      XCTAssertEqual(other.closest(to: target).map(\.id), Array(exact.prefix(20)))
      XCTAssertEqual(other.closest(to: target, limit: 1000).map(\.id), exact)
    }
  }

  /// What answers are made from: addresses without nodes, into memory of the caller.
  func testClosestAddressesAreThoseOfTheClosestNodes() {
    var random = SeededRandom(seed: 86)
    var table = RoutingTable(id: Bytes32(random.bytes(32)) ?? Bytes32(), isDiverse: false)
    let memory = UnsafeMutableBufferPointer<Endpoint>.allocate(capacity: 20)
    defer { memory.deallocate() }
    for count in 0..<300 {
      let target = Bytes32(random.bytes(32)) ?? Bytes32()
      let found = table.closest(to: target, into: memory)
      XCTAssertEqual(found, min(table.count, 20))
      XCTAssertEqual(Array(memory[..<found]), table.closest(to: target).map(\.endpoint))
      let few = UnsafeMutableBufferPointer(rebasing: memory[..<(count % 5)])
      XCTAssertEqual(table.closest(to: target, into: few), min(table.count, count % 5))
      let endpoint = Endpoint(host: IPv4Address(value: UInt32(truncatingIfNeeded: random.next())), port: 7)
      _ = table.insert(RoutingNode(id: NodeAddress.id(of: endpoint), endpoint: endpoint, tick: 0))
    }
  }

  func testTokensAreRememberedPerAddressAndSecret() {
    var issued = IssuedTokens()
    let first = TokenStore(previous: Bytes32(repeating: 1), current: Bytes32(repeating: 2))
    let second = TokenStore(previous: Bytes32(repeating: 2), current: Bytes32(repeating: 3))
    for store in [first, second, first] {
      // More addresses than places, twice each.
      for round in 0..<2 {
        for value in 0..<UInt32(200) {
          let host = IPv4Address(value: value &* 0x0101_0301)
          XCTAssertEqual(issued.token(for: host, from: store), store.issue(for: host), "round \(round)")
        }
      }
    }
  }

  // MARK: Tick

  func testRPC_86_pingRound() throws {
    bootstrap()
    for endpoint in farEndpoints(15) { node.addNode(endpoint) }
    node.refreshTicks = 1000
    let tick = node.tick
    // Long silent: five are checked, and only when the tick is a multiple of 8.
    node.tick += 100 + (8 - (tick + 100) % 8) % 8
    for _ in 0..<7 {
      network.advance(by: 5000)
      XCTAssertEqual(node.statistics.ping.tx, 0, "tick \(node.tick)")
    }
    network.advance(by: 5000)
    XCTAssertEqual(node.tick % 8, 0)
    XCTAssertEqual(node.statistics.ping.tx, 5)
    network.advance(by: 4500)
    XCTAssertEqual(node.nodeCount, 10, "they are dead")
    // More than two requests in flight: three.
    network.advance(by: 35_000)
    let silent = Endpoint(host: IPv4Address(8, 8, 8, 8), port: 8)
    for _ in 0..<3 { node.request(RequestMessage(command: 1), to: silent) { _ in } }
    network.advance(by: 1000)
    XCTAssertEqual(node.statistics.ping.tx, 8)
    network.advance(by: 4500)
    // The oldest one is recent: two.
    for endpoint in node.recentNodes() { node.addNode(endpoint) }
    network.advance(by: 35_500)
    XCTAssertEqual(node.statistics.ping.tx, 10)
  }

  func testRPC_86_pingRoundWithoutNodesRefreshes() throws {
    bootstrap()
    node.refreshTicks = 1000
    let before = node.statistics.queriesTotal
    while node.tick % 8 != 0 { network.advance(by: 5000) }
    XCTAssertGreaterThan(node.statistics.queriesTotal, before)
  }

  func testRPC_87_refreshAfterSixtyIdleTicks() throws {
    let peer = try RawPeer(network)
    peer.answerAll()
    bootstrap()
    node.addNode(peer.endpoint)
    // Away from the extra refresh of thin tables.
    func skipThinTicks() { node.tick += (65 - node.tick % 64) % 64 }
    node.findNode(target: Bytes32()).destroy()
    XCTAssertEqual(node.refreshTicks, 60)
    let before = node.statistics.queriesTotal
    for _ in 0..<59 {
      skipThinTicks()
      network.advance(by: 5000)
    }
    XCTAssertEqual(node.statistics.queriesTotal, before)
    // Any query postpones it.
    node.query(target: Bytes32(), command: 1).destroy()
    for _ in 0..<59 {
      skipThinTicks()
      network.advance(by: 5000)
    }
    XCTAssertEqual(node.statistics.queriesTotal, before + 1)
    skipThinTicks()
    network.advance(by: 5000)
    XCTAssertEqual(node.statistics.queriesTotal, before + 2)
    XCTAssertEqual(node.refreshTicks, 60)
  }

  func testRPC_88_thinTableRefreshesEvery64Ticks() throws {
    let peer = try RawPeer(network)
    peer.answerAll()
    bootstrap()
    node.addNode(peer.endpoint)
    node.refreshTicks = 100_000
    while node.tick % 64 != 0 { network.advance(by: 5000) }
    let before = node.statistics.queriesTotal
    // Each refresh is a query and resets the counter to 60, so look at the ticks right before the next multiple of 64.
    network.advance(by: 59 * 5000)
    XCTAssertEqual(node.statistics.queriesTotal, before)
    node.refreshTicks = 100_000
    network.advance(by: 4 * 5000)
    XCTAssertEqual(node.statistics.queriesTotal, before)
    network.advance(by: 5000)
    XCTAssertEqual(node.statistics.queriesTotal, before + 1)
  }

  func testRPC_89_90_sleepDetection() throws {
    let peer = try RawPeer(network)
    peer.answerAll()
    bootstrap()
    node.addNode(peer.endpoint)
    let host = try XCTUnwrap(node.environment as? VirtualHost)
    var wakeups = 0
    node.onWakeup = { wakeups += 1 }
    host.wallClockOffset += 9000  // a gap of 14 s
    network.advance(by: 5000)
    XCTAssertEqual(wakeups, 0)
    host.wallClockOffset += 10_001  // a gap of more than 15 s
    let tick = node.tick
    let before = node.statistics.queriesTotal
    network.advance(by: 5000)
    XCTAssertEqual(wakeups, 1)
    XCTAssertEqual(node.tick % 8, 6)
    XCTAssertGreaterThanOrEqual(node.tick, tick + 720)
    XCTAssertLessThan(node.tick, tick + 728)
    network.advance(by: 5000)
    XCTAssertGreaterThan(node.statistics.queriesTotal, before, "a refresh starts by the next tick")
    // A clock that goes backwards is no sleep.
    host.wallClockOffset = 0
    network.advance(by: 20_000)
    XCTAssertEqual(wakeups, 1)
  }
}
