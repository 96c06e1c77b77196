import HyperswarmEngine
import HyperswarmTesting
import XCTest

/// A swarm that is announced under a topic, looks for peers, and finds none for an hour: docs/low-power.md.
final class LowPowerSwarmTests: XCTestCase {
  func testASwarmWithoutPeers() throws {
    let network = VirtualNetwork(seed: 1)
    network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(20))
    let testnet = try VirtualTestnet(network: network, size: 40)
    let topic = VirtualSwarm.topic("a topic")
    let host = network.makeHost()
    let swarm = testnet.makeSwarm(on: host, options: SwarmOptions()) { $0.isLowPower = true }
    try swarm.join(topic)
    network.advance(by: .seconds(15 * 60))
    let before = (host.activity.wakeUps, host.activity.bytes)
    let minutes = 60
    network.advance(by: .seconds(60 * minutes))
    let wakeUps = Double(host.activity.wakeUps - before.0) / Double(minutes)
    let bytes = Double(host.activity.bytes - before.1) / Double(minutes)
    XCTAssertLessThanOrEqual(wakeUps, 32, "wake-ups a minute")
    XCTAssertLessThanOrEqual(bytes, 5000, "bytes a minute")
    let other = testnet.makeSwarm(on: network.makeHost())
    try other.join(topic)
    XCTAssertTrue(network.run(within: .seconds(30)) { !swarm.connections.isEmpty && !other.connections.isEmpty })
    var left = 3
    swarm.destroy { left -= 1 }
    other.destroy { left -= 1 }
    testnet.destroy { left -= 1 }
    XCTAssertTrue(network.run(within: .seconds(60)) { left == 0 })
  }
}
