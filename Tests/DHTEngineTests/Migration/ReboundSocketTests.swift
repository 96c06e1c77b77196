import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// The system takes the ports of a node's sockets away, and each gets another one.
final class ReboundSocketTests: XCTestCase {
  /// Before the mover knows its new address the stream is moved from inside.
  func testStreamsGoOn() throws {
    for seed in 500..<504 as Range<UInt64> {
      let server = seed.isMultiple(of: 2)
      let access: Access = seed < 502 ? .open : .portRestricted
      let what = "seed \(seed), server \(server), \(access)"
      let world = try XCTUnwrap(
        MovingWorld(seed: seed, client: server ? .open : access, server: server ? access : .open), what)
      world.startTransfer()
      world.net.network.advance(by: 700)
      (server ? world.server : world.client).host.takePorts()
      world.net.network.advance(by: 3_000)
      for end in [world.clientEnd, world.serverEnd] {
        XCTAssertLessThan(end.longestGap, 1_000_000, what)
      }
      XCTAssertEqual((server ? world.clientEnd : world.serverEnd).pathChanges.count, 1, what)
      world.finishTransfer(what)
      world.destroy()
    }
  }

  /// The server announces itself again at once: the next client finds it.
  func testAServerIsFoundAgain() throws {
    for isPublic in [true, false] {
      let net = Net(20, seed: isPublic ? 510 : 511)
      let nat = VirtualNAT(
        network: net.network, address: IPv4Address(5, 5, 1, 5), mapping: .endpointIndependent,
        filter: .addressAndPortDependent)
      let host = isPublic ? net.network.makeHost() : net.network.makeHost(IPv4Address(192, 168, 0, 2), behind: nat)
      let node = net.makeNode(on: host) { if isPublic { $0.ephemeral = false } }
      let (server, _) = net.listen(on: node)
      net.network.advance(by: 30_000)
      var changes = 0
      node.onNetworkChange.add { changes += 1 }
      host.takePorts()
      net.network.advance(by: 2_000)
      XCTAssertGreaterThanOrEqual(changes, 1)
      let peer = net.connect(net.makeNode(), to: server)
      net.assertEcho(peer)
      net.destroy()
    }
  }
}
