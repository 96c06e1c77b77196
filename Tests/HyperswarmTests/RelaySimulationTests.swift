import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream
import HyperswarmEngine
import HyperswarmTesting
import XCTest

@testable import Hyperswarm

/// Swarms behind NATs that no punch gets through meet over the relay that both name (hyperswarm.md 11.3).
final class RelaySimulationTests: XCTestCase {
  func testSW_113_swarmsBehindRandomNATsMeetOverARelay() throws {
    for seed in UInt64(1)...3 {
      let network = VirtualNetwork(seed: seed)
      let environments = (0..<8).map { _ in network.makeHost() }
      let testnet = Testnet(environments: environments, size: 8, host: nil)
      var isUp = false
      testnet.start { result in
        if case .success = result { isUp = true }
      }
      XCTAssertTrue(network.run(within: 120_000) { isUp }, "seed \(seed)")

      let relayEnvironment = network.makeHost()
      var relayOptions = DHTOptions(bootstrap: testnet.bootstrap, host: .any, port: 0)
      relayOptions.firewalled = false
      let relayNode = DHTNode(environment: relayEnvironment, options: relayOptions)
      let service = RelayService(node: relayNode)
      var isListening = false
      service.listen { _ in isListening = true }
      XCTAssertTrue(network.run(within: 60_000) { isListening }, "seed \(seed)")
      let relayKey = try XCTUnwrap(service.server.publicKey)

      var engines: [SwarmEngine] = []
      var received: [String] = []
      for number in 1...2 {
        let nat = VirtualNAT(
          network: network, address: IPv4Address(50, 0, 0, UInt8(number)), mapping: .addressAndPortDependent,
          filter: .addressAndPortDependent)
        let host = network.makeHost(IPv4Address(192, 168, UInt8(number), 2), behind: nat)
        let environment = host
        let node = DHTNode(
          environment: environment, options: DHTOptions(bootstrap: testnet.bootstrap, host: .any, port: 0))
        var options = SwarmOptions()
        options.relayThrough = .keys([relayKey])
        let engine = SwarmEngine(environment: environment, dht: node, options: options)
        engine.onConnection = { stream, _ in
          stream.onMessage = { received.append(String(decoding: $0, as: UTF8.self)) }
          stream.write(Array("hello from \(number)".utf8))
        }
        engines.append(engine)
      }
      let topic = Bytes32(repeating: 7)
      var isAnnounced = false
      try engines[0].join(topic: topic, options: JoinOptions(server: true, client: false)).flushed { _ in
        isAnnounced = true
      }
      XCTAssertTrue(network.run(within: 60_000) { isAnnounced }, "seed \(seed)")
      try engines[1].join(topic: topic, options: JoinOptions(server: false, client: true))
      XCTAssertTrue(network.run(within: 120_000) { received.count == 2 }, "seed \(seed)")
      XCTAssertEqual(Set(received), ["hello from 1", "hello from 2"], "seed \(seed)")
      XCTAssertEqual(service.relay.linkCount, 1, "seed \(seed)")
      var left = 2
      for engine in engines { engine.destroy { left -= 1 } }
      XCTAssertTrue(network.run(within: 60_000) { left == 0 }, "seed \(seed)")
      XCTAssertTrue(network.run(within: 60_000) { service.relay.sessionCount == 0 }, "seed \(seed)")
      var isDown = false
      service.close { relayNode.destroy { testnet.destroy { isDown = true } } }
      XCTAssertTrue(network.run(within: 120_000) { isDown }, "seed \(seed)")
    }
  }
}
