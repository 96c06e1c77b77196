import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperswarmEngine

/// Peers that join a topic within the same second all know each other soon.
final class MeetingTests: XCTestCase {
  /// Joins `count` swarms within one second; whether all pairs are connected after `limit` milliseconds.
  private func assertMeet(
    _ count: Int, seed: UInt64, limit: UInt64 = 10_000, file: StaticString = #filePath, line: UInt = #line
  ) throws {
    let world = try EngineWorld(seed: seed, size: 20)
    let swarms = try (0..<count).map { _ in try world.makeSwarm() }
    world.network.advance(by: 10_000)
    var random = SeededRandom(seed: seed)
    for swarm in swarms {
      let core = swarm.core
      _ = swarm.node.environment.schedule(after: UInt64.random(in: 0..<1_000, using: &random)) {
        _ = try? core.join(topic: topic(1))
      }
    }
    world.network.run(within: limit) { swarms.allSatisfy { $0.openKeys.count == count - 1 } }
    let pairs = swarms.map(\.openKeys.count).reduce(0, +) / 2
    XCTAssertEqual(pairs, count * (count - 1) / 2, "pairs, seed \(seed)", file: file, line: line)
    world.destroy()
  }

  func testTwo() throws {
    for seed in 1...20 as ClosedRange<UInt64> { try assertMeet(2, seed: seed, limit: 5_000) }
  }

  func testThree() throws {
    for seed in 101...120 as ClosedRange<UInt64> { try assertMeet(3, seed: seed) }
  }

  /// Without a second look, some of them never meet.
  func testEight() throws {
    for seed in 201...210 as ClosedRange<UInt64> { try assertMeet(8, seed: seed) }
  }

  func testFifty() throws { try assertMeet(50, seed: 7) }

  /// Failures that a success has ended do not slow down the next ones: a server is announced again as soon.
  func testASuccessEndsTheGrowthOfPauses() throws {
    let world = FakeWorld(seed: 3)
    let swarm = TestSwarm(world)
    world.queriesFail = true
    try swarm.join(topic(1), client: false)
    world.advance(by: 200_000)
    let failed = swarm.node.queries.count
    XCTAssertGreaterThan(failed, 4)
    world.queriesFail = false
    world.advance(by: 100_000)
    XCTAssertGreaterThan(swarm.node.queries.count, failed)
    world.queriesFail = true
    let before = swarm.node.queries.count
    swarm.node.networkChange?()
    world.advance(by: 11_000)
    XCTAssertGreaterThanOrEqual(swarm.node.queries.count, before + 2)
  }

  /// A few queries for each swarm, not one for each pair.
  func testFiftyAreNoStorm() throws {
    for seed in 1...20 as ClosedRange<UInt64> {
      let world = FakeWorld(seed: seed)
      world.queryTime = 600
      let swarms = (0..<50).map { _ in TestSwarm(world) }
      for swarm in swarms {
        try swarm.join(topic(1))
        world.advance(by: 20)
      }
      world.advance(by: 9_000)
      XCTAssertTrue(swarms.allSatisfy { $0.openKeys.count == 49 }, "seed \(seed)")
      world.advance(by: 530_000)
      let queries = swarms.map(\.node.queries.count)
      XCTAssertLessThanOrEqual(queries.max() ?? 0, 4, "seed \(seed)")
      XCTAssertLessThanOrEqual(queries.reduce(0, +), 150, "seed \(seed)")
    }
  }
}
