import HyperEncoding
import XCTest

@testable import HyperswarmEngine

/// Items 33 to 37 of hyperswarm.md 14, limits and asynchronous verdicts.
final class FirewallTests: XCTestCase {
  private func pair(
    _ world: FakeWorld, server configureServer: @escaping (inout SwarmOptions) -> Void = { _ in },
    client configureClient: @escaping (inout SwarmOptions) -> Void = { _ in }
  ) throws -> (server: TestSwarm, client: TestSwarm) {
    let server = TestSwarm(world, configureServer)
    let client = TestSwarm(world, configureClient)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    try client.join(topic(1), server: false)
    return (server, client)
  }

  func testSW_33_rejectedPeerIsBannedForGood() throws {
    let world = FakeWorld()
    let (server, client) = try pair(world, server: { $0.firewall = { _, verdict in verdict(.ban) } })
    world.advance(by: 30_000)
    XCTAssertEqual(server.core.statistics.bannedPeers, 1)
    server.core.firewall = nil
    client.core.status(topic(1))?.refresh()
    try client.join(topic(2), client: false)
    world.advance(by: 500)
    try server.join(topic(2), server: false)
    world.advance(by: 30_000)
    XCTAssertEqual(server.connections.count, 0)
    XCTAssertEqual(client.connections.count, 0)
    XCTAssertEqual(server.core.statistics.bannedPeers, 1)
    XCTAssertEqual(server.node.dials.count, 0, "a banned peer is not dialled either")
  }

  func testSW_34_banEvent() throws {
    let world = FakeWorld()
    let (server, client) = try pair(world, server: { $0.firewall = { _, verdict in verdict(.ban) } })
    world.advance(by: 5_000)
    XCTAssertEqual(server.bans.count, 1)
    XCTAssertEqual(server.bans[0].0.publicKey, client.key)
    XCTAssertEqual(server.bans[0].1.description, "Peer is firewalled")
    XCTAssertEqual(server.core.statistics.bannedPeers, 1)
  }

  func testSW_35_serverRejectsClient() throws {
    let world = FakeWorld()
    let (server, client) = try pair(world, server: { $0.firewall = { _, verdict in verdict(.ban) } })
    world.advance(by: 60_000)
    XCTAssertEqual(server.connections.count, 0)
    XCTAssertEqual(client.connections.count, 0)
  }

  func testSW_36_clientRejectsServer() throws {
    let world = FakeWorld()
    var calls = 0
    let (server, client) = try pair(
      world,
      client: {
        $0.firewall = { request, verdict in
          XCTAssertNil(request.address)
          calls += 1
          verdict(.ban)
        }
      })
    world.advance(by: 60_000)
    XCTAssertEqual(calls, 1)
    XCTAssertEqual(client.node.dials.count, 0)
    XCTAssertEqual(server.connections.count, 0)
    XCTAssertEqual(client.bans.map(\.0.publicKey), [server.key])
  }

