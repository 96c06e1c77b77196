import HyperEncoding
import XCTest

@testable import HyperswarmEngine

/// Items 38 to 41, 51 to 53 of hyperswarm.md 14.
final class ExplicitPeerTests: XCTestCase {
  private static let notFound = SwarmStreamFailure(code: "PEER_NOT_FOUND", description: "Peer not found")

  func testSW_38_joinPeerConnectsAndReconnects() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    var listening = false
    server.core.listen { if case .success = $0 { listening = true } }
    world.advance(by: 50)
    XCTAssertTrue(listening)
    client.core.joinPeer(server.key)
    world.advance(by: 100)
    XCTAssertEqual(client.connections.count, 1)
    client.connections[0].stream.destroy()
    server.connections[0].stream.destroy()
    world.advance(by: 3_000)
    XCTAssertEqual(client.connections.count, 2)
    XCTAssertEqual(server.connections.count, 2)
    XCTAssertEqual(client.node.queries.count, 0)
  }

  func testSW_39_joinPeerToSelf() {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    swarm.core.joinPeer(swarm.key)
    world.advance(by: 100)
    XCTAssertEqual(swarm.core.queueLength, 0)
    XCTAssertEqual(swarm.core.explicitPeers.count, 0)
    XCTAssertEqual(swarm.node.dials.count, 0)
  }

  func testSW_40_leavePeer() {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    server.core.listen()
    world.advance(by: 50)
    client.core.joinPeer(server.key)
    world.advance(by: 100)
    client.core.leavePeer(server.key)
    XCTAssertEqual(client.core.explicitPeers.count, 0)
    XCTAssertEqual(client.core.connections.count, 1)
    client.connections[0].stream.destroy()
    world.advance(by: 60_000)
    XCTAssertEqual(client.connections.count, 1)
    XCTAssertEqual(client.core.peers.count, 0)
    client.core.leavePeer(topic(9))
  }

  func testSW_40_aLiftedBanHasTheExplicitPeerDialledAtOnce() {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    client.onConnection = { _, peer in peer.ban(true) }
    server.core.listen()
    world.advance(by: 50)
    client.core.joinPeer(server.key)
    world.advance(by: 100)
    client.connections[0].stream.destroy()
    world.advance(by: 60_000)
    XCTAssertEqual(client.connections.count, 1, "banned")
    client.core.peers[server.key]?.ban(false)
    world.advance(by: 100)
    XCTAssertEqual(client.connections.count, 2)
  }

  func testSW_40_aLiftedBanLeavesNoEntry() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world) { $0.firewall = { _, verdict in verdict(.ban) } }
    let key = Bytes32(repeating: 7)
    swarm.core.screenIncoming(SwarmFirewallRequest(publicKey: key)) { XCTAssertFalse($0) }
    let peer = try XCTUnwrap(swarm.core.peers[key])
    peer.ban(true)
    XCTAssertNotNil(swarm.core.peers[key])
    peer.ban(false)
    XCTAssertNil(swarm.core.peers[key], "nothing but the ban held it")
  }

  func testSW_41_entryStaysWhileExplicit() {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    server.core.listen()
    world.advance(by: 50)
    client.core.joinPeer(server.key)
    world.advance(by: 100)
    server.core.destroy()
    world.advance(by: 10_000)
    XCTAssertEqual(client.core.connections.count, 0)
    XCTAssertEqual(client.core.peers.count, 1)
    client.core.leavePeer(server.key)
    world.advance(by: 2_000)
    XCTAssertEqual(client.core.peers.count, 0)
  }

  // MARK: 51, the schedules of hyperswarm.md 8.4 (default backoffs)

  private func gaps(_ times: [UInt64]) -> [UInt64] { zip(times.dropFirst(), times).map { $0 - $1 } }

  private func assertGap(_ gap: UInt64, _ timer: RetryTimer, _ extra: UInt64, line: UInt = #line) {
    let ranges: [ClosedRange<UInt64>] = [660...2_640, 3_300...8_580, 9_900...23_100, 396_000...951_060]
    let range = ranges[timer.rawValue]
    XCTAssertTrue(
      (range.lowerBound...range.upperBound + extra).contains(gap), "\(gap) is not within \(timer) \(range)", line: line)
  }

  func testSW_51_topicPeerThatDropsEachTime() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    server.onConnection = { stream, _ in stream.node.after(50) { stream.destroy() } }
    let client = TestSwarm(world) { $0.backoffs = nil }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    world.advance(by: 400_000)
    let times = client.dialTimes(of: server.key)
    XCTAssertEqual(times.count, 4)
    for (gap, timer) in zip(gaps(times), [RetryTimer.s, .m, .l]) { assertGap(gap, timer, 100) }
    XCTAssertEqual(client.core.peers.count, 0, "forgotten")
    client.core.status(topic(1))?.refresh()
    world.advance(by: 100)
    XCTAssertEqual(client.dialTimes(of: server.key).count, 5, "until a refresh finds it again")
  }

  func testSW_51_topicPeerNeverReachable() throws {
    let world = FakeWorld()
    let peer = Bytes32(repeating: 7)
    world.announces[topic(1)] = [peer]
    world.failures[peer] = Self.notFound
    let client = TestSwarm(world) { $0.backoffs = nil }
    try client.join(topic(1), server: false)
    world.advance(by: 400_000)
    let times = client.dialTimes(of: peer)
    XCTAssertEqual(times.count, 4)
    for (gap, timer) in zip(gaps(times), [RetryTimer.m, .l, .l]) { assertGap(gap, timer, 60) }
    XCTAssertEqual(client.core.peers.count, 0)
    // Attempt events tell what happened and when the next dial comes (hyperswarm.md 15, row 13).
    let failures = client.attempts.filter { if case .failed = $0.stage { true } else { false } }
    XCTAssertEqual(failures.count, 4)
    XCTAssertEqual(failures.map(\.stage), Array(repeating: .failed(Self.notFound), count: 4))
    XCTAssertEqual(failures.map { $0.nextRetry != nil }, [true, true, true, false])
    XCTAssertEqual(client.attempts.count { $0.stage == .started }, 4)
  }

  func testSW_51_stableConnectionStartsAgainAtS() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world) { $0.backoffs = nil }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    for round in 1...4 {
      world.advance(by: 20_000)
      XCTAssertEqual(client.core.connections.count, 1, "round \(round)")
      let closed = client.node.environment.nowMilliseconds
      client.core.connections.first?.destroy()
      world.advance(by: 3_000)
      assertGap(try XCTUnwrap(client.dialTimes(of: server.key).last) - closed, .s, 20)
    }
    XCTAssertEqual(client.dialTimes(of: server.key).count, 5)
  }

  func testSW_51_explicitPeerNeverReachable() {
    let world = FakeWorld()
    let peer = Bytes32(repeating: 7)
    world.failures[peer] = Self.notFound
    let client = TestSwarm(world) { $0.backoffs = nil }
    client.core.joinPeer(peer)
    world.advance(by: 4_000_000)
    let times = client.dialTimes(of: peer)
    XCTAssertGreaterThan(times.count, 6)
    let gaps = gaps(times)
    for (gap, timer) in zip(gaps, [RetryTimer.m, .l, .l]) { assertGap(gap, timer, 60) }
    for gap in gaps.dropFirst(3) { assertGap(gap, .x, 60) }
    XCTAssertEqual(client.core.peers[peer]?.priority, .low)
  }

  // MARK: 52

  func testSW_52_explicitDialsIgnoreLimitsAndShareTheTable() throws {
    let world = FakeWorld()
    let servers = (0..<8).map { _ in TestSwarm(world) }
    for server in servers { try server.join(topic(1), client: false) }
    world.advance(by: 100)
    let client = TestSwarm(world) { $0.maxPeers = 6 }
    for server in servers[0..<2] { client.core.joinPeer(server.key) }
    world.advance(by: 100)
    XCTAssertEqual(client.core.connections.count, 2)
    try client.join(topic(1), server: false)
    world.advance(by: 1_000)
    // Factor 3 with two explicit peers: 3 x 2 is not below 6, so no topic dial.
    XCTAssertEqual(client.core.connections.count, 2)
    for server in servers[2..<7] { client.core.joinPeer(server.key) }
    world.advance(by: 1_000)
    XCTAssertEqual(client.core.connections.count, 7, "explicit ones ignore the limit")
  }

  func testSW_52_joinPeerFromACallbackIsDialled() throws {
    let world = FakeWorld()
    let servers = (0..<2).map { _ in TestSwarm(world) }
    for server in servers { try server.join(topic(1), client: false) }
    world.advance(by: 100)
    let client = TestSwarm(world) { $0.maxPeers = 1 }
    client.core.onAttempt = { [weak client] attempt in
      if attempt.stage == .started { client?.core.joinPeer(servers[1].key) }
    }
    client.core.joinPeer(servers[0].key)
    world.advance(by: 100)
    XCTAssertEqual(client.openKeys, Set(servers.map(\.key)))
  }

  // MARK: 53

  func testSW_53_joinPeerThenFlushResolves() {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    server.core.listen()
    world.advance(by: 50)
    client.core.joinPeer(server.key)
    var result: Bool?
    client.core.flush { result = try? $0.get() }
    XCTAssertNil(result)
    world.advance(by: 100)
    XCTAssertEqual(result, true)
    XCTAssertEqual(client.core.connections.count, 1)
  }

  func testSW_53_flushCountsFailedAndQueuedExplicitDials() {
    let world = FakeWorld()
    let client = TestSwarm(world)
    for byte in 1...6 as ClosedRange<UInt8> {
      world.failures[topic(byte)] = Self.notFound
      client.core.joinPeer(topic(byte))
    }
    var result: Bool?
    client.core.flush { result = try? $0.get() }
    world.advance(by: 60)
    XCTAssertNil(result, "only three are dialled at once")
    world.advance(by: 60)
    XCTAssertEqual(result, true)
    XCTAssertGreaterThanOrEqual(client.node.dials.count, 6)
  }

  func testSW_flush_timeoutCancelAndDestroy() {
    let world = FakeWorld()
    world.dialFailureDelay = 10_000
    world.failures[topic(7)] = Self.notFound
    let client = TestSwarm(world)
    client.core.joinPeer(topic(7))
    var results: [Result<Bool, SwarmError>] = []
    client.core.flush(timeout: 100) { results.append($0) }
    world.advance(by: 200)
    XCTAssertEqual(results, [.failure(.timedOut)])
    let flush = client.core.flush { results.append($0) }
    flush?.cancel()
    flush?.cancel()
    XCTAssertEqual(results.last, .failure(.cancelled))
    client.core.flush { results.append($0) }
    client.core.destroy()
    XCTAssertEqual(results, [.failure(.timedOut), .failure(.cancelled), .success(false)])
    client.core.flush { results.append($0) }
    XCTAssertEqual(results.count, 4)
  }

  func testSW_flush_idleResolvesAtOnceAndWaitsForTopics() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    XCTAssertEqual(client.flush(), true)
    try server.join(topic(1), client: false)
    XCTAssertEqual(server.flush(), true)
    try client.join(topic(1), server: false)
    XCTAssertEqual(client.flush(), true)
    XCTAssertEqual(client.core.connections.count, 1)
  }

  // MARK: Relays

  func testSW_relayIsUsedAfterAHolepunchFailure() throws {
    let world = FakeWorld()
    let peer = Bytes32(repeating: 7)
    let relay = Bytes32(repeating: 8)
    world.announces[topic(1)] = [peer]
    world.failures[peer] = SwarmStreamFailure(code: "HOLEPUNCH_ABORTED", description: "")
    let client = TestSwarm(world) { $0.relayThrough = .keys([relay]) }
    try client.join(topic(1), server: false)
    world.advance(by: 1_000)
    XCTAssertGreaterThanOrEqual(client.node.dials.count, 2)
    XCTAssertEqual(client.node.dials.prefix(2).map(\.options.relayThrough), [nil, relay])
    XCTAssertEqual(client.core.peers[peer]?.forcesRelaying, true)
    client.node.networkChange?()
    world.advance(by: 1)
    XCTAssertEqual(client.core.peers[peer]?.forcesRelaying, false, "another network, another chance")
  }

  func testSW_relayIsUsedBehindARandomNAT() {
    let world = FakeWorld()
    let client = TestSwarm(world) { $0.relayThrough = .keys([topic(8)]) }
    XCTAssertNil(client.core.chooseRelay(force: false))
    client.node.isRandomizedNAT = true
    XCTAssertEqual(client.core.chooseRelay(force: false), topic(8))
    client.core.relayThrough = .choose { $0 ? [topic(9)] : [] }
    XCTAssertNil(client.core.chooseRelay(force: false))
    XCTAssertEqual(client.core.chooseRelay(force: true), topic(9))
  }
}
