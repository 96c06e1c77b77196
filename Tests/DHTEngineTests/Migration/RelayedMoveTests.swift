import HyperEncoding
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A stream that runs over a relay goes on when one of its ends moves: the connection with the relay moves, and what is
/// relayed follows.
final class RelayedMoveTests: XCTestCase {
  private func run(_ seed: UInt64, server serverMoves: Bool, restart: Bool, isServerDeployed: Bool = false) throws {
    let what = "seed \(seed), server \(serverMoves), restart \(restart), deployed \(isServerDeployed)"
    // The server's node is the first that is made.
    var nodes = 0
    let world = RelayWorld(
      seed: seed, echoes: false,
      node: {
        nodes += 1
        if nodes == 1, isServerDeployed { $0.migration = false }
      })
    world.net.network.conditions = LinkConditions(latency: .milliseconds(10), jitter: .milliseconds(2))
    let peer = world.connectRelayed()
    world.net.wait { !world.accepted.peers.isEmpty && peer.opened > 0 }
    let other = try XCTUnwrap(world.accepted.peers.first, what)
    let client = TransferEnd(peer, world.net.network, seed: seed * 2)
    let server = TransferEnd(other, world.net.network, seed: seed * 2 + 1)
    client.expect(server)
    server.expect(client)
    client.start()
    server.start()
    world.net.network.advance(by: 1_000 + seed % 7 * 100)
    XCTAssertTrue(world.isRelayed(peer), what)

    let nat = serverMoves ? world.serverNAT : world.clientNAT
    if restart {
      nat.reset()
    } else {
      let host = try XCTUnwrap((serverMoves ? world.serverNode : world.clientNode).environment as? VirtualHost)
      let next = VirtualNAT(
        network: world.net.network, address: IPv4Address(6, 6, 6, 6), mapping: .addressAndPortDependent,
        filter: .addressAndPortDependent)
      host.move(to: IPv4Address(192, 168, 77, 10), behind: next)
    }
    world.net.network.advance(by: 12_000)
    for end in [client, server] {
      XCTAssertFalse(end.peer.isClosed, "\(what): \(String(describing: end.peer.closeError))")
      // The other end is not told: it repeats what was lost in its own time.
      XCTAssertLessThan(end.longestGap, restart ? 4_500_000 : 1_500_000, what)
    }
    XCTAssertTrue(world.isRelayed(peer), what)
    XCTAssertEqual((serverMoves ? server : client).pathChanges.count, 1, what)
    client.isSending = false
    server.isSending = false
    world.net.wait { client.received == server.sent && server.received == client.sent }
    XCTAssertEqual(client.mismatches + server.mismatches, 0, what)
    peer.stream.destroy()
    world.net.wait { other.isClosed }
    world.assertQuiet()
    world.destroy()
  }

  func testARelayedStreamMovesWithItsRelay() throws {
    for seed in 1...20 as ClosedRange<UInt64> {
      try run(seed, server: seed % 2 == 0, restart: false)
    }
  }

  /// Between mover and relay: the other end may be any peer.
  func testTheOtherEndNeedNotKnow() throws {
    for seed in 1...5 as ClosedRange<UInt64> { try run(seed, server: false, restart: false, isServerDeployed: true) }
  }

  func testARestartedNATBeforeARelay() throws {
    for seed in 1...6 as ClosedRange<UInt64> {
      try run(seed, server: seed % 2 == 0, restart: true)
    }
  }
}