  func testAnExplicitPeerThatIsRefusedIsAskedAboutAgainLater() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    var asked: [UInt64] = []
    let client = TestSwarm(world) {
      $0.firewall = { _, verdict in
        asked.append(server.node.environment.nowMilliseconds)
        verdict(asked.count < 3 ? .refuse : .accept)
      }
    }
    client.core.joinPeer(server.key)
    world.advance(by: 1_000)
    XCTAssertEqual(asked.count, 1, "neither nested nor in a busy loop")
    world.advance(by: 25_000)
    XCTAssertEqual(asked.count, 3)
    XCTAssertEqual(asked[1] - asked[0], Limits.refusalMemory)
    XCTAssertEqual(client.connections.count, 1)
  }

  func testSW_37_retryingRejectedClientAsksOnce() throws {
    let world = FakeWorld()
    var calls = 0
    let (_, client) = try pair(
      world,
      server: {
        $0.firewall = { _, verdict in
          calls += 1
          verdict(.ban)
        }
      })
    world.advance(by: 60_000)
    XCTAssertEqual(calls, 1)
    XCTAssertGreaterThan(client.node.dials.count, 1)
  }

  func testSW_refusalIsNotABan() throws {
    let world = FakeWorld()
    var calls = 0
    let (server, client) = try pair(
      world,
      server: {
        $0.firewall = { _, verdict in
          calls += 1
          verdict(calls == 1 ? .refuse : .accept)
        }
      })
    world.advance(by: 9_000)
    XCTAssertEqual(calls, 1, "repeated handshakes within the refusal memory do not ask again")
    XCTAssertEqual(server.core.statistics.refusedByFirewall, 1)
    XCTAssertEqual(server.core.statistics.bannedPeers, 0)
    XCTAssertEqual(server.core.peers.count, 0, "strangers leave no entry")
    world.advance(by: 5_000)
    client.core.status(topic(1))?.refresh()
    world.advance(by: 5_000)
    XCTAssertEqual(server.connections.count, 1)
  }

  func testSW_asynchronousVerdict() throws {
    let world = FakeWorld()
    let (server, client) = try pair(
      world,
      server: { options in
        options.firewall = { _, verdict in
          _ = world.network.makeHost().schedule(after: 300) {
            verdict(.accept)
            verdict(.ban)  // only the first one counts
          }
        }
      })
    world.advance(by: 250)
    XCTAssertEqual(server.connections.count, 0)
    world.advance(by: 1_000)
    XCTAssertEqual(server.connections.count, 1)
    XCTAssertEqual(client.connections.count, 1)
    XCTAssertEqual(server.core.statistics.bannedPeers, 0)
    XCTAssertEqual(server.core.pendingVerdicts, 0)
  }

  func testSW_asynchronousVerdictBeforeADial() throws {
    let world = FakeWorld()
    let answers = Answers()
    let (server, client) = try pair(world, client: { $0.firewall = { answers.pending.append(($0.publicKey, $1)) } })
    world.advance(by: 100)
    XCTAssertEqual(answers.pending.map(\.0), [server.key])
    XCTAssertEqual(client.core.connecting, 1, "holds a slot")
    client.core.status(topic(1))?.refresh()
    world.advance(by: 100)
    XCTAssertEqual(answers.pending.count, 1)
    answers.pending[0].1(.accept)
    world.advance(by: 100)
    XCTAssertEqual(client.connections.count, 1)
  }

  private final class Answers {
    var pending: [(Bytes32, (SwarmFirewallVerdict) -> Void)] = []
  }

  func testSW_missingVerdictRefusesAfterTheDeadline() throws {
    let world = FakeWorld()
    let (server, client) = try pair(world, server: { $0.firewall = { _, _ in } })
    world.advance(by: Limits.firewallDeadline + 200)
    XCTAssertEqual(server.core.statistics.refusedByFirewall, 1)
    XCTAssertEqual(server.core.pendingVerdicts, 0)
    XCTAssertEqual(server.core.statistics.bannedPeers, 0)
    XCTAssertEqual(client.connections.count, 0)
  }

  func testSW_pendingVerdictsAreBounded() {
    let world = FakeWorld()
    let swarm = TestSwarm(world) { $0.firewall = { _, _ in } }
    var refused = 0
    for index in 0..<1_000 {
      var bytes = Bytes32(repeating: 1).bytes
      bytes[0] = UInt8(index & 255)
      bytes[1] = UInt8(index >> 8)
      guard let key = Bytes32(bytes) else { continue }
      swarm.core.screenIncoming(SwarmFirewallRequest(publicKey: key)) { if !$0 { refused += 1 } }
    }
    XCTAssertEqual(swarm.core.pendingVerdicts, Limits.maxPendingVerdicts)
    XCTAssertEqual(refused, 1_000 - Limits.maxPendingVerdicts)
    XCTAssertLessThanOrEqual(swarm.core.refusals.count, Limits.maxRefusals)
    world.advance(by: Limits.firewallDeadline + 1)
    XCTAssertEqual(refused, 1_000)
    XCTAssertEqual(swarm.core.peers.count, 0)
  }

  /// A slow firewall, and two hosts that come by the thousand with ever new keys: a third one is asked about, and let
  /// in by the answer.
  func testSW_questionsMakeRoomForTheirLightestHost() {
    let world = FakeWorld()
    var answers: [Bytes32: (SwarmFirewallVerdict) -> Void] = [:]
    let swarm = TestSwarm(world) { $0.firewall = { answers[$0.publicKey] = $1 } }
    func come(_ number: Int, _ host: UInt8, _ verdict: @escaping (Bool) -> Void) -> Bytes32 {
      let key = Bytes32((0..<32).map { UInt8(truncatingIfNeeded: number >> (8 * min($0, 3))) }) ?? Bytes32()
      let address = Endpoint(host: IPv4Address(99, 0, 0, host), port: UInt16(truncatingIfNeeded: number))
      swarm.core.screenIncoming(SwarmFirewallRequest(publicKey: key, address: address), verdict)
      return key
    }
    for number in 1...1000 { _ = come(number, UInt8(1 + number % 2)) { XCTAssertFalse($0) } }
    var isLetIn: Bool?
    let peer = come(5000, 3) { isLetIn = $0 }
    for number in 1001...2000 { _ = come(number, UInt8(1 + number % 2)) { XCTAssertFalse($0) } }
    XCTAssertEqual(swarm.core.pendingVerdicts, Limits.maxPendingVerdicts)
    XCTAssertNil(isLetIn)
    answers[peer]?(.accept)
    XCTAssertEqual(isLetIn, true)
    XCTAssertFalse(swarm.core.refusals.contains(peer, at: 0))
    world.advance(by: Limits.firewallDeadline + 1)
    XCTAssertEqual(swarm.core.pendingVerdicts, 0)
  }

  func testSW_firewallBansAreBounded() {
    let world = FakeWorld()
    let swarm = TestSwarm(world) { $0.firewall = { _, verdict in verdict(.ban) } }
    for index in 0..<(Limits.maxFirewallBans + 100) {
      var bytes = Bytes32(repeating: 1).bytes
      bytes[0] = UInt8(index & 255)
      bytes[1] = UInt8(index >> 8)
      guard let key = Bytes32(bytes) else { continue }
      swarm.core.screenIncoming(SwarmFirewallRequest(publicKey: key)) { XCTAssertFalse($0) }
    }
    XCTAssertEqual(swarm.core.peers.count, Limits.maxFirewallBans)
    XCTAssertEqual(swarm.core.statistics.bannedPeers, UInt64(Limits.maxFirewallBans + 100))
  }

  /// A ban that the application has lifted, or has made its own, holds no place: the next verdict begins anew.
  func testSW_liftedFirewallBansLeaveTheList() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world) { $0.firewall = { _, verdict in verdict(.ban) } }
    func come(_ index: Int) -> Bytes32 {
      let key = Bytes32([UInt8(index & 255), UInt8(index >> 8)] + [UInt8](repeating: 1, count: 30)) ?? Bytes32()
      swarm.core.screenIncoming(SwarmFirewallRequest(publicKey: key)) { XCTAssertFalse($0) }
      return key
    }
    let first = come(0)
    for _ in 0..<3 {
      try XCTUnwrap(swarm.core.peers[first]).ban(false)
      XCTAssertEqual(swarm.core.firewallBans.count, 0)
      XCTAssertEqual(come(0), first)
      XCTAssertEqual(swarm.core.firewallBans.count, 1)
    }
    let own = come(1)
    try XCTUnwrap(swarm.core.peers[own]).ban(true)
    XCTAssertEqual(swarm.core.firewallBans.count, 1)
    // As the newest ban, it outlives all that were there before it.
    for index in 2...Limits.maxFirewallBans { _ = come(index) }
    XCTAssertEqual(swarm.core.firewallBans.count, Limits.maxFirewallBans)
    try XCTUnwrap(swarm.core.peers[first]).ban(false)
    XCTAssertEqual(come(0), first)
    for index in 1..<Limits.maxFirewallBans { _ = come(Limits.maxFirewallBans + index) }
    XCTAssertEqual(swarm.core.peers[first]?.isBanned, true)
    _ = come(2 * Limits.maxFirewallBans)
    XCTAssertNil(swarm.core.peers[first])
    XCTAssertEqual(swarm.core.peers[own]?.isBanned, true)
    XCTAssertEqual(swarm.core.firewallBans.count, Limits.maxFirewallBans)
  }

  func testSW_ownKeyIsRejected() {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    var verdict: Bool?
    swarm.core.screenIncoming(SwarmFirewallRequest(publicKey: swarm.key)) { verdict = $0 }
    XCTAssertEqual(verdict, false)
  }

  func testSW_maxServerConnectionsIsEnforcedBeforeTheAnswer() throws {
    let world = FakeWorld()
    let server = TestSwarm(world) { $0.maxServerConnections = 2 }
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    let clients = (0..<5).map { _ in TestSwarm(world) }
    for client in clients {
      try client.join(topic(1), server: false)
      world.advance(by: 50)
    }
    XCTAssertEqual(server.core.connections.count, 2)
    XCTAssertEqual(server.core.statistics.refusedByLimit, 3)
    XCTAssertEqual(world.pairs.count, 2, "no connection was made for the refused ones")
    // Explicit peers are exempt.
    server.core.joinPeer(clients[4].key)
    world.advance(by: 10_000)
    XCTAssertEqual(server.core.peers[clients[4].key]?.isExplicit, true)
    XCTAssertTrue(server.openKeys.contains(clients[4].key))
  }

  func testSW_maxConnectionsCountsBothRoles() throws {
    let world = FakeWorld()
    let servers = [TestSwarm(world), TestSwarm(world)]
    for server in servers { try server.join(topic(1), client: false) }
    world.advance(by: 100)
    let swarm = TestSwarm(world) { $0.maxConnections = 3 }
    try swarm.join(topic(1), server: false)
    try swarm.join(topic(2), client: false)
    world.advance(by: 500)
    XCTAssertEqual(swarm.core.connections.count, 2)
    let clients = [TestSwarm(world), TestSwarm(world)]
    for client in clients {
      try client.join(topic(2), server: false)
      world.advance(by: 100)
    }
    XCTAssertEqual(swarm.core.connections.count, 3)
  }

  /// A table full of keys that only look-ups have named turns no peer away that is here.
  func testSW_sightingsMakeRoomForPeersThatConnect() throws {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    try swarm.join(topic(1), client: false)
    world.advance(by: 100)
    swarm.core.maxParallel = 0
    for index in 0..<Limits.maxKnownPeers {
      guard let key = Bytes32([UInt8(index & 255), UInt8(index >> 8)] + [UInt8](repeating: 1, count: 30)) else {
        continue
      }
      swarm.core.sighted(SwarmPeerRecord(publicKey: key), topic: topic(1))
    }
    XCTAssertEqual(swarm.core.peers.count, Limits.maxKnownPeers)
    let clients = (0..<3).map { _ in TestSwarm(world) }
    for client in clients {
      try client.join(topic(1), server: false)
      world.advance(by: 500)
    }
    for client in clients { XCTAssertTrue(swarm.openKeys.contains(client.key)) }
    XCTAssertEqual(swarm.core.statistics.refusedByLimit, 0)
    XCTAssertEqual(swarm.core.peers.count, Limits.maxKnownPeers)
    XCTAssertEqual(swarm.core.statistics.droppedSightings, 3)
  }

  func testSW_knownPeersAreBounded() {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    swarm.core.maxParallel = 0
    for index in 0..<(Limits.maxKnownPeers + 10) {
      var bytes = Bytes32(repeating: 1).bytes
      bytes[0] = UInt8(index & 255)
      bytes[1] = UInt8(index >> 8)
      guard let key = Bytes32(bytes) else { continue }
      swarm.core.sighted(SwarmPeerRecord(publicKey: key), topic: topic(1))
    }
    XCTAssertEqual(swarm.core.peers.count, Limits.maxKnownPeers)
    XCTAssertEqual(swarm.core.statistics.droppedSightings, 10)
  }
}
