import HyperEncoding
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A peer that vanishes while its stream changes between a relay and a direct path is noticed as any other.
final class RelayDeadPeerTests: XCTestCase {
  private enum Deployed: CaseIterable { case none, client, server }

  /// Two NATs between which punching works.
  private func makeWorld(_ seed: UInt64, _ deployed: Deployed) -> RelayWorld {
    // The server's node is the first that is made.
    var nodes = 0
    let world = RelayWorld(
      seed: seed, serverMapping: .endpointIndependent, clientMapping: .endpointIndependent,
      node: {
        nodes += 1
        $0.migration = nodes == 1 ? deployed != .server : deployed != .client
      },
      server: { options, _ in options.shareLocalAddress = false })
    world.net.network.latency = { _ in 20_000 }
    return world
  }

  /// Microseconds from the cut until both ends have closed: a keep-alive of 5 s, 13 s to give up, and the spacing of
  /// timeouts.
  private func assertNoticed(_ world: RelayWorld, _ streams: [EncryptedStream], _ what: String) {
    let start = world.net.network.now
    world.net.network.run(within: 60_000) { streams.allSatisfy { $0.isClosed } }
    XCTAssertLessThanOrEqual(world.net.network.now - start, 20_000_000, what)
  }

  /// Everything from and to the client is lost from some time on, which comes a little later in each round.
  func testAPeerThatVanishesWhileTheStreamMoves() {
    for deployed in Deployed.allCases {
      for delay in stride(from: UInt64(0), to: 1_500, by: 50) {
        let world = makeWorld(8600 + delay, deployed)
        let peer = world.connectRelayed()
        world.net.wait { peer.opened == 1 && !world.accepted.peers.isEmpty }
        let streams = [peer.stream, world.accepted.peers[0].stream]
        world.net.network.advance(by: delay)
        for stream in streams { stream.write([UInt8](repeating: 1, count: 3000)) }
        let client = world.clientNAT.address
        world.net.network.shouldDrop = { $0.source.host == client || $0.destination.host == client }
        assertNoticed(world, streams, "deployed \(deployed), \(delay) ms")
        world.net.network.shouldDrop = nil
        world.destroy()
      }
    }
  }
}
