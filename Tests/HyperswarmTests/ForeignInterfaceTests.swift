import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

/// Containers that come and go while a swarm of many topics runs (case 20 of the field faults).
final class ForeignInterfaceTests: XCTestCase {
  /// Datagrams of a minute, with a foreign change every six seconds or without.
  private func minute(seed: UInt64, isChanging: Bool) throws -> Int {
    let network = VirtualNetwork(seed: seed)
    let testnet = try VirtualTestnet(network: network)
    let host = network.makeHost()
    let swarm = testnet.makeSwarm(on: host)
    var ready = 0
    for number in 0..<50 { try swarm.join(VirtualSwarm.topic("topic \(number)")) { _ in ready += 1 } }
    XCTAssertTrue(network.run(within: .seconds(60)) { ready == 50 })
    // After the second looks of fresh topics.
    network.advance(by: .seconds(300))
    var count = 0
    network.shouldDrop = { packet in
      if packet.source.host == host.address { count += 1 }
      return false
    }
    let list = host.interfaces()
    for round in 0..<10 as Range<UInt8> {
      network.advance(by: .seconds(6))
      let container = InterfaceAddress(name: "veth", address: IPv4Address(172, 31, 0, round), isInternal: false)
      if isChanging { host.setInterfaces(round % 2 == 0 ? list + [container] : list) }
    }
    network.shouldDrop = nil
    swarm.destroy()
    testnet.destroy()
    network.advance(by: .seconds(60))
    return count
  }

  func testForeignChangesCostNoDatagrams() throws {
    for seed in 71..<74 as Range<UInt64> {
      let quiet = try minute(seed: seed, isChanging: false)
      let changing = try minute(seed: seed, isChanging: true)
      print("seed \(seed): \(quiet) datagrams in a quiet minute, \(changing) with a foreign change every 6 s")
      XCTAssertEqual(changing, quiet, "seed \(seed)")
    }
  }
}
