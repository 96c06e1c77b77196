import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Client and server are on one private network, and a relay is named: the direct path leads to the server's socket
/// over which the relay's packets come, too.
final class RelayLocalTests: XCTestCase {
  /// Which of the two ends is a deployed version, as far as it offers no migration.
  private enum Deployed: CaseIterable { case none, server, client }

  private func makeWorld(
    _ seed: UInt64, _ deployed: Deployed, keepAlive: UInt64 = 5000
  ) -> (RelayWorld, DHTNode, VirtualHost) {
    // The server's node is the first that is made.
    var nodes = 0
    let world = RelayWorld(
      seed: seed,
      node: {
        nodes += 1
        $0.connectionKeepAlive = keepAlive
        if nodes == 1 { $0.migration = deployed != .server }
      })
    let host = world.net.network.makeHost(IPv4Address(192, 168, 1, 11), behind: world.serverNAT)
    let client = world.net.makeNode(on: host) {
      $0.connectionKeepAlive = keepAlive
      $0.migration = deployed != .client
    }
    return (world, client, host)
  }

  private func connect(_ client: DHTNode, _ world: RelayWorld) -> Peer {
    var options = ConnectOptions()
    options.relayThrough = .keys([world.relayKey])
    return world.net.connect(client, to: world.server, options: options)
  }

  /// Longest echo, microseconds, of one every 250 ms.
  private func longestEcho(_ peer: Peer, _ world: RelayWorld, during milliseconds: UInt64, _ what: String) -> UInt64 {
    var longest: UInt64 = 0
    let end = world.net.network.now + milliseconds * 1000
    while world.net.network.now < end, !peer.isClosed {
      let start = world.net.network.now
      world.net.assertEcho(peer, what)
      longest = max(longest, world.net.network.now - start)
      world.net.network.advance(by: 250)
    }
    XCTAssertFalse(peer.isClosed, "\(what): \(String(describing: peer.closeError))")
    return longest
  }

  private func assertDirect(_ peer: Peer, _ world: RelayWorld, _ host: VirtualHost, _ what: String) {
    XCTAssertEqual(peer.stream.transport?.remote?.host, IPv4Address(192, 168, 1, 10), what)
    let accepted = world.accepted.peers.filter { !$0.isClosed }
    XCTAssertEqual(accepted.count, 1, what)
    XCTAssertEqual(accepted.first?.stream.transport?.remote?.host, host.address, what)
    XCTAssertEqual(world.relay.linkCount, 0, "the relay is given back, \(what)")
  }

  func testLocalPathAndRelayRace() {
    for seed in UInt64(1)...20 {
      let (world, client, host) = makeWorld(7600 + seed, .none)
      let what = "seed \(seed)"
      let relayHost = world.relayHost
      world.net.network.latency = { packet in
        let isRelay = packet.source.host == relayHost || packet.destination.host == relayHost
        return isRelay ? seed * 3000 : 20_000
      }
      let peer = connect(client, world)
      world.net.assertEcho(peer, "first, \(what)")
      world.net.network.advance(by: 30_000)
      world.net.assertEcho(peer, "later, \(what)", within: 1_000)
      assertDirect(peer, world, host, what)
      world.destroy()
    }
  }

  /// The local path opens long after the relay, and after the server has given up looking for one: the stream moves all
  /// the same, on both sides, and not one message waits for it.
  func testALocalPathThatOpensLate() {
    for seed in UInt64(1)...20 {
      let (world, client, host) = makeWorld(7600 + seed, .none)
      let what = "seed \(seed)"
      world.net.network.latency = { packet in
        let isLocal = packet.source.host.isPrivate && packet.destination.host.isPrivate
        return isLocal ? seed * 20_000 : 3_000
      }
      let peer = connect(client, world)
      world.net.assertEcho(peer, "first, \(what)")
      if seed > 1 { XCTAssertTrue(world.isRelayed(peer), what) }
      // A packet that leaves over the relay may be followed by its acknowledgement over the local path.
      XCTAssertLessThan(longestEcho(peer, world, during: 10_000, what), 4 * seed * 20_000 + 100_000, what)
      assertDirect(peer, world, host, what)
      if seed > 1 {
        XCTAssertEqual(client.statistics.relaying.upgrades, 1, what)
        XCTAssertEqual(world.serverNode.statistics.relaying.upgrades, 1, what)
      }
      world.net.network.advance(by: 60_000)
      world.net.assertEcho(peer, "later, \(what)", within: 2_000)
      XCTAssertEqual(client.relays.pathCount + world.serverNode.relays.pathCount, 0, what)
      world.destroy()
    }
  }

