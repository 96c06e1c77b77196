import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A path over a relay counts when the peer's header has come over it, as a direct one does: that the relay has paired
/// the two says nothing about what passes.
final class RelayHeaderTests: XCTestCase {
  /// Stream packets of the server to the relay that are not those of its connection with it.
  private func isRelayed(_ packet: VirtualNetwork.Packet, _ world: RelayWorld, _ control: inout [UInt8]?) -> Bool {
    guard packet.isStream, packet.source.host == world.serverNAT.address, packet.destination.host == world.relayHost
    else { return false }
    let id = Array(packet.bytes[4..<8])
    // The first one.
    control = control ?? id
    return id != control
  }

  func testOpensWithThePeersHeader() {
    for seed in UInt64(1)...5 {
      let what = "seed \(seed)"
      let world = RelayWorld(seed: 7700 + seed)
      var control: [UInt8]?
      var isSilent = true
      var held = 0
      world.net.network.shouldDrop = { packet in
        guard self.isRelayed(packet, world, &control), isSilent else { return false }
        held += 1
        return true
      }
      let peer = world.connectRelayed()
      world.net.network.advance(by: 4_000)
      XCTAssertGreaterThan(held, 0, "the server speaks at once, \(what)")
      XCTAssertEqual(world.relay.statistics.pairingsMatched, 1, what)
      XCTAssertEqual(peer.opened, 0, "nothing was heard of it, \(what)")
      isSilent = false
      world.net.assertEcho(peer, what, within: 4_000)
      XCTAssertEqual(peer.opened, 1, what)
      world.net.network.shouldDrop = nil
      world.destroy()
    }
  }

  func testASilentPeerIsNoConnection() {
    let world = RelayWorld(seed: 7710)
    var control: [UInt8]?
    world.net.network.shouldDrop = { self.isRelayed($0, world, &control) }
    let peer = world.connectRelayed()
    world.net.wait(20_000) { peer.isClosed }
    XCTAssertEqual(peer.opened, 0)
    XCTAssertNotNil(peer.closeError)
    world.net.network.shouldDrop = nil
    world.assertQuiet()
    world.destroy()
  }
}
