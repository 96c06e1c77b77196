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

/// Whole nodes with the real transport on a virtual network: swarms behind NATs meet, in virtual time.
final class SimulationTests: XCTestCase {
  func testSwarmsBehindNATsMeet() throws {
    let cases: [(UInt64, VirtualNAT.Mapping)] = [(1, .portPreserving), (2, .endpointIndependent)]
    for (seed, mapping) in cases {
      let network = VirtualNetwork(seed: seed)
      // More nodes than a reply names, as in real networks: NAT sampling wants several of them.
      let environments = (0..<8).map { _ in network.makeHost() }
      let testnet = Testnet(environments: environments, size: 8, host: nil)
      var isUp = false
      testnet.start { result in
        if case .success = result { isUp = true }
      }
      XCTAssertTrue(network.run(within: 120_000) { isUp }, "seed \(seed)")

      var engines: [SwarmEngine] = []
      var connected: [EncryptedStream] = []
      var received: [[UInt8]] = []
      for number in 1...2 {
        let nat = VirtualNAT(
          network: network, address: IPv4Address(50, 0, 0, UInt8(number)), mapping: mapping,
          filter: .addressAndPortDependent)
        let host = network.makeHost(IPv4Address(192, 168, UInt8(number), 2), behind: nat)
        let environment = host
        var options = DHTOptions(bootstrap: testnet.bootstrap, host: .any, port: 0)
        options.connectionKeepAlive = 5000
        let engine = SwarmEngine(environment: environment, dht: DHTNode(environment: environment, options: options))
        engine.onConnection = { stream, _ in
          connected.append(stream)
          stream.onMessage = { received.append(Array($0)) }
          stream.write(Array("hello from \(number)".utf8))
        }
        engines.append(engine)
      }
      let topic = Bytes32([UInt8](repeating: 7, count: 32)) ?? Bytes32()
      var isAnnounced = false
      try engines[0].join(topic: topic, options: JoinOptions(server: true, client: false)).flushed { _ in
        isAnnounced = true
      }
      XCTAssertTrue(network.run(within: 60_000) { isAnnounced }, "seed \(seed)")
      try engines[1].join(topic: topic, options: JoinOptions(server: false, client: true))
      XCTAssertTrue(network.run(within: 60_000) { received.count == 2 }, "seed \(seed): \(connected.count) connections")
      XCTAssertEqual(
        Set(received.map { String(decoding: $0, as: UTF8.self) }), ["hello from 1", "hello from 2"], "seed \(seed)")
      var left = 2
      for engine in engines { engine.destroy { left -= 1 } }
      XCTAssertTrue(network.run(within: 60_000) { left == 0 }, "seed \(seed)")
      var isDown = false
      testnet.destroy { isDown = true }
      XCTAssertTrue(network.run(within: 120_000) { isDown }, "seed \(seed)")
    }
  }
}
