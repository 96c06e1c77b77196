import HyperswarmTesting
import XCTest

@testable import hyperswarm_example_simulation

/// The example of the simulator: small, and replayed by its seed.
final class ExampleSimulationTests: XCTestCase {
  private func run(_ seed: UInt64) throws -> ChatRoom.Outcome { try ChatRoom(seed: seed, peers: 12).run() }

  func testEveryoneMeetsAndASeedReplaysTheRun() throws {
    let first = try run(1)
    print("seed 1: \(first)")
    XCTAssertTrue(first.everyoneMet)
    XCTAssertGreaterThanOrEqual(first.connections, 11)
    XCTAssertEqual(try run(1), first, "the same seed, the same packets")
    let other = try run(2)
    XCTAssertTrue(other.everyoneMet)
    XCTAssertNotEqual(other.digest, first.digest, "another seed, other packets")
  }
}
