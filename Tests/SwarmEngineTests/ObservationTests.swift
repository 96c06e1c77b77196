import XCTest

@testable import HyperswarmEngine

/// A node may outlive many swarms that used it.
final class ObservationTests: XCTestCase {
  func testADestroyedSwarmObservesTheNodeNoLonger() {
    let world = FakeWorld()
    let swarm = TestSwarm(world)
    XCTAssertNotNil(swarm.node.networkChange)
    XCTAssertNotNil(swarm.node.networkUpdate)
    var isDestroyed = false
    swarm.core.destroy { isDestroyed = true }
    XCTAssertNil(swarm.node.networkChange)
    XCTAssertNil(swarm.node.networkUpdate)
    world.advance(by: 20_000)
    XCTAssertTrue(isDestroyed)
  }
}
