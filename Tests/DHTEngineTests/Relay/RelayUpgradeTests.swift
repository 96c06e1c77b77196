import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// The move of a relayed connection to a direct path: hyperdht.md 9.3 (test 73).
final class RelayUpgradeTests: XCTestCase {
  /// Two NATs between which punching works, once `mayPunch` lets the probes through.
  private func world(
    seed: UInt64, keepAlive: UInt64 = 5000, echoes: Bool = true, isClientDeployed: Bool = false
  ) -> RelayWorld {
    // The server's node is the first that is made.
    var nodes = 0
    return RelayWorld(
      seed: seed, serverMapping: .endpointIndependent,
      clientMapping: .endpointIndependent, echoes: echoes,
      node: {
        nodes += 1
        $0.connectionKeepAlive = keepAlive
        if nodes == 2, isClientDeployed { $0.migration = false }
      },
      server: { options, _ in options.shareLocalAddress = false })
  }

  private func holdProbes(_ world: RelayWorld) {
    world.net.network.shouldDrop = { !$0.isStream && $0.bytes.count == 1 }
  }

  private func assertDirect(
    _ peer: Peer, _ world: RelayWorld, _ what: String, file: StaticString = #filePath, line: UInt = #line
  ) {
    let accepted = world.accepted.peers.first
    XCTAssertEqual(
      peer.stream.transport?.remote?.host, world.serverNAT.address, "client, \(what)", file: file, line: line)
    XCTAssertEqual(
      accepted?.stream.transport?.remote?.host, world.clientNAT.address, "server, \(what)", file: file, line: line)
  }

  func testDHT_73_relayedConnectionBecomesDirect() {
    for (seed, isDeployed) in [(730, false), (740, false), (730, true), (740, true)] as [(UInt64, Bool)] {
      for keepAlive: UInt64 in [5000, 0] {
        let what = "seed \(seed), keepalive \(keepAlive), deployed \(isDeployed)"
        let world = world(seed: seed + keepAlive, keepAlive: keepAlive, isClientDeployed: isDeployed)
        holdProbes(world)
        let peer = world.connectRelayed()
        world.net.assertEcho(peer, "over the relay, \(what)")
        XCTAssertTrue(world.isRelayed(peer), what)
        let streams = [peer.stream] + world.accepted.peers.map(\.stream)
        XCTAssertEqual(streams.map(\.isRelayed), [true, true], what)
        var paths = [0, 0]
        for (index, stream) in streams.enumerated() { stream.onPathChange = { _ in paths[index] += 1 } }
        let ids = (peer.stream.transport?.localID, world.accepted.peers.first?.stream.transport?.localID)
        XCTAssertEqual(world.relay.sessionCount, 2, what)
        world.net.network.shouldDrop = nil
        // A path that the server knows by a packet alone has to carry something; the relay stays until then.
        if isDeployed, keepAlive == 0 {
          world.net.network.advance(by: 20_000)
          world.net.assertEcho(peer, "after a while, \(what)", within: 1_000)
        }
        // Idle: only the nudge tells the peer.
        world.net.wait(20_000, "control connections close, \(what)") { world.relay.sessionCount == 0 }
        assertDirect(peer, world, what)
        XCTAssertEqual(streams.map(\.isRelayed), [false, false], what)
        XCTAssertEqual(paths, [1, 1], "one event a side, \(what)")
        XCTAssertEqual(streams.map(\.statistics.pathChanges), [1, 1], what)
        XCTAssertEqual(peer.stream.transport?.localID, ids.0, what)
        XCTAssertEqual(world.accepted.peers.first?.stream.transport?.localID, ids.1, what)
        XCTAssertEqual(world.clientNode.statistics.relaying.upgrades, 1, what)
        XCTAssertEqual(world.serverNode.statistics.relaying.upgrades, 1, what)
        world.net.assertEcho(peer, "directly, \(what)")
        XCTAssertEqual(world.relay.linkCount, 0, what)
        peer.stream.end()
        world.net.wait { peer.isClosed && world.accepted.peers.allSatisfy(\.isClosed) }
        XCTAssertNil(peer.closeError, what)
        world.assertQuiet()
        world.destroy()
      }
    }
  }

  func testDHT_73_dataFlowsDuringTheMove() {
    let cases = [(1, 0), (2, 3), (3, 3), (4, 8), (5, 8), (6, 1), (7, 0), (8, 3), (9, 8)] as [(UInt64, UInt64)]
    for (seed, loss) in cases {
      let world = world(seed: 7300 + seed, echoes: false, isClientDeployed: seed > 6)
      var random = SeededRandom(seed: seed)
      var probesPass = false
      world.net.network.shouldDrop = { packet in
        if packet.bytes.count == 1 { return !probesPass }
        return packet.bytes.first == 0xff && random.next() % 100 < loss
      }
      let peer = world.connectRelayed()
      world.net.wait(60_000) { world.accepted.peers.count == 1 && peer.opened == 1 }
      XCTAssertTrue(world.isRelayed(peer))
      var up: [UInt8] = []
      var down: [UInt8] = []
      let accepted = world.accepted.peers[0]
      accepted.onMessage = { up += $0 }
      peer.onMessage = { down += $0 }
      var sent: [UInt8] = []
      for turn in 0..<200 {
        if turn == 40 { probesPass = true }
        let part = random.bytes(2000)
        sent += part
        peer.stream.write(part)
        accepted.stream.write(part)
        world.net.network.advance(by: 50)
      }
      world.net.wait(60_000, "all has arrived, seed \(seed)") { up.count == sent.count && down.count == sent.count }
      XCTAssertTrue(up == sent && down == sent, "in order, seed \(seed)")
      assertDirect(peer, world, "seed \(seed)")
      world.net.wait(20_000) { world.relay.sessionCount == 0 }
      peer.stream.end()
      accepted.stream.end()
      world.net.wait { peer.isClosed && accepted.isClosed }
      world.assertQuiet()
      world.destroy()
    }
  }

