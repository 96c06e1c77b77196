import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Client and server are on one private network, and a relay is named: the direct path leads to the server's socket
/// over which the relay's packets come, too.
final class RelayLocalTests: XCTestCase {
  func testLocalPathAndRelayRace() {
    for seed in UInt64(1)...20 {
      let world = RelayWorld(seed: 7600 + seed)
      let what = "seed \(seed)"
      let host = world.net.network.makeHost(IPv4Address(192, 168, 1, 11), behind: world.serverNAT)
      let client = world.net.makeNode(on: host)
      let relayHost = world.relayHost
      world.net.network.latency = { packet in
        let isRelay = packet.source.host == relayHost || packet.destination.host == relayHost
        return isRelay ? seed * 3000 : 20_000
      }
      var options = ConnectOptions()
      options.relayThrough = .keys([world.relayKey])
      let peer = world.net.connect(client, to: world.server, options: options)
      world.net.assertEcho(peer, "first, \(what)")
      world.net.network.advance(by: 30_000)
      world.net.assertEcho(peer, "later, \(what)", within: 1_000)
      XCTAssertEqual(peer.stream.transport?.remote?.host, IPv4Address(192, 168, 1, 10), what)
      let accepted = world.accepted.peers.filter { !$0.isClosed }
      XCTAssertEqual(accepted.count, 1, what)
      XCTAssertEqual(accepted.first?.stream.transport?.remote?.host, host.address, what)
      XCTAssertEqual(world.relay.linkCount, 0, "the relay is given back, \(what)")
      world.destroy()
    }
  }
}
