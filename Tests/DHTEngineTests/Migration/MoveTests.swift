import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A living stream goes on when a side changes its network, where the other side admits the mover.
final class MoveTests: XCTestCase {
  /// 0.1 s between two MOVEs and 60 ms for three ways are lost at most, and the repair.
  private static let limit: UInt64 = 1_000_000

  private func moves(_ seed: UInt64, mover serverMoves: Bool, from: Access, to: Access, other: Access) throws {
    let what = "server moves \(serverMoves), \(from) to \(to), other \(other)"
    let world = try XCTUnwrap(
      MovingWorld(seed: seed, client: serverMoves ? other : from, server: serverMoves ? from : other), what)
    world.startTransfer()
    world.net.network.advance(by: 700 + seed % 500)
    XCTAssertLessThan(world.clientEnd.longestGap, 500_000, what)
    world.move(serverMoves ? world.server : world.client, to)
    world.net.network.advance(by: 3_000)
    for end in [world.clientEnd, world.serverEnd] {
      XCTAssertLessThan(end.longestGap, MoveTests.limit, "seed \(seed), \(what)")
      XCTAssertEqual(end.pathChanges.count, 1, "seed \(seed), \(what): one event a side")
    }
    let expected = serverMoves ? world.server : world.client
    let seen = (serverMoves ? world.clientEnd : world.serverEnd).pathChanges.last
    XCTAssertEqual(seen?.host, expected.nat?.address ?? expected.host.address, "seed \(seed), \(what)")
    world.finishTransfer(what)
    world.destroy()
  }

  func testTheStreamGoesOnWhereTheOtherSideAdmitsUs() throws {
    var seeds: [UInt64] = []
    for round in 0..<2 as Range<UInt64> {
      for (index, from) in Access.allCases.enumerated() {
        for (offset, to) in Access.allCases.enumerated() {
          for (place, other) in [Access.open, .cone].enumerated() {
            for serverMoves in [false, true] {
              let seed = 1 + round * 64 + UInt64(index * 16 + offset * 4 + place * 2 + (serverMoves ? 1 : 0))
              seeds.append(seed)
              try moves(seed, mover: serverMoves, from: from, to: to, other: other)
            }
          }
        }
      }
    }
    print("moves: seeds \(seeds.first ?? 0)...\(seeds.last ?? 0), \(seeds.count) runs")
  }
}