  /// Punching and pairing are about as fast: whichever wins, the connection stands and the relay is given back.
  func testDirectPathAndRelayRace() {
    var relayedFirst = 0
    for seed in UInt64(1)...30 {
      let world = world(seed: 7400 + seed)
      let relayHost = world.relayHost
      let nats = [world.serverNAT.address, world.clientNAT.address]
      world.net.network.latency = { packet in
        if packet.source.host == relayHost || packet.destination.host == relayHost { return seed * 4000 }
        return nats.contains(packet.source.host) && nats.contains(packet.destination.host) ? (31 - seed) * 10_000 : 5000
      }
      let peer = world.connectRelayed()
      world.net.assertEcho(peer, "seed \(seed)")
      if world.isRelayed(peer) { relayedFirst += 1 }
      world.net.network.advance(by: 30_000)
      world.net.assertEcho(peer, "later, seed \(seed)")
      XCTAssertFalse(world.isRelayed(peer), "seed \(seed)")
      peer.stream.end()
      world.net.wait(30_000, "seed \(seed)") { peer.isClosed && world.accepted.peers.allSatisfy(\.isClosed) }
      XCTAssertNil(peer.closeError, "seed \(seed)")
      world.assertQuiet()
      world.destroy()
    }
    print("race: the relay was first in \(relayedFirst) of 30")
    XCTAssertTrue((1..<30).contains(relayedFirst), "both orders occur")
  }

  func testRelayDiesDuringTheMove() {
    let world = world(seed: 7500)
    holdProbes(world)
    let peer = world.connectRelayed()
    world.net.assertEcho(peer)
    world.net.network.shouldDrop = nil
    world.net.wait(20_000) { world.clientNode.statistics.relaying.upgrades == 1 }
    let host = world.relayHost
    world.net.network.shouldDrop = { $0.source.host == host || $0.destination.host == host }
    world.net.assertEcho(peer, "directly")
    world.net.network.advance(by: 60_000)
    world.net.assertEcho(peer, "later")
    XCTAssertFalse(peer.isClosed)
    world.net.network.shouldDrop = nil
    peer.stream.end()
    world.net.wait { peer.isClosed }
    world.assertQuiet()
    world.destroy()
  }

  /// Packets that name the stream but come from a stranger do not move a connection that stays on its relay.
  func testStrangersDoNotMoveAConnection() {
    let world = RelayWorld(seed: 7600)
    let peer = world.connectRelayed()
    world.net.assertEcho(peer)
    world.net.network.advance(by: 30_000)
    guard let transport = peer.stream.transport, let socket = world.clientNode.rpc.serverSocket else {
      return XCTFail("no stream")
    }
    let stranger = world.net.makeNode()
    guard let raw = stranger.makeTransportStream(), let own = stranger.rpc.socket, let port = socket.localEndpoint?.port
    else { return XCTFail("no stream") }
    // A way in through the NAT to the client's other socket.
    let door: UInt16 = 19_000
    world.clientNAT.forwards[door] = Endpoint(host: IPv4Address(192, 168, 2, 10), port: port)
    let strangerHost = stranger.environment.interfaces().first { !$0.isInternal }?.address ?? .any
    XCTAssertNoThrow(
      try raw.connect(
        socket: own, remoteID: transport.localID, to: Endpoint(host: world.clientNAT.address, port: door)))
    world.net.network.isLogging = true
    world.net.network.logsStreams = true
    world.net.network.log = []
    raw.sendMessage([1])
    world.net.network.advance(by: 1000)
    world.net.network.isLogging = false
    XCTAssertTrue(
      world.net.network.log.contains {
        $0.source.host == strangerHost && $0.destination.port == door && $0.bytes.first == 0xff && !$0.wasDropped
      }, "the packet got there")
    XCTAssertTrue(world.isRelayed(peer))
    XCTAssertEqual(world.clientNode.statistics.relaying.upgrades, 0)
    world.net.assertEcho(peer, "still there")
    raw.destroy()
    world.destroy()
  }

  /// Item 67 with a relay: there is time to wait for the next random punch.
  func testDHT_67_secondRandomPunchWaitsWhileRelayed() {
    let world = RelayWorld(
      seed: 7700, serverMapping: .endpointIndependent, clientMapping: .addressAndPortDependent,
      server: { options, _ in options.shareLocalAddress = false })
    let first = world.connectRelayed { $0.keyPair = KeyPair(seed: Bytes32(repeating: 1)) }
    world.net.assertEcho(first)
    let second = world.connectRelayed { $0.keyPair = KeyPair(seed: Bytes32(repeating: 2)) }
    world.net.assertEcho(second)
    XCTAssertTrue(world.isRelayed(second), "one random punch at a time")
    world.net.wait(120_000, "both become direct") { !world.isRelayed(first) && !world.isRelayed(second) }
    world.net.assertEcho(first, "first, directly")
    world.net.assertEcho(second, "second, directly")
    world.net.wait(30_000) { world.relay.sessionCount == 0 }
    world.destroy()
  }
}
