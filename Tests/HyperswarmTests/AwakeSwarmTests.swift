import HyperswarmEngine
import HyperswarmTesting
import XCTest

/// A machine that has slept, or a process that was stopped, asks its peers at once whether they are still there.
final class AwakeSwarmTests: XCTestCase {
  private struct World {
    let network: VirtualNetwork
    let testnet: VirtualTestnet
    let sleeper: VirtualSwarm
    let peer: VirtualSwarm

    init(seed: UInt64, migrates: Bool) throws {
      network = VirtualNetwork(seed: seed)
      testnet = try VirtualTestnet(network: network)
      let swarms = (0..<2).map { [network, testnet] _ in
        testnet.makeSwarm(on: network.makeHost(), options: SwarmOptions()) { $0.migration = migrates }
      }
      (sleeper, peer) = (swarms[0], swarms[1])
      for swarm in swarms { try swarm.join(VirtualSwarm.topic("awake")) }
      XCTAssertTrue(
        network.run(within: .seconds(60)) { swarms.allSatisfy { $0.connections.count == 1 } }, "seed \(seed)")
      network.advance(by: .seconds(10))
    }

    func end() {
      var left = 3
      sleeper.destroy { left -= 1 }
      peer.destroy { left -= 1 }
      testnet.destroy { left -= 1 }
      XCTAssertTrue(network.run(within: .seconds(60)) { left == 0 })
    }
  }

  /// A tick of the node, a probe and its deadline; the transport's own time is 13 s and more. As with deployed peers:
  /// one that can move is looked for first.
  func testAPeerThatIsGoneIsNoticed() throws {
    for seed in 1...8 {
      let world = try World(seed: UInt64(seed), migrates: false)
      world.peer.host.isDown = true
      world.sleeper.host.wallClockOffset += 60_000
      XCTAssertTrue(
        world.network.run(within: .milliseconds(6_700)) { world.sleeper.connections.isEmpty }, "seed \(seed)")
      world.end()
    }
  }

  func testAPeerThatIsThereStays() throws {
    for seed in 1...8 {
      let world = try World(seed: UInt64(seed), migrates: seed % 2 == 0)
      let connection = try XCTUnwrap(world.sleeper.connections.first)
      world.sleeper.host.wallClockOffset += 60_000
      world.network.advance(by: .seconds(30))
      XCTAssertFalse(connection.isClosed, "seed \(seed)")
      XCTAssertEqual(world.sleeper.connections.count, 1)
      XCTAssertEqual(world.peer.connections.count, 1)
      world.end()
    }
  }
}
