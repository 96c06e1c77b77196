import HyperEncoding
import HyperTestVectors
import XCTest

@testable import HyperswarmEngine

/// Strangers that fill a swarm: they do not stop it from dialling, and at a limit the idle ones of the heaviest host
/// give way (issue of strangers; hyperswarm.md 6.2 and 15, row 1).
final class RoomTests: XCTestCase {
  private let world = FakeWorld()

  private func host(_ number: UInt8) -> IPv4Address { IPv4Address(10, 0, 0, number) }

  /// Connects a new swarm to `server`, from a host.
  @discardableResult
  private func connect(to server: TestSwarm, from number: UInt8) -> (client: TestSwarm, isOpen: Bool) {
    let client = TestSwarm(world) { $0.backoffs = [600_000, 600_000, 600_000, 600_000] }
    client.node.host = host(number)
    client.core.joinPeer(server.key)
    world.advance(by: 100)
    return (client, server.openKeys.contains(client.key))
  }

  private func server(_ configure: (inout SwarmOptions) -> Void) throws -> TestSwarm {
    let server = TestSwarm(world, configure)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    return server
  }

  private func hosts(of server: TestSwarm) -> [IPv4Address?] { server.core.connections.map(\.remoteHost) }

  // MARK: Dialling

  func testIncomingConnectionsCountForHalfOfThePlaces() {
    func dials(_ maxPeers: Int, _ explicit: Int, dialled: Int, accepted: Int) -> Bool {
      let incoming = PeerShare.incoming(maxPeers: maxPeers, explicitPeers: explicit, accepted: accepted)
      return PeerShare.isWithin(maxPeers: maxPeers, explicitPeers: explicit, peerCount: dialled + incoming)
    }
    XCTAssertTrue(dials(64, 0, dialled: 31, accepted: 1_000))
    XCTAssertFalse(dials(64, 0, dialled: 32, accepted: 32))
    XCTAssertTrue(dials(64, 0, dialled: 32, accepted: 31))
    XCTAssertFalse(dials(64, 0, dialled: 64, accepted: 0))
    XCTAssertTrue(dials(64, 4, dialled: 7, accepted: 1_000))
    XCTAssertFalse(dials(64, 4, dialled: 8, accepted: 1_000))
    XCTAssertFalse(dials(1, 0, dialled: 0, accepted: 1), "half of one is one")
  }

  func testSeventyStrangersDoNotStopASwarmFromDialling() throws {
    let swarm = try server { _ in }
    for _ in 0..<70 { connect(to: swarm, from: 1) }
    XCTAssertEqual(swarm.core.connections.count, 70)
    let honest = TestSwarm(world)
    try honest.join(topic(2), client: false)
    world.advance(by: 100)
    try swarm.join(topic(2), server: false)
    world.advance(by: 200)
    XCTAssertTrue(swarm.openKeys.contains(honest.key))
    report(
      attack: "70 strangers in a swarm for 64", bound: "a peer of the topic is dialled",
      measured: "\(swarm.core.connections.count) connections, one of them dialled")
  }

  // MARK: At a limit

  func testAnIdleConnectionOfTheHeaviestHostMakesRoom() throws {
    let server = try server { $0.maxServerConnections = 4 }
    for number: UInt8 in [1, 2, 2, 2] { connect(to: server, from: number) }
    let first = server.core.connections[1]
    world.advance(by: Limits.idleBeforeEviction)
    XCTAssertTrue(connect(to: server, from: 3).isOpen)
    XCTAssertEqual(hosts(of: server), [host(1), host(2), host(2), host(3)])
    report(
      attack: "one host has most places of a server, and says nothing", bound: "a newcomer gets in",
      measured: "\(server.core.statistics.evictedByLimit) gave way, \(server.core.statistics.refusedByLimit) refused")
    XCTAssertEqual(first.abortReason, .limit)
    XCTAssertEqual(server.core.statistics.evictedByLimit, 1)
    XCTAssertEqual(server.core.statistics.refusedByLimit, 0)
  }

  func testConnectionsInUseStay() throws {
    let server = try server { $0.maxServerConnections = 3 }
    let clients = [1, 2, 2].map { connect(to: server, from: $0).client }
    world.advance(by: Limits.idleBeforeEviction - 1_000)
    clients[1].connections.first?.stream.write([1])
    XCTAssertFalse(connect(to: server, from: 3).isOpen, "none is idle for long enough")
    world.advance(by: 1_000)
    XCTAssertTrue(connect(to: server, from: 3).isOpen)
    XCTAssertTrue(server.openKeys.contains(clients[1].key))
    XCTAssertFalse(server.openKeys.contains(clients[2].key))
  }

  func testTheHeaviestHostDoesNotDisplaceOthers() throws {
    let server = try server { $0.maxServerConnections = 3 }
    for number: UInt8 in [1, 2, 2] { connect(to: server, from: number) }
    world.advance(by: Limits.idleBeforeEviction)
    XCTAssertFalse(connect(to: server, from: 2).isOpen)
    XCTAssertTrue(connect(to: server, from: 1).isOpen, "as many as the other host has")
    XCTAssertEqual(hosts(of: server), [host(1), host(2), host(1)])
    world.advance(by: Limits.idleBeforeEviction)
    XCTAssertFalse(connect(to: server, from: 1).isOpen, "more than the other host would have")
    XCTAssertEqual(server.core.statistics.evictedByLimit, 1)
  }

  func testTheTotalLimitMakesRoomLikewise() throws {
    let server = try server { $0.maxConnections = 2 }
    for number: UInt8 in [1, 1] { connect(to: server, from: number) }
    world.advance(by: Limits.idleBeforeEviction)
    XCTAssertTrue(connect(to: server, from: 2).isOpen)
    XCTAssertEqual(hosts(of: server), [host(1), host(2)])
  }

  func testOneConnectionGivesWayPerInterval() throws {
    let server = try server { $0.maxServerConnections = 6 }
    for _ in 0..<6 { connect(to: server, from: 1) }
    world.advance(by: Limits.idleBeforeEviction)
    let newcomers = (2..<5).map { number in
      let client = TestSwarm(world) { $0.backoffs = [600_000, 600_000, 600_000, 600_000] }
      client.node.host = host(UInt8(number))
      client.core.joinPeer(server.key)
      return client
    }
    world.advance(by: Limits.roomInterval)
    XCTAssertEqual(newcomers.count { server.openKeys.contains($0.key) }, 1)
    XCTAssertEqual(server.core.statistics.evictedByLimit, 1)
    XCTAssertEqual(server.core.connections.count, 6)
  }
}
