import HyperEncoding
import XCTest

@testable import HyperswarmEngine

/// Items 12 to 32 of hyperswarm.md 14 on a fake DHT and virtual time.
final class ConnectionTests: XCTestCase {
  func testSW_12_oneServerOneClient() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 500)
    XCTAssertEqual(server.connections.count, 1)
    XCTAssertEqual(client.connections.count, 1)
    XCTAssertTrue(client.connections[0].stream.isInitiator)
    XCTAssertFalse(server.connections[0].stream.isInitiator)
    XCTAssertEqual(client.connections[0].peer.publicKey, server.key)
    XCTAssertTrue(client.connections[0].peer.isClient)
    XCTAssertTrue(server.connections[0].peer.isServer)
    XCTAssertEqual(client.node.dials[0].options.relayAddresses.count, 1, "the lookup's nodes are passed on")
    XCTAssertEqual(client.core.server.listenCalls, 0, "a pure client does not listen")
    XCTAssertEqual(server.node.dials.count, 0, "a pure server does not dial")
  }

  func testSW_13_bothRolesOneConnectionEventEach() throws {
    for seeds in [(1, 2), (2, 1)] as [(UInt8, UInt8)] {
      let world = FakeWorld()
      let a = TestSwarm(world, keySeed: seeds.0)
      let b = TestSwarm(world, keySeed: seeds.1)
      try a.join(topic(1))
      world.advance(by: 100)
      try b.join(topic(1))
      world.advance(by: 2_000)
      XCTAssertEqual(a.connections.count, 1)
      XCTAssertEqual(b.connections.count, 1)
    }
  }

  func testSW_14_serverDestroysClientRedials() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world) { $0.backoffs = [100, 200, 300, 400] }
    var destroyed = false
    server.onConnection = { stream, _ in
      guard !destroyed else { return }
      destroyed = true
      stream.destroy()
    }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 5_000)
    XCTAssertEqual(server.connections.count, 2)
    XCTAssertEqual(client.core.connections.count, 1)
    XCTAssertGreaterThanOrEqual(client.node.dials.count, 2)
  }

  func testSW_15_clientDestroysEveryConnection() throws {
    let world = FakeWorld()
    let server = TestSwarm(world) { $0.backoffs = [100, 200, 300, 400] }
    let client = TestSwarm(world) { $0.backoffs = [100, 200, 300, 400] }
    client.onConnection = { stream, _ in stream.destroy() }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 1_200)
    XCTAssertGreaterThan(client.connections.count, 1)
    XCTAssertLessThan(client.connections.count, 5)
  }

  func testSW_16_banInTheHandler() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    client.onConnection = { stream, peer in
      peer.ban(true)
      stream.destroy()
    }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    let session = try client.join(topic(1), server: false)
    world.advance(by: 5_000)
    session.refresh()
    world.advance(by: 5_000)
    XCTAssertEqual(client.connections.count, 1)
    XCTAssertEqual(client.bans.count, 0, "no event for a ban by the application")
    XCTAssertTrue(client.core.peers[server.key]?.isBanned == true)
    client.core.peers[server.key]?.ban(false)
    session.refresh()
    world.advance(by: 500)
    XCTAssertEqual(client.connections.count, 2, "dialled again at the next sighting")
  }

  func testSW_17_simpleDeduplication() throws {
    let world = FakeWorld()
    let a = TestSwarm(world)
    let b = TestSwarm(world)
    try a.join(topic(1))
    try b.join(topic(1))
    world.advance(by: 1_000)
    for discovery in a.core.topics + b.core.topics { discovery.refresh() }
    world.advance(by: 3_000)
    XCTAssertEqual(a.openKeys, [b.key])
    XCTAssertEqual(b.openKeys, [a.key])
    XCTAssertEqual(a.connections.count, 1)
    XCTAssertEqual(b.connections.count, 1)
  }

  func testSW_18_twoTopicsOneConnection() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    try server.join(topic(1), client: false)
    try server.join(topic(2), client: false)
    world.advance(by: 100)
    var events: [Bytes32] = []
    client.onConnection = { _, peer in peer.onTopic = { events.append($0) } }
    try client.join(topic(1), server: false)
    world.advance(by: 100)
    try client.join(topic(2), server: false)
    world.advance(by: 1_000)
    XCTAssertEqual(client.connections.count, 1)
    XCTAssertEqual(client.connections[0].peer.topics, [topic(1), topic(2)])
    XCTAssertEqual(events, [topic(2)])
    client.core.leave(topic(1))
    XCTAssertEqual(client.connections[0].peer.topics, [topic(2)], "left topics are dropped")
  }

  func testSW_19_oneServerTwoClients() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let clients = [TestSwarm(world), TestSwarm(world)]
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    for client in clients { try client.join(topic(1), server: false) }
    world.advance(by: 1_000)
    XCTAssertEqual(server.openKeys, Set(clients.map(\.key)))
    for client in clients { XCTAssertEqual(client.openKeys, [server.key]) }
  }

  func testSW_20_serverLeaves() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let early = TestSwarm(world)
    let late = TestSwarm(world)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try early.join(topic(1), server: false)
    world.advance(by: 500)
    var left = false
    server.core.leave(topic(1)) { left = true }
    world.advance(by: 500)
    XCTAssertTrue(left)
    XCTAssertEqual(world.announces[topic(1)], [])
    try late.join(topic(1), server: false)
    world.advance(by: 5_000)
    XCTAssertEqual(late.connections.count, 0)
    XCTAssertEqual(early.core.connections.count, 1)
    XCTAssertEqual(server.node.queries.last?.onlySeeds, true, "un-announces where it announced, without a search")
    XCTAssertEqual(server.node.queries.last?.operation, .withdraw)
  }

  func testSW_21_newServerIsFoundByRefresh() throws {
    let world = FakeWorld()
    let client = TestSwarm(world)
    let session = try client.join(topic(1), server: false)
    // The look-up and the one right after it have found nothing.
    world.advance(by: 2_500)
    let server = TestSwarm(world)
    try server.join(topic(1), client: false)
    world.advance(by: 3_000)
    XCTAssertEqual(client.connections.count, 0)
    var result: Bool?
    session.refresh { result = try? $0.get() }
    world.advance(by: 500)
    XCTAssertEqual(result, true)
    XCTAssertEqual(client.connections.count, 1)
  }

  func testSW_22_secondConnectionWorksAfterTheFirstIsDestroyed() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    server.onConnection = { stream, _ in stream.onMessage = { stream.write($0 + [9]) } }
    var first = true
    client.onConnection = { [unowned client] stream, _ in
      stream.write([1])
      guard first else { return }
      first = false
      client.node.after(50) { stream.destroy() }
    }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 3_000)
    XCTAssertEqual(client.connections.count, 2)
    XCTAssertEqual(server.connections.count, 2)
    for swarm in [client, server] { XCTAssertFalse(swarm.connections[1].stream.isDestroying) }
    XCTAssertEqual(client.connections[1].stream.received, [[1, 9]])
    XCTAssertEqual(server.connections[1].stream.received, [[1]])
  }

  func testSW_23_flushResolvesAtMaxPeers() throws {
    let world = FakeWorld()
    let servers = [TestSwarm(world), TestSwarm(world), TestSwarm(world)]
    for server in servers { try server.join(topic(1), client: false) }
    world.advance(by: 100)
    let client = TestSwarm(world) { $0.maxPeers = 1 }
    try client.join(topic(1), server: false)
    XCTAssertEqual(client.flush(), true)
    XCTAssertEqual(client.core.connections.count, 1)
    XCTAssertGreaterThan(client.core.queueLength, 0)
  }

  func testSW_24_joiningAgainWithOtherRolesRefreshes() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    try swarm.join(topic(1), server: false)
    world.advance(by: 500)
    XCTAssertNil(world.announces[topic(1)])
    try swarm.join(topic(1), client: false)
    world.advance(by: 500)
    XCTAssertEqual(world.announces[topic(1)], [swarm.key])
    XCTAssertEqual(
      swarm.node.queries.last?.operation,
      .announce(relayAddresses: swarm.core.server.relayAddresses, clear: true))
    XCTAssertEqual(swarm.node.queries.last?.seeds.count, 1, "seeded with the closest nodes of the last query")
  }

  func testSW_25_topicsInJoinOrder() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    for byte in [3, 1, 2] as [UInt8] { try swarm.join(topic(byte)) }
    XCTAssertEqual(swarm.core.topics.map(\.topic), [topic(3), topic(1), topic(2)])
    XCTAssertNotNil(swarm.core.status(topic(1)))
    XCTAssertNil(swarm.core.status(topic(9)))
    var cleared = false
    swarm.core.clear { cleared = true }
    world.advance(by: 500)
    XCTAssertTrue(cleared)
    XCTAssertTrue(swarm.core.topics.isEmpty)
    XCTAssertEqual(world.announces[topic(1)] ?? [], [])
  }

  func testSW_26_destroyingTheClientSessionKeepsTheServerSession() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    let clientSession = try swarm.join(topic(1), server: false)
    let serverSession = try swarm.join(topic(1), client: false)
    world.advance(by: 500)
    clientSession.destroy()
    world.advance(by: 500)
    XCTAssertTrue(clientSession.isDestroyed)
    XCTAssertFalse(serverSession.isDestroyed)
    XCTAssertEqual(world.announces[topic(1)], [swarm.key])
    let client = TestSwarm(world)
    try client.join(topic(1), server: false)
    world.advance(by: 500)
    XCTAssertEqual(swarm.connections.count, 1)
  }

  func testSW_26_destroyingTheServerSessionUnannounces() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    try swarm.join(topic(1), server: false)
    let serverSession = try swarm.join(topic(1), client: false)
    world.advance(by: 500)
    XCTAssertEqual(world.announces[topic(1)], [swarm.key])
    serverSession.destroy()
    world.advance(by: 500)
    XCTAssertEqual(world.announces[topic(1)], [])
    XCTAssertEqual(swarm.core.topics.count, 1)
    var error: SwarmError?
    serverSession.refresh { if case .failure(let failure) = $0 { error = failure } }
    XCTAssertEqual(error, .sessionDestroyed)
  }

  func testSW_27_lastSessionsLeaveTheTopics() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    let sessions = [try swarm.join(topic(1)), try swarm.join(topic(2))]
    world.advance(by: 500)
    var done = 0
    for session in sessions { session.destroy { done += 1 } }
    XCTAssertTrue(swarm.core.discoveries.isEmpty)
    world.advance(by: 500)
    XCTAssertEqual(done, 2)
    XCTAssertTrue(swarm.core.leaving.isEmpty)
    XCTAssertEqual(world.announces[topic(1)], [])
  }

  func testSW_27_rejoiningWaitsForTheTeardown() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    try swarm.join(topic(1))
    world.advance(by: 500)
    swarm.core.leave(topic(1))
    try swarm.join(topic(1))
    world.advance(by: 500)
    XCTAssertEqual(
      swarm.node.queries.map(\.operation).map { "\($0)".prefix(8) }, ["announce", "withdraw", "announce"])
    XCTAssertEqual(world.announces[topic(1)], [swarm.key])
  }

  func testSW_28_serverForgetsTheClient() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 500)
    XCTAssertEqual(server.core.peers.count, 1)
    client.core.destroy()
    world.advance(by: 1_000)
    XCTAssertEqual(server.core.peers.count, 0)
  }

  func testSW_29_clientForgetsThePeerAfterAllRetries() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world) { $0.backoffs = [0, 0, 0, 0] }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 500)
    XCTAssertEqual(client.core.peers.count, 1)
    server.core.destroy()
    world.advance(by: 5_000)
    XCTAssertEqual(client.core.peers.count, 0)
    XCTAssertEqual(client.core.statistics.waiting, 0)
  }

  func testSW_30_streamCallbacksBelongToTheApplication() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    var closes = 0
    for swarm in [server, client] {
      swarm.onConnection = { stream, _ in
        XCTAssertNil(stream.onClose)
        XCTAssertNil(stream.onMessage)
        stream.onClose = { _ in closes += 1 }
      }
    }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 200)
    client.connections[0].peer.reconnect(false)
    client.connections[0].stream.destroy()
    world.advance(by: 100)
    XCTAssertEqual(closes, 2)
    XCTAssertEqual(server.core.connections.count + client.core.connections.count, 0)
  }

  func testSW_limits_maxParallelAndMaxClientConnections() throws {
    let world = FakeWorld()
    let servers = (0..<8).map { _ in TestSwarm(world) }
    for server in servers { try server.join(topic(1), client: false) }
    world.advance(by: 100)
    let client = TestSwarm(world) { $0.maxClientConnections = 5 }
    try client.join(topic(1), server: false)
    world.advance(by: 1_000)
    XCTAssertEqual(client.core.connections.count, 5)
    XCTAssertEqual(client.connecting.max(), 3)
    client.core.connections[0].destroy()
    world.advance(by: 1_000)
    XCTAssertEqual(client.core.connections.count, 5)
    client.core.maxClientConnections = 100
    client.core.drain()
    world.advance(by: 1_000)
    XCTAssertEqual(client.core.connections.count, 8)
  }

  func testSW_peersThatComeAtTheSameMomentMeetSoon() throws {
    for seed in 1...20 {
      let world = FakeWorld()
      let swarms = [TestSwarm(world), TestSwarm(world)]
      world.advance(by: UInt64(seed) * 37)
      for swarm in swarms { try swarm.join(topic(1)) }
      world.advance(by: 15_000)
      for swarm in swarms { XCTAssertEqual(swarm.core.connections.count, 1, "start \(seed)") }
    }
  }

  func testSW_whoFindsNobodyLooksAgainSoonAndLessAndLessOften() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    try swarm.join(topic(1), server: false)
    XCTAssertEqual(swarm.node.queries.count, 1)
    var times = [swarm.node.environment.nowMilliseconds]
    for _ in 0..<1_800 {
      let count = swarm.node.queries.count
      world.advance(by: 1_000)
      if swarm.node.queries.count > count { times.append(swarm.node.environment.nowMilliseconds) }
    }
    let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
    for (gap, base) in zip(gaps, [1_000, 5_000, 15_000, 45_000, 135_000, 405_000] as [UInt64]) {
      XCTAssertGreaterThanOrEqual(gap + 2_000, base)
      XCTAssertLessThanOrEqual(gap, min(2 * base, 720_000) + 2_000)
    }
    XCTAssertGreaterThanOrEqual(gaps.count, 6)
    XCTAssertLessThanOrEqual(gaps.count, 8)
  }

  func testSW_refreshTimer_everyTenToTwelveMinutesAndLaterAfterSleep() throws {
    let world = FakeWorld()
    let other = TestSwarm(world)
    try other.join(topic(1), client: false)
    world.advance(by: 1_000)
    let swarm = TestSwarm(world)
    try swarm.join(topic(1), server: false)
    world.advance(by: 2_500)
    XCTAssertEqual(swarm.node.queries.count, 2, "looks once more at first")
    world.advance(by: 590_000)
    XCTAssertEqual(swarm.node.queries.count, 2)
    world.advance(by: 131_000)
    XCTAssertEqual(swarm.node.queries.count, 3)
    // The wall clock jumps ahead: the machine slept, so the next one is not at once.
    swarm.node.environment.wallClockOffset = 3_600_000
    let before = swarm.node.environment.nowMilliseconds
    while swarm.node.queries.count == 3 && swarm.node.environment.nowMilliseconds < before + 900_000 {
      world.advance(by: 1_000)
    }
    XCTAssertEqual(swarm.node.queries.count, 4)
  }

  /// Without another peer to find, a server's failed announcement is still repeated soon.
  func testSW_failedAnnouncementsAreRepeatedWithinAMinute() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    world.queriesFail = true
    try swarm.join(topic(1), client: false)
    world.advance(by: 600_000)
    XCTAssertEqual(world.announces[topic(1)]?.count ?? 0, 0)
    XCTAssertLessThanOrEqual(swarm.node.queries.count, 20)
    world.queriesFail = false
    world.advance(by: 50_000)
    XCTAssertEqual(world.announces[topic(1)]?.count, 1)
  }

  func testSW_failedQueriesAreReportedAndRepeatedLater() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    world.queriesFail = true
    let session = try swarm.join(topic(1), server: false)
    var result: Bool?
    session.flushed { result = try? $0.get() }
    world.advance(by: 500)
    XCTAssertEqual(result, false)
    world.queriesFail = false
    world.advance(by: 10_500)
    XCTAssertTrue((2...3).contains(swarm.node.queries.count), "and once more after the first success")
  }

  func testSW_joinWithoutRolesDoesNothing() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    let session = try swarm.join(topic(1), server: false, client: false)
    world.advance(by: 1_000)
    XCTAssertEqual(swarm.node.queries.count, 0)
    var error: SwarmError?
    session.refresh { if case .failure(let failure) = $0 { error = failure } }
    XCTAssertEqual(error, .noRoles)
    session.refresh(JoinOptions(server: false, client: true))
    world.advance(by: 500)
    XCTAssertEqual(swarm.node.queries.count, 1)
  }
}
