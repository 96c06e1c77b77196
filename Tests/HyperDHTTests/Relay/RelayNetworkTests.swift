import CompactEncoding
import CryptoPrimitives
import SecretStream
import TestSupport
import XCTest

@testable import HyperDHT

/// Part A-7 of hyperdht.md on virtual networks, with the streams of the C engine and with plain ones.
final class RelayNetworkTests: XCTestCase {
  private func close(_ peer: Peer, _ world: RelayWorld, file: StaticString = #filePath, line: UInt = #line) {
    peer.stream.end()
    world.net.wait(30_000, "both ends close", file: file, line: line) {
      peer.isClosed && world.accepted.peers.allSatisfy(\.isClosed)
    }
    XCTAssertNil(peer.closeError, file: file, line: line)
    world.assertQuiet(file: file, line: line)
  }

  func testDHT_70_clientsRelayBetweenTwoRandomNATs() {
    for realTransport in [true, false] {
      let world = RelayWorld(seed: realTransport ? 70 : 71, realTransport: realTransport)
      let peer = world.connectRelayed()
      world.net.assertEcho(peer)
      XCTAssertTrue(world.isRelayed(peer))
      world.net.network.advance(by: 60_000)
      world.net.assertEcho(peer, "a minute later")
      XCTAssertTrue(world.isRelayed(peer), "there is no direct path")
      XCTAssertEqual(world.accepted.peers.count, 1)
      XCTAssertEqual(world.relay.statistics.pairingsMatched, 1)
      XCTAssertEqual(world.serverNode.statistics.relaying.attempts, 1)
      XCTAssertEqual(world.serverNode.statistics.relaying.successes, 1)
      XCTAssertEqual(world.server.handshakeCount, 0, "the session is cleared, the connection stays")
      close(peer, world)
      world.destroy()
    }
  }

  func testDHT_70_withoutARelayTheyCannotConnect() {
    let world = RelayWorld()
    let peer = world.connect()
    world.net.wait(60_000) { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS")
    world.destroy()
  }
}
