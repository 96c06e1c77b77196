import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// What a relay forwards is bounded per link and in all; above that it drops packets, and no link breaks
/// (hyperdht.md B-18).
final class RelayQuotaTests: XCTestCase {
  private func makeWorld(_ change: (inout BlindRelayServer.Bounds) -> Void) -> RelayWorld {
    var bounds = BlindRelayServer.Bounds()
    change(&bounds)
    return RelayWorld(seed: 75, bounds: bounds, echoes: false)
  }

  /// Milliseconds that it takes to send so many bytes over the relay; `nil` when they have not come in a minute.
  private func send(_ count: Int, from peer: Peer, in world: RelayWorld) -> UInt64? {
    let before = world.net.network.now
    let received = { world.accepted.peers.flatMap(\.received).reduce(0) { $0 + $1.count } }
    let wanted = received() + count
    var left = count
    while left > 0 {
      peer.stream.write([UInt8](repeating: 7, count: min(left, 16_384)))
      left -= min(left, 16_384)
    }
    guard world.net.network.run(within: 60_000, until: { received() >= wanted }) else { return nil }
    return (world.net.network.now - before) / 1000
  }

  func testDHT_B18_bytesPerSecondOfALink() throws {
    var times: [UInt64] = []
    for limit in [UInt64(128 << 20), 200_000] {
      let world = makeWorld { $0.linkBytesPerSecond = limit }
      let peer = world.connectRelayed()
      world.net.wait { world.relay.linkCount == 1 && !world.accepted.peers.isEmpty }
      times.append(try XCTUnwrap(send(1_000_000, from: peer, in: world)))
      XCTAssertEqual(world.relay.packetsDropped > 0, limit == 200_000)
      XCTAssertEqual(world.relay.linkCount, 1)
      XCTAssertTrue(world.isRelayed(peer))
      world.destroy()
    }
    report(
      attack: "1 MB over one link of a blind relay with a quota of 200 kB/s", bound: ">= 4 s; the link stays",
      measured: "\(times[1]) ms, without a quota \(times[0]) ms")
    XCTAssertLessThan(times[0], 3000)
    // A tenth of a second's worth at least may pass at once.
    XCTAssertGreaterThan(times[1], 4000)
  }

  func testDHT_B18_bytesPerSecondOfAllLinks() throws {
    let world = makeWorld { $0.bytesPerSecond = 200_000 }
    let peer = world.connectRelayed()
    world.net.wait { world.relay.linkCount == 1 && !world.accepted.peers.isEmpty }
    XCTAssertGreaterThan(try XCTUnwrap(send(1_000_000, from: peer, in: world)), 4000)
    XCTAssertGreaterThan(world.relay.packetsDropped, 0)
    peer.stream.destroy()
    world.net.wait { world.relay.linkCount == 0 }
    XCTAssertGreaterThan(world.relay.packetsDropped, 0, "counted when the link has gone, too")
    world.destroy()
  }

  func testDHT_B18_bytesOfALink() throws {
    let world = makeWorld { $0.linkBytes = 300_000 }
    let peer = world.connectRelayed()
    world.net.wait { world.relay.linkCount == 1 && !world.accepted.peers.isEmpty }
    XCTAssertNotNil(send(200_000, from: peer, in: world))
    XCTAssertNil(send(200_000, from: peer, in: world))
    XCTAssertGreaterThan(world.relay.packetsDropped, 0)
    world.destroy()
  }
}