  /// Without keep-alives, and without a word of the application: the peers tell each other.
  func testALocalPathThatOpensLateBeneathAnIdleStream() {
    for seed in UInt64(2)...6 {
      let (world, client, host) = makeWorld(7700 + seed, .none, keepAlive: 0)
      world.net.network.latency = { packet in
        let isLocal = packet.source.host.isPrivate && packet.destination.host.isPrivate
        return isLocal ? seed * 20_000 : 3_000
      }
      let peer = connect(client, world)
      world.net.wait { peer.opened == 1 && !world.accepted.peers.isEmpty }
      XCTAssertTrue(world.isRelayed(peer))
      world.net.network.advance(by: 10_000)
      assertDirect(peer, world, host, "seed \(seed)")
      world.net.assertEcho(peer, within: 2_000)
      world.destroy()
    }
  }

  /// One end can prove nothing. Whether the other follows or not, messages arrive.
  func testALocalPathThatOpensLateToADeployedPeer() {
    for deployed in [Deployed.server, .client] {
      for seed in UInt64(2)...10 {
        let (world, client, _) = makeWorld(7800 + seed, deployed)
        let what = "seed \(seed), deployed \(deployed)"
        world.net.network.latency = { packet in
          let isLocal = packet.source.host.isPrivate && packet.destination.host.isPrivate
          return isLocal ? seed * 20_000 : 3_000
        }
        let peer = connect(client, world)
        world.net.assertEcho(peer, "first, \(what)")
        XCTAssertTrue(world.isRelayed(peer), what)
        XCTAssertLessThan(longestEcho(peer, world, during: 60_000, what), 2_500_000, what)
        XCTAssertEqual(world.accepted.peers.count { !$0.isClosed }, 1, what)
        world.destroy()
      }
    }
  }

  /// The local network loses what the stream sends there, one way or both, after the path was found.
  func testALocalPathThatCarriesNothing() {
    // Messages that prove a path are shorter than packets of the stream, and may get through where those do not.
    let kinds: [(Deployed, losesProofs: Bool)] = [
      (.none, true), (.none, false), (.server, true), (.client, true),
    ]
    for (deployed, losesProofs) in kinds {
      for (losesUp, losesDown) in [(true, true), (true, false), (false, true)] {
        let (world, client, host) = makeWorld(7900, deployed)
        let what = "deployed \(deployed), loses proofs \(losesProofs), up \(losesUp), down \(losesDown)"
        let isMigration: (VirtualNetwork.Packet) -> Bool = { $0.bytes.count == 64 && $0.bytes.first == 0xf5 }
        world.net.network.shouldDrop = { packet in
          guard packet.source.host.isPrivate && packet.destination.host.isPrivate else { return false }
          guard packet.isStream || losesProofs && isMigration(packet) else { return false }
          return packet.source.host == host.address ? losesUp : losesDown
        }
        world.net.network.latency = { packet in
          let isLocal = packet.source.host.isPrivate && packet.destination.host.isPrivate
          return isLocal ? 100_000 : 3_000
        }
        let peer = connect(client, world)
        world.net.assertEcho(peer, "first, \(what)")
        var longest = longestEcho(peer, world, during: 8_000, what)
        // A path that fails at once may work a little later. One that was proved has ended the race.
        XCTAssertEqual(client.connectors.count, deployed == .none && !losesProofs ? 0 : 1, what)
        longest = max(longest, longestEcho(peer, world, during: 52_000, what))
        // A stream whose peer cannot prove itself has to try.
        XCTAssertLessThan(longest, deployed == .none && losesProofs ? 100_000 : 4_500_000, what)
        XCTAssertTrue(world.isRelayed(peer), what)
        XCTAssertEqual(world.relay.linkCount, 1, what)
        XCTAssertEqual(client.connectors.count, 0, "the attempt has ended, \(what)")
        world.net.network.shouldDrop = nil
        world.destroy()
      }
    }
  }
}
