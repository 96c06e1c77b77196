import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperswarmEngine

/// A swarm whose network has changed is connected again within two seconds.
final class MovingTests: XCTestCase {
  private func pair(_ seed: UInt64) throws -> (FakeWorld, TestSwarm, TestSwarm) {
    let world = FakeWorld(seed: seed)
    let server = TestSwarm(world)
    let client = TestSwarm(world)
    try server.join(topic(1))
    world.advance(by: 100)
    try client.join(topic(1))
    world.advance(by: 60_000)
    XCTAssertEqual(client.openKeys, [server.key])
    for (a, b) in world.pairs {
      a.write([1])
      b.write([1])
    }
    world.advance(by: 1_000)
    return (world, server, client)
  }

  /// Dialler and acceptor alike.
  func testTheOldPathIsGone() throws {
    for seed in 1...50 as ClosedRange<UInt64> {
      for serverMoves in [false, true] {
        let (world, server, client) = try pair(seed)
        let (mover, other) = serverMoves ? (server, client) : (client, server)
        for (a, b) in world.pairs {
          a.isCut = true
          b.isCut = true
        }
        let old = mover.core.connections
        mover.node.networkChange?()
        world.advance(by: 2_000)
        XCTAssertTrue(old.allSatisfy(\.isDestroying), "seed \(seed)")
        XCTAssertEqual(mover.openKeys, [other.key], "seed \(seed), server \(serverMoves)")
        world.advance(by: 15_000)
        XCTAssertEqual(other.openKeys, [mover.key], "seed \(seed), server \(serverMoves)")
        XCTAssertEqual(mover.connections.count, 2, "seed \(seed): once, without flapping")
      }
    }
  }

  /// As long as the transport moves the connection it is not judged; afterwards it is.
  func testAConnectionOnTheMove() throws {
    let (world, server, client) = try pair(1)
    for (a, b) in world.pairs {
      a.isCut = true
      b.isCut = true
    }
    let old = client.core.connections
    for stream in old { stream.isOnTheMove = true }
    client.node.networkChange?()
    world.advance(by: 10_000)
    XCTAssertTrue(old.allSatisfy { !$0.isDestroying })
    for stream in old { stream.isOnTheMove = false }
    world.advance(by: 500)
    XCTAssertTrue(old.allSatisfy(\.isDestroying))
    world.advance(by: 1_000)
    XCTAssertEqual(client.openKeys, [server.key])
  }

  /// A change that has nothing to do with the path ends nothing.
  func testTheOldPathWorks() throws {
    let (world, server, client) = try pair(1)
    for _ in 0..<10 {
      client.node.networkChange?()
      server.node.networkChange?()
      world.advance(by: 6_000)
    }
    XCTAssertEqual(client.connections.count, 1)
    XCTAssertEqual(server.connections.count, 1)
    XCTAssertEqual(client.openKeys, [server.key])
  }

  /// While there is no network, nothing is judged.
  func testOfflineEndsNothing() throws {
    let (world, _, client) = try pair(1)
    for (a, b) in world.pairs {
      a.isCut = true
      b.isCut = true
    }
    client.node.isOnline = false
    client.node.networkChange?()
    world.advance(by: 5_000)
    XCTAssertTrue(client.core.connections.allSatisfy { !$0.isDestroying })
  }

  /// A destroyed swarm dials no peer again, and keeps none for it.
  func testADialOfTheNetworkBeforeEndsWithTheSwarm() {
    let world = FakeWorld(seed: 1)
    let client = TestSwarm(world)
    client.core.joinPeer(topic(7))
    world.advance(by: 1)
    XCTAssertEqual(client.node.dials.count, 1)
    client.node.networkChange?()
    world.advance(by: 0)
    client.core.destroy()
    world.advance(by: 10_000)
    XCTAssertEqual(client.node.dials.count, 1)
    XCTAssertEqual(client.core.queueLength, 0)
  }

  /// A dial that began without a network fails after the return: it is repeated at once, whatever its number.
  func testADialOfTheNetworkBeforeIsRepeated() throws {
    for seed in 1...10 as ClosedRange<UInt64> {
      let (world, server, client) = try pair(seed)
      world.failures[server.key] = SwarmStreamFailure(code: "NETWORK_UNREACHABLE", description: "")
      world.dialFailureDelay = 12_000
      for (a, b) in world.pairs {
        a.isCut = true
        b.isCut = true
        a.fail(SwarmStreamFailure(code: "ETIMEDOUT", description: ""))
      }
      // The fourth one is the last for ten minutes.
      for _ in 0..<200 where client.node.dials.count < 4 { world.advance(by: 500) }
      XCTAssertEqual(client.node.dials.count, 4, "seed \(seed)")
      world.failures = [:]
      client.node.networkChange?()
      world.advance(by: 14_000)
      XCTAssertEqual(client.openKeys, [server.key], "seed \(seed)")
      XCTAssertEqual(client.node.dials.count, 5, "seed \(seed)")
    }
  }

  func testSW_12_1_queriesOfTheNetworkBeforeStartAgain() throws {
    let world = FakeWorld()
    let server = TestSwarm(world)
    try server.join(topic(1), client: false)
    world.advance(by: 100)
    let client = TestSwarm(world)
    world.queryTime = 60_000
    let session = try client.join(topic(1), server: false)
    var results: [Bool?] = []
    session.flushed { results.append(try? $0.get()) }
    world.advance(by: 1_000)
    world.queryTime = 10
    client.node.networkChange?()
    world.advance(by: 200)
    XCTAssertEqual(client.node.queries.count, 2)
    XCTAssertEqual(results, [true])
    XCTAssertTrue(client.openKeys.contains(server.key))
    world.advance(by: 60_000)
    XCTAssertEqual(client.node.activeQueries, 0)
  }

  /// The pauses between queries that failed begin with the shortest again.
  func testPausesBeginAnewWithTheNetwork() throws {
    for seed in 1...10 as ClosedRange<UInt64> {
      let world = FakeWorld(seed: seed)
      let server = TestSwarm(world)
      try server.join(topic(1), client: false)
      world.advance(by: 100)
      world.queriesFail = true
      let client = TestSwarm(world)
      let session = try client.join(topic(1), server: false)
      // The pauses between them have reached their longest.
      for _ in 0..<400 where client.node.queries.count < 5 { world.advance(by: 500) }
      XCTAssertEqual(client.node.queries.count, 5, "seed \(seed)")
      client.node.networkChange?()
      world.advance(by: 100)
      XCTAssertEqual(client.node.queries.count, 6, "seed \(seed)")
      world.queriesFail = false
      world.advance(by: 2 * Limits.emptyTopicRefresh + 100)
      var flushed: [Bool] = []
      session.flushed { flushed.append((try? $0.get()) ?? false) }
      world.advance(by: 100)
      XCTAssertEqual(client.openKeys, [server.key], "seed \(seed)")
      XCTAssertEqual(flushed, [true], "seed \(seed)")
    }
  }
}
