import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// NATs that forget, both sides on the move, and peers that cannot.
final class LostPathTests: XCTestCase {
  /// The NAT of one side has restarted: its ports are others now, and no interface tells of it. A second of silence
  /// tells, and a move takes what it takes.
  private func restart(_ seed: UInt64, server serverRestarts: Bool, _ access: Access, other: Access) throws {
    let what = "seed \(seed), server \(serverRestarts), \(access), other \(other)"
    let world = try XCTUnwrap(
      MovingWorld(
        seed: seed, client: serverRestarts ? other : access, server: serverRestarts ? access : other), what)
    world.startTransfer()
    world.net.network.advance(by: 500 + seed % 1_000)
    try XCTUnwrap((serverRestarts ? world.server : world.client).nat, what).reset()
    world.net.network.advance(by: 5_000)
    for end in [world.clientEnd, world.serverEnd] {
      XCTAssertLessThan(end.longestGap, 3_000_000, what)
    }
    XCTAssertEqual((serverRestarts ? world.clientEnd : world.serverEnd).pathChanges.count, 1, what)
    world.finishTransfer(what)
    world.destroy()
  }

  func testARestartedNAT() throws {
    var seed: UInt64 = 0
    for _ in 0..<2 {
      for access in [Access.cone, .addressRestricted, .portRestricted] {
        for other in [Access.open, .cone, .addressRestricted] {
          for serverRestarts in [false, true] {
            seed += 1
            try restart(seed, server: serverRestarts, access, other: other)
          }
        }
      }
    }
    print("restarted NATs: seeds 1...\(seed)")
  }

  /// Nothing is written: the next keepalive shows it.
  func testARestartedNATOfAQuietStream() throws {
    for seed in 1...10 as ClosedRange<UInt64> {
      let world = try XCTUnwrap(MovingWorld(seed: seed, client: .portRestricted))
      world.net.network.advance(by: 10_000 + 700 * seed)
      world.client.nat?.reset()
      world.net.network.advance(by: 9_000)
      XCTAssertEqual(world.serverEnd.pathChanges.count, 1, "seed \(seed)")
      world.startTransfer()
      world.net.network.advance(by: 500)
      XCTAssertLessThan(world.serverEnd.longestGap, 300_000, "seed \(seed)")
      world.finishTransfer()
      world.destroy()
    }
  }

  /// Neither knows where the other one is. The streams go on or end on both sides, within the time to give up.
  func testBothMoveAtOnce() throws {
    var alive = 0
    for seed in 1...24 as ClosedRange<UInt64> {
      let kinds = Access.allCases
      let world = try XCTUnwrap(MovingWorld(seed: seed, client: kinds[Int(seed % 4)], server: kinds[Int(seed / 4 % 4)]))
      world.startTransfer()
      world.net.network.advance(by: 500)
      world.move(world.client, kinds[Int(seed / 3 % 4)])
      world.net.network.advance(by: seed % 5 * 20)
      world.move(world.server, kinds[Int(seed / 5 % 4)])
      // 13 s after the last packet that arrived both have given up or go on.
      world.net.network.advance(by: 20_000)
      if world.isAlive {
        alive += 1
        world.finishTransfer("both moved")
      } else {
        XCTAssertTrue(world.clientEnd.peer.isClosed && world.serverEnd.peer.isClosed, "seed \(seed): both know")
        XCTAssertEqual(world.clientEnd.mismatches + world.serverEnd.mismatches, 0, "seed \(seed)")
      }
      XCTAssertEqual(world.clientEnd.peer.closed, world.serverEnd.peer.closed, "seed \(seed)")
      world.destroy()
      for node in [world.client.node, world.server.node] { XCTAssertEqual(node.migrations.count, 0, "seed \(seed)") }
    }
    print("both move: seeds 1...24, \(alive) streams lived on")
  }

  /// Towards a peer that does not know it nothing is different, to the last packet.
  func testDeployedPeersSeeNothing() throws {
    for seed in 1...4 as ClosedRange<UInt64> {
      // The client offers nothing: the server, which could, answers byte for byte as one that cannot.
      let digests = try [true, false].map { serverCan in
        let world = try XCTUnwrap(
          MovingWorld(
            seed: seed, adjustClient: { $0.migration = false }, adjustServer: { $0.migration = serverCan }))
        XCTAssertEqual(world.server.node.migrations.count, 0)
        world.startTransfer()
        world.net.network.advance(by: 2_000)
        world.move(world.client, .open)
        world.net.network.advance(by: 40_000)
        XCTAssertTrue(world.isAlive, "its next frame shows where the client is")
        return world.net.network.traceDigest
      }
      XCTAssertEqual(digests[0], digests[1], "seed \(seed)")
    }
  }

  /// A server that does not know it ignores the offer, and a stream that loses its path ends as ever.
  func testADeployedServerIgnoresTheOffer() throws {
    for seed in 1...4 as ClosedRange<UInt64> {
      let world = try XCTUnwrap(
        MovingWorld(seed: seed, client: .portRestricted, adjustServer: { $0.migration = false }))
      XCTAssertEqual(world.client.node.migrations.count, 0)
      // Nor does it follow a source that has proved itself.
      world.serverEnd.peer.stream.transport?.followsPeer = false
      world.startTransfer()
      world.net.network.advance(by: 1_000)
      world.client.nat?.reset()
      world.net.network.advance(by: 40_000)
      XCTAssertTrue(world.clientEnd.peer.isClosed, "seed \(seed)")
      XCTAssertEqual(world.clientEnd.peer.closeError?.code, "ETIMEDOUT")
      XCTAssertEqual(world.client.node.statistics.migrations.movesSent, 0)
      world.destroy()
    }
  }

  /// A timer runs only while something is unacknowledged, and up to the look after that: of a quiet stream that is a
  /// keepalive every five seconds in each direction.
  func testQuietStreamsAreNotLookedAt() throws {
    for seed in 1...4 as ClosedRange<UInt64> {
      let world = try XCTUnwrap(MovingWorld(seed: seed))
      let migrations = world.client.node.migrations
      world.net.network.advance(by: 10_000)
      let looking = (0..<6_000).count { _ in
        world.net.network.advance(by: 10)
        return migrations.isLooking
      }
      XCTAssertLessThanOrEqual(looking, 6_000 * 500 / 5_000, "seed \(seed)")
      XCTAssertGreaterThan(looking, 0, "seed \(seed)")
      world.server.host.isDown = true
      world.net.network.run(within: 6_000) { migrations.isLooking }
      while !world.clientEnd.peer.isClosed {
        XCTAssertTrue(migrations.isLooking, "seed \(seed): unacknowledged to the end")
        world.net.network.advance(by: 10)
      }
      world.net.network.advance(by: 500)
      XCTAssertFalse(migrations.isLooking, "seed \(seed)")
      world.server.host.isDown = false
      world.destroy()
    }
  }
}
