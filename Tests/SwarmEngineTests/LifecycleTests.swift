import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperswarmEngine

/// Items 42 to 47 and 54 to 58 of hyperswarm.md 14.
final class LifecycleTests: XCTestCase {
  private func connected(_ world: FakeWorld) throws -> (server: TestSwarm, client: TestSwarm) {
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 500)
    XCTAssertEqual(client.core.connections.count, 1)
    return (server, client)
  }

  func testSW_42_tenSwarms() throws {
    let world = FakeWorld()
    let swarms = (0..<10).map { _ in TestSwarm(world) }
    for swarm in swarms { try swarm.join(topic(1), client: false) }
    world.advance(by: 500)
    for swarm in swarms { try swarm.join(topic(1)) }
    world.advance(by: 10_000)
    for swarm in swarms { XCTAssertEqual(swarm.openKeys.count, 9) }
    for swarm in swarms { XCTAssertEqual(swarm.core.connections.count, 9) }
  }

  func testSW_43_chaos() throws {
    for seed in 1...5 as ClosedRange<UInt64> {
      let world = FakeWorld(seed: seed)
      world.keepAlive = 5_000
      var random = SeededRandom(seed: seed)
      let swarms = (0..<10).map { _ in TestSwarm(world) { $0.backoffs = [100, 1_000, 10_000, 10_000] } }
      var members: [[Int]] = []
      for _ in 0..<15 { members.append((0..<10).filter { _ in random.next() % 3 == 0 }) }
      for (index, list) in members.enumerated() {
        for member in list { try swarms[member].join(topic(UInt8(index + 1))) }
      }
      for _ in 0..<30 {
        world.advance(by: random.next() % 600)
        let open = swarms[Int(random.next() % 10)].core.connections
        if !open.isEmpty { open[Int(random.next() % UInt64(open.count))].destroy() }
      }
      world.advance(by: 10_000)
      for swarm in swarms { for discovery in swarm.core.topics { discovery.refresh() } }
      world.advance(by: 35_000)
      for (index, swarm) in swarms.enumerated() {
        var expected: Set<Bytes32> = []
        for list in members where list.contains(index) { expected.formUnion(list.map { swarms[$0].key }) }
        expected.remove(swarm.key)
        XCTAssertEqual(swarm.openKeys, expected, "seed \(seed), swarm \(index)")
        XCTAssertEqual(swarm.core.connections.count, expected.count)
        XCTAssertEqual(swarm.core.connecting, 0)
      }
    }
  }

  func testSW_44_suspendAndResume() throws {
    let world = FakeWorld()
    let (server, client) = try connected(world)
    var suspended = false
    client.core.suspend { suspended = true }
    XCTAssertTrue(client.core.isSuspended)
    world.advance(by: 500)
    XCTAssertTrue(suspended)
    XCTAssertTrue(client.node.isSuspended)
    XCTAssertEqual(client.core.connections.count, 0)
    var rounds: [Result<Bool, SwarmError>] = []
    let discovery = try XCTUnwrap(client.core.status(topic(1)))
    discovery.refresh { rounds.append($0) }
    discovery.flushed { rounds.append($0) }
    XCTAssertEqual(rounds, [.success(false), .success(false)])
    world.advance(by: 1_500)
    var resumed = false
    client.core.resume { _ in resumed = true }
    world.advance(by: 1_000)
    XCTAssertTrue(resumed)
    XCTAssertEqual(server.connections.count, 2)
    XCTAssertEqual(client.connections.count, 2)
  }

  func testSW_44_serverSuspendsUnannouncesAndComesBack() throws {
    let world = FakeWorld()
    let (server, client) = try connected(world)
    server.core.suspend()
    world.advance(by: 500)
    XCTAssertEqual(world.announces[topic(1)], [])
    server.core.resume()
    world.advance(by: 500)
    XCTAssertEqual(world.announces[topic(1)], [server.key])
    client.core.status(topic(1))?.refresh()
    world.advance(by: 1_000)
    XCTAssertEqual(client.core.connections.count, 1)
  }

  func testSW_44_overlappingSuspendAndResumeSettleInOrder() throws {
    let world = FakeWorld()
    let (_, client) = try connected(world)
    var order: [String] = []
    client.core.suspend { order.append("s1") }
    client.core.suspend { order.append("s2") }
    client.core.resume { _ in order.append("r1") }
    client.core.suspend { order.append("s3") }
    client.core.resume { _ in order.append("r2") }
    world.advance(by: 5_000)
    XCTAssertEqual(order, ["s1", "s2", "r1", "s3", "r2"])
    XCTAssertFalse(client.core.isSuspended)
    XCTAssertEqual(client.core.connections.count, 1)
  }

  func testSW_44_incomingWhileSuspendedIsRefused() throws {
    let world = FakeWorld()
    let (server, client) = try connected(world)
    server.core.suspend()
    world.advance(by: 100)
    let stream = FakeStream(server.node, isInitiator: false, publicKey: server.key, remotePublicKey: client.key)
    server.core.incoming(stream)
    XCTAssertEqual(stream.abortReason, .suspended)
    var verdict: Bool?
    server.core.screenIncoming(SwarmFirewallRequest(publicKey: client.key)) { verdict = $0 }
    XCTAssertEqual(verdict, false)
  }

  func testSW_45_counters() throws {
    let world = FakeWorld()
    let (server, client) = try connected(world)
    var mine = client.core.statistics
    XCTAssertEqual(mine.client, SwarmStatistics.Role(attempted: 1, opened: 1, closed: 0))
    XCTAssertEqual(server.core.statistics.server, SwarmStatistics.Role(attempted: 0, opened: 1, closed: 0))
    client.connections[0].peer.reconnect(false)
    client.connections[0].stream.destroy()
    world.advance(by: 100)
    mine = client.core.statistics
    XCTAssertEqual(mine.client, SwarmStatistics.Role(attempted: 1, opened: 1, closed: 1))
    XCTAssertEqual(server.core.statistics.server, SwarmStatistics.Role(attempted: 0, opened: 1, closed: 1))
    XCTAssertEqual(mine.updates, UInt64(client.connecting.count))
    XCTAssertEqual(mine.liveClients, 0)
  }

  func testSW_46_updateShowsConnecting() throws {
    let world = FakeWorld()
    let (_, client) = try connected(world)
    XCTAssertEqual(client.connecting, [1, 0])
  }

  func testSW_47_metrics() throws {
    let world = FakeWorld()
    let servers = [TestSwarm(world), TestSwarm(world)]
    for server in servers { try server.join(topic(1), client: false) }
    world.advance(by: 100)
    let swarm = TestSwarm(world)
    try swarm.join(topic(1), server: false)
    try swarm.join(topic(2), client: false)
    world.advance(by: 500)
    XCTAssertEqual(swarm.core.statistics.averageMTU, 0, "no traffic yet, and a number")
    let client = TestSwarm(world)
    try client.join(topic(2), server: false)
    world.advance(by: 500)
    for (index, stream) in swarm.core.connections.enumerated() {
      var traffic = TransportStatistics()
      traffic.bytesSent = 1_000
      traffic.bytesReceived = 2_000
      traffic.packetsSent = 10
      traffic.packetsReceived = 20
      traffic.retransmissions = 3
      traffic.fastRecoveries = 2
      traffic.timeouts = 1
      traffic.congestionWindow = UInt32(10 * (index + 1))
      traffic.mtu = 1_200
      stream.transportStatistics = traffic
    }
    // A closed one stays in the totals.
    client.connections[0].peer.reconnect(false)
    client.connections[0].stream.destroy()
    world.advance(by: 100)
    let statistics = swarm.core.statistics
    let values = Dictionary(uniqueKeysWithValues: statistics.metrics.map { ($0.name, $0.value) })
    XCTAssertEqual(values.count, 15)
    XCTAssertEqual(values["hyperswarm_nr_peers"], 2)
    XCTAssertEqual(values["hyperswarm_client_connections_opened"], 2)
    XCTAssertEqual(values["hyperswarm_client_connections_attempted"], 2)
    XCTAssertEqual(values["hyperswarm_client_connections_closed"], 0)
    XCTAssertEqual(values["hyperswarm_server_connections_opened"], 1)
    XCTAssertEqual(values["hyperswarm_server_connections_closed"], 1)
    XCTAssertEqual(values["hyperswarm_total_bytes_transmitted_over_swarm_streams"], 3_000)
    XCTAssertEqual(values["hyperswarm_total_bytes_received_over_swarm_streams"], 6_000)
    XCTAssertEqual(values["hyperswarm_total_packets_transmitted_over_swarm_streams"], 30)
    XCTAssertEqual(values["hyperswarm_total_packets_received_over_swarm_streams"], 60)
    XCTAssertEqual(values["hyperswarm_total_retransmits_over_swarm_streams"], 9)
    XCTAssertEqual(values["hyperswarm_total_fast_recoveries_over_swarm_streams"], 6)
    XCTAssertEqual(values["hyperswarm_total_rto_count_over_swarm_streams"], 3)
    XCTAssertEqual(values["hyperswarm_avg_congestion_window"], 15)
    XCTAssertEqual(values["hyperswarm_avg_mtu"], 1_200)
    let text = statistics.metrics.prometheusText
    XCTAssertTrue(text.contains("# TYPE hyperswarm_nr_peers gauge\nhyperswarm_nr_peers 2\n"))
    XCTAssertTrue(statistics.metricsJSON.hasPrefix("{\"hyperswarm_nr_peers\":2,"))
    XCTAssertTrue(statistics.metricsJSON.hasSuffix("\"hyperswarm_avg_mtu\":1200}"))
  }

  // MARK: Better than the reference

  func testSW_54_peerQueuedAtSuspendIsDialledAfterResume() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    let client = TestSwarm(world)
    client.core.maxParallel = 0
    try client.join(topic(1), server: false)
    world.advance(by: 100)
    XCTAssertEqual(client.core.queueLength, 1)
    client.core.suspend()
    world.advance(by: 500)
    XCTAssertEqual(client.core.queueLength, 0)
    XCTAssertEqual(client.core.peers.count, 0, "nothing leaks")
    client.core.maxParallel = 3
    client.core.resume()
    world.advance(by: 500)
    XCTAssertEqual(client.core.connections.count, 1)
  }

  func testSW_54_explicitPeersAreDialledAtOnceAfterResume() {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    server.core.listen()
    world.advance(by: 50)
    client.core.joinPeer(server.key)
    world.advance(by: 100)
    client.core.suspend()
    world.advance(by: 100)
    client.core.resume()
    world.advance(by: 100)
    XCTAssertEqual(client.connections.count, 2)
  }

  func testSW_55_limitAcrossRefreshes() throws {
    let world = FakeWorld()
    let servers = (0..<6).map { _ in TestSwarm(world) }
    for server in servers { try server.join(topic(1), client: false) }
    world.advance(by: 100)
    let client = TestSwarm(world)
    let session = try client.join(topic(1), server: false, limit: 2)
    world.advance(by: 500)
    XCTAssertEqual(client.core.connections.count, 2)
    for _ in 0..<3 {
      session.refresh()
      world.advance(by: 500)
      XCTAssertEqual(client.core.connections.count, 2)
    }
    // A lost connection may be replaced, and never by more than one.
    client.core.connections[0].destroy()
    session.refresh()
    world.advance(by: 1_000)
    XCTAssertEqual(client.core.connections.count, 2)
    // The topic's limit is the largest of its sessions.
    let more = try client.join(topic(1), server: false, limit: 4)
    world.advance(by: 500)
    XCTAssertEqual(client.core.connections.count, 4)
    more.destroy()
    session.refresh(JoinOptions(server: false, client: true, limit: nil))
    world.advance(by: 500)
    XCTAssertEqual(client.core.connections.count, 6)
  }

  func testSW_56_backOnlineRefreshesTopics() throws {
    let world = FakeWorld()
    let (_, client) = try connected(world)
    let queries = client.node.queries.count
    client.node.isOnline = false
    client.node.networkUpdate?()
    world.advance(by: 100)
    XCTAssertEqual(client.node.queries.count, queries)
    client.node.isOnline = true
    client.node.networkUpdate?()
    client.node.networkUpdate?()
    world.advance(by: 100)
    XCTAssertEqual(client.node.queries.count, queries + 1)
    XCTAssertEqual(client.connections[0].stream.probes, 1)
  }

  func testSW_12_1_networkChangeProbesAndRefreshes() throws {
    let world = FakeWorld()
    let (_, client) = try connected(world)
    try client.join(topic(2), server: false)
    world.advance(by: 100)
    let queries = client.node.queries.count
    client.node.networkChange?()
    client.node.networkChange?()
    world.advance(by: 100)
    XCTAssertEqual(client.node.queries.count, queries + 2)
    XCTAssertEqual(client.connections[0].stream.probes, 1)
    client.core.suspend()
    world.advance(by: 500)
    let suspendedQueries = client.node.queries.count
    client.node.networkChange?()
    world.advance(by: 100)
    XCTAssertEqual(client.node.queries.count, suspendedQueries)
  }

  func testSW_57_listenIsRetriedAfterAFailure() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    swarm.node.listenFailures = 1
    let session = try swarm.join(topic(1))
    var results: [Result<Bool, SwarmError>] = []
    session.flushed { results.append($0) }
    world.advance(by: 100)
    XCTAssertEqual(
      results,
      [.failure(.listen(SwarmStreamFailure(code: "KEYPAIR_ALREADY_USED", description: "Key pair in use")))])
    session.refresh { results.append($0) }
    world.advance(by: 100)
    XCTAssertEqual(results.last, .success(true))
    XCTAssertTrue(swarm.core.isListening)
    XCTAssertEqual(swarm.core.server.listenCalls, 2)
    swarm.core.listen()
    XCTAssertEqual(swarm.core.server.listenCalls, 2)
  }

  func testSW_58_givenDHTIsKeptOnRequest() throws {
    for owns in [true, false] {
      let world = FakeWorld()
      let swarm = TestSwarm(world) { $0.ownsDHT = owns }
      try swarm.join(topic(1))
      world.advance(by: 100)
      var destroyed = 0
      swarm.core.destroy { destroyed += 1 }
      swarm.core.destroy { destroyed += 1 }
      world.advance(by: 500)
      XCTAssertEqual(destroyed, 2)
      XCTAssertEqual(swarm.node.isDestroyed, owns)
      XCTAssertTrue(swarm.core.server.isClosed)
      XCTAssertEqual(world.announces[topic(1)], [])
      swarm.core.destroy { destroyed += 1 }
      XCTAssertEqual(destroyed, 3)
    }
  }

  func testSW_12_4_afterDestroy() throws {
    let world = FakeWorld()
    let (server, client) = try connected(world)
    client.core.destroy()
    XCTAssertThrowsError(try client.join(topic(2))) { XCTAssertEqual($0 as? SwarmError, .destroyed) }
    XCTAssertEqual(SwarmError.destroyed.description, "Swarm destroyed")
    var listenError: SwarmError?
    client.core.listen { if case .failure(let error) = $0 { listenError = error } }
    XCTAssertEqual(listenError, .destroyed)
    client.core.joinPeer(topic(7))
    world.advance(by: 1_000)
    XCTAssertEqual(client.core.links.count, 0)
    XCTAssertEqual(client.node.dials.count, 1)
    XCTAssertNil(client.connections[0].stream.closeFailure, "closes without error here")
    XCTAssertEqual(server.connections[0].stream.closeFailure?.code, "ECONNRESET", "and as a reset there")
  }

  func testSW_24_destroyAndSuspendHaveDeadlines() throws {
    let world = FakeWorld()
    let (server, _) = try connected(world)
    server.node.serverHangs = true
    world.queryTime = 1_000_000
    var suspended = false
    server.core.suspend { suspended = true }
    world.advance(by: Limits.teardownDeadline - 100)
    XCTAssertFalse(suspended)
    world.advance(by: 200)
    XCTAssertTrue(suspended)
    server.core.resume()
    world.advance(by: 100)
    var destroyed = false
    server.core.destroy { destroyed = true }
    world.advance(by: Limits.teardownDeadline + 100)
    XCTAssertTrue(destroyed)
  }

  func testSW_24_forcedDestroySkipsTheNetworkAndCutsARunningOneShort() throws {
    for cut in [false, true] {
      let world = FakeWorld()
      let (server, _) = try connected(world)
      server.node.serverHangs = true
      world.queryTime = 1_000_000
      var destroyed = false
      server.core.destroy(force: !cut) { destroyed = true }
      if cut {
        world.advance(by: 500)
        XCTAssertFalse(destroyed)
        server.core.destroy(force: true)
      }
      world.advance(by: 10)
      XCTAssertTrue(destroyed)
      XCTAssertEqual(server.core.links.count, 0)
      XCTAssertTrue(server.core.leaving.isEmpty)
      XCTAssertEqual(server.node.activeQueries, 0)
    }
  }

  func testSW_everyOperationSettlesWhenDestroyed() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    let session = try swarm.join(topic(1))
    var settled = 0
    session.flushed { _ in settled += 1 }
    session.refresh { _ in settled += 1 }
    swarm.core.flush { _ in settled += 1 }
    swarm.core.listen { _ in settled += 1 }
    swarm.core.suspend { settled += 1 }
    swarm.core.resume { _ in settled += 1 }
    swarm.core.leave(topic(1)) { settled += 1 }
    swarm.core.destroy { settled += 1 }
    world.advance(by: 20_000)
    XCTAssertEqual(settled, 8)
  }

  func testSW_noTimersAreLeftAfterDestroy() throws {
    let world = FakeWorld()
    let swarms = (0..<4).map { _ in TestSwarm(world) }
    for swarm in swarms { try swarm.join(topic(1)) }
    world.advance(by: 5_000)
    for swarm in swarms { swarm.core.destroy() }
    world.advance(by: 20_000)
    XCTAssertEqual(world.network.pendingEventCount, 0)
    for swarm in swarms { XCTAssertEqual(swarm.core.links.count + swarm.core.pendingIncoming.count, 0) }
  }

  // MARK: Failed resumes

  func testAFailedResumeIsReportedAndRecovers() throws {
    let world = FakeWorld()
    let (server, client) = try connected(world)
    client.core.suspend()
    world.advance(by: 1_000)
    client.node.resumeFailure = SwarmStreamFailure(code: "BIND_FAILED", description: "no such address")
    var results: [Result<Void, SwarmError>] = []
    client.core.resume { results.append($0) }
    world.advance(by: 30_000)
    XCTAssertEqual(results.count, 1)
    guard case .failure(.resume(let failure))? = results.first else { return XCTFail("\(results)") }
    XCTAssertEqual(failure.code, "BIND_FAILED")
    XCTAssertTrue(client.core.isSuspended)
    XCTAssertEqual(client.core.connections.count, 0)
    client.node.resumeFailure = nil
    world.advance(by: 15_000)
    XCTAssertFalse(client.core.isSuspended)
    XCTAssertEqual(client.core.connections.count, 1)
    XCTAssertEqual(server.core.connections.count, 1)
  }

  func testSuspendEndsTheRecovery() throws {
    let world = FakeWorld()
    let (_, client) = try connected(world)
    client.core.suspend()
    world.advance(by: 1_000)
    client.node.resumeFailure = SwarmStreamFailure(code: "BIND_FAILED", description: "no such address")
    // Once before, once while an attempt is under way.
    for pause in [500, 0] as [UInt64] {
      client.core.resume()
      world.advance(by: pause)
      client.core.suspend()
      world.advance(by: 1_000)
      client.node.resumeFailure = nil
      world.advance(by: 60_000)
      XCTAssertTrue(client.core.isSuspended, "\(pause)")
      client.node.resumeFailure = SwarmStreamFailure(code: "BIND_FAILED", description: "no such address")
    }
  }

  // MARK: A network that does not answer

  func testFlushAndFlushedTellThatTheNetworkDoesNotAnswer() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    world.queriesFail = true
    let session = try swarm.core.join(topic: topic(1), options: JoinOptions())
    var flushes: [Bool] = []
    swarm.core.flush { flushes.append((try? $0.get()) ?? true) }
    world.advance(by: 2_000)
    XCTAssertEqual(flushes, [false])
    var flushed: [Bool] = []
    session.flushed { flushed.append((try? $0.get()) ?? true) }
    XCTAssertEqual(flushed, [false], "no look-up under way, and none has succeeded")
    world.queriesFail = false
    world.advance(by: 60_000)
    swarm.core.flush { flushes.append((try? $0.get()) ?? false) }
    session.flushed { flushed.append((try? $0.get()) ?? false) }
    world.advance(by: 5_000)
    XCTAssertEqual(flushes, [false, true])
    XCTAssertEqual(flushed, [false, true])
    // A topic that is left while a flush waits does not make it fail.
    _ = try swarm.core.join(topic: topic(2), options: JoinOptions())
    swarm.core.flush { flushes.append((try? $0.get()) ?? false) }
    swarm.core.leave(topic(2))
    world.advance(by: 5_000)
    XCTAssertEqual(flushes, [false, true, true])
  }
}
