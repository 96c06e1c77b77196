import HyperswarmTesting
import XCTest

/// The public interface of the simulator's swarms.
final class VirtualSwarmTests: XCTestCase {
  private let topic = VirtualSwarm.topic("a topic")

  private func world(_ seed: UInt64) throws -> (VirtualNetwork, VirtualTestnet) {
    let network = VirtualNetwork(seed: seed)
    return (network, try VirtualTestnet(network: network))
  }

  func testMessagesEndAndClose() throws {
    let (network, testnet) = try world(1)
    let server = testnet.makeSwarm(on: network.makeHost())
    let client = testnet.makeSwarm(on: network.makeHost())
    var events: [String] = []
    server.onConnection = { connection in
      XCTAssertFalse(connection.isInitiator)
      XCTAssertEqual(connection.remotePublicKey, client.publicKey)
      connection.onMessage = { connection.write($0.reversed()) }
      connection.onClose = { events.append("server \($0 ?? "end")") }
    }
    client.onConnection = { connection in
      XCTAssertTrue(connection.isInitiator)
      XCTAssertEqual(connection.remoteAddress?.host, server.host.address)
      connection.onMessage = {
        events.append("\($0)")
        connection.end()
      }
      connection.onClose = { events.append("client \($0 ?? "end")") }
      connection.write([1, 2, 3])
    }
    var isReady = false
    try server.join(topic, client: false) { isReady = $0 }
    XCTAssertTrue(network.run(within: .seconds(60)) { isReady })
    try client.join(topic, server: false)
    XCTAssertTrue(network.run(within: .seconds(60)) { events.count == 3 }, "\(events)")
    XCTAssertEqual(events.first, "[3, 2, 1]")
    XCTAssertEqual(events.dropFirst().sorted(), ["client end", "server end"])
    XCTAssertEqual(server.connections.count, 0)
    var left = 3
    server.destroy { left -= 1 }
    client.destroy { left -= 1 }
    testnet.destroy { left -= 1 }
    XCTAssertTrue(network.run(within: .seconds(60)) { left == 0 })
    XCTAssertThrowsError(try client.join(topic))
  }

  /// Between two NAT boxes that no hole can be punched through.
  func testOverARelay() throws {
    let (network, testnet) = try world(2)
    var relay: Bytes32?
    let relayHost = network.makeHost()
    testnet.makeRelay(on: relayHost) { relay = $0 }
    XCTAssertTrue(network.run(within: .seconds(60)) { relay != nil })
    let key = try XCTUnwrap(relay)
    let swarms = (1...2).map { number in
      let nat = network.makeNAT(mapping: .addressAndPortDependent, filter: .addressAndPortDependent)
      let host = network.makeHost(IPv4Address(10, 0, 0, UInt8(number)), behind: nat)
      return testnet.makeSwarm(on: host, relays: [key])
    }
    var received: [[UInt8]] = []
    for swarm in swarms {
      swarm.onConnection = { connection in
        XCTAssertEqual(connection.remoteAddress?.host, relayHost.address)
        connection.onMessage = { received.append($0) }
        connection.write([9])
      }
      try swarm.join(topic)
      network.advance(by: .seconds(5))
    }
    XCTAssertTrue(network.run(within: .seconds(120)) { received.count == 2 })
    for swarm in swarms { swarm.destroy() }
    testnet.destroy()
    network.advance(by: .seconds(60))
  }

  /// A swarm that was cut off finds its peer again.
  func testPartitionAndReunion() throws {
    let (network, testnet) = try world(3)
    let swarms = (0..<2).map { _ in testnet.makeSwarm(on: network.makeHost()) }
    for swarm in swarms {
      swarm.onConnection = { $0.onMessage = { _ in } }
      try swarm.join(topic)
      network.advance(by: .seconds(5))
    }
    func isConnected() -> Bool { swarms.allSatisfy { $0.connections.count == 1 } }
    XCTAssertTrue(network.run(within: .seconds(60), until: isConnected))
    network.partition([[swarms[0].host]])
    XCTAssertTrue(network.run(within: .seconds(120)) { swarms.allSatisfy { $0.connections.isEmpty } }, "found out")
    network.heal()
    XCTAssertTrue(network.run(within: .seconds(1200), until: isConnected), "again")
    for swarm in swarms { swarm.destroy() }
    testnet.destroy()
    network.advance(by: .seconds(60))
  }
}
