import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// How a relayed stream leaves its relay beside peers of deployed versions, which take whatever comes, and go where a
/// packet has come from, or do not; and beside strangers.
final class RelayDepartureTests: XCTestCase {
  private func makeWorld(
    _ seed: UInt64, migration: Bool = false, keepAlive: UInt64 = 5000, latency: UInt64 = 100_000
  ) -> (RelayWorld, DHTNode) {
    let world = RelayWorld(
      seed: seed,
      node: {
        $0.migration = migration
        $0.connectionKeepAlive = keepAlive
      })
    let host = world.net.network.makeHost(IPv4Address(192, 168, 1, 11), behind: world.serverNAT)
    let client = world.net.makeNode(on: host) {
      $0.migration = migration
      $0.connectionKeepAlive = keepAlive
    }
    world.net.network.latency = { packet in
      packet.source.host.isPrivate && packet.destination.host.isPrivate ? latency : 3_000
    }
    return (world, client)
  }

  private func connect(_ client: DHTNode, _ world: RelayWorld) -> Peer {
    var options = ConnectOptions()
    options.relayThrough = .keys([world.relayKey])
    let peer = world.net.connect(client, to: world.server, options: options)
    world.net.wait { peer.opened == 1 && !world.accepted.peers.isEmpty }
    XCTAssertTrue(world.isRelayed(peer))
    // Without keep-alives the first, empty message is one of the application.
    world.net.wait { peer.received.count == (client.options.connectionKeepAlive == 0 ? 1 : 0) }
    return peer
  }

  /// One message every 250 ms for so long, each answered within the bound.
  private func talk(_ peer: Peer, _ world: RelayWorld, turns: Int = 160, within milliseconds: UInt64, _ what: String) {
    for turn in 0..<turns where !peer.isClosed {
      world.net.assertEcho(peer, "\(turn)", within: milliseconds)
      world.net.network.advance(by: 250)
    }
    XCTAssertFalse(peer.isClosed, "\(what): \(String(describing: peer.closeError))")
  }

  /// A deployed server whose relay is reached over the socket that the local path leads to: it takes what comes there,
  /// and answers over the relay.
  func testAServerThatDoesNotFollow() throws {
    for keepAlive: UInt64 in [5000, 0] {
      let (world, client) = makeWorld(8100, keepAlive: keepAlive)
      let peer = connect(client, world)
      let raw = try XCTUnwrap(world.accepted.peers[0].stream.transport)
      raw.firewall = { $1.port != 0 }
      raw.asksForSources = false
      talk(peer, world, within: 2_000, "keepalive \(keepAlive)")
      XCTAssertTrue(world.isRelayed(peer), "nothing has come over the local path")
      XCTAssertEqual(client.statistics.relaying.upgrades, 0)
      XCTAssertEqual(world.relay.linkCount, 1, "the relay is needed")
      world.destroy()
    }
  }

  /// The same, and one message takes longer than a look: much is sent that only the relay acknowledges.
  func testDataFlowsToAServerThatDoesNotFollow() throws {
    let (world, client) = makeWorld(8150)
    let peer = connect(client, world)
    let accepted = world.accepted.peers[0]
    let raw = try XCTUnwrap(accepted.stream.transport)
    raw.firewall = { $1.port != 0 }
    raw.asksForSources = false
    var received = 0
    accepted.onMessage = { received += $0.count }
    let part = [UInt8](repeating: 7, count: 50_000)
    for _ in 0..<100 {
      peer.stream.write(part)
      world.net.network.advance(by: 100)
    }
    world.net.wait(5_000, "all arrives") { received == 100 * part.count }
    XCTAssertTrue(world.isRelayed(peer))
    XCTAssertEqual(world.relay.linkCount, 1)
    world.destroy()
  }

  /// A deployed server that goes where a packet has come from, and lets go of its relay as soon as a second one has.
  func testAServerThatFollows() throws {
    for keepAlive: UInt64 in [5000, 0] {
      for isTalking in [true, false] {
        let what = "keepalive \(keepAlive), talking \(isTalking)"
        let (world, client) = makeWorld(8200, keepAlive: keepAlive)
        let peer = connect(client, world)
        let raw = try XCTUnwrap(world.accepted.peers[0].stream.transport)
        let id = try XCTUnwrap(peer.stream.transport?.localID)
        let node = world.serverNode
        let relayHost = world.relayHost
        raw.firewall = { [weak raw, weak node] socket, source in
          guard let raw, source.host != relayHost, raw.remote != source else { return true }
          try? raw.changeRemote(socket: socket, remoteID: id, to: source) { [weak raw] in raw?.sendMessage([]) }
          _ = node?.environment.schedule(after: 300) { [weak node] in node?.relays.destroyAll() }
          return true
        }
        raw.asksForSources = false
        if isTalking {
          talk(peer, world, within: 2_000, what)
        } else {
          world.net.network.advance(by: 40_000)
        }
        XCTAssertEqual(peer.stream.transport?.remote?.host, IPv4Address(192, 168, 1, 10), what)
        XCTAssertEqual(client.statistics.relaying.upgrades, 1, what)
        XCTAssertEqual(client.relays.pathCount, 0, what)
        world.net.assertEcho(peer, "later", within: 1_000)
        world.destroy()
      }
    }
  }

  /// What becomes of the relay once the client has gone.
  private enum AfterRelay: CaseIterable { case kept, ended, silent }

  /// A deployed client goes ahead alone, long after the server has given up: it is heard, and answered over the relay,
  /// which it keeps; or directly, where it has let go of that.
  func testAClientThatGoesAheadAlone() throws {
    for relay in AfterRelay.allCases {
      for isIdle in [true, false] {
        let what = "relay \(relay), idle \(isIdle)"
        let (world, client) = makeWorld(8300)
        world.net.network.shouldDrop = { $0.source.host.isPrivate && $0.destination.host.isPrivate }
        let peer = connect(client, world)
        world.net.network.advance(by: 150_000)
        world.net.network.shouldDrop = nil
        XCTAssertTrue(world.server.handshakeCount == 0, what)
        let raw = try XCTUnwrap(peer.stream.transport)
        let other = try XCTUnwrap(world.accepted.peers[0].stream.transport)
        let socket = try XCTUnwrap(client.rpc.serverSocket)
        let port = try XCTUnwrap(world.serverNode.rpc.serverSocket?.localEndpoint?.port)
        let remote = Endpoint(host: IPv4Address(192, 168, 1, 10), port: port)
        try raw.changeRemote(socket: socket, remoteID: other.localID, to: remote) { [weak raw] in raw?.sendMessage([]) }
        raw.firewall = { $1.port != 0 }
        raw.asksForSources = false
        // What it has sent over the relay is acknowledged there.
        world.net.network.advance(by: 500)
        let relayHost = world.relayHost
        switch relay {
        case .kept: break
        case .ended: client.relays.destroyAll()
        case .silent:
          world.net.network.shouldDrop = { $0.source.host == relayHost || $0.destination.host == relayHost }
          client.relays.destroyAll()
        }
        if isIdle { world.net.network.advance(by: 60_000) }
        talk(peer, world, within: 4_000, what)
        if relay != .kept { XCTAssertEqual(other.remote?.host, IPv4Address(192, 168, 1, 11), what) }
        XCTAssertEqual(world.accepted.peers.count { !$0.isClosed }, 1, what)
        world.net.network.shouldDrop = nil
        world.destroy()
      }
    }
  }

  // MARK: Strangers

  /// Where a stranger may be.
  private enum Place: CaseIterable { case elsewhere, client }

  /// A stranger that knows the stream's id sends packets of a stream to the server, again and again: at the time when
  /// the server looks for a direct path, and after it has given that up.
  func testStrangersDoNotMoveAStream() throws {
    for (migration, place) in [(true, Place.elsewhere), (true, .client), (false, .elsewhere), (false, .client)] {
      for isLate in [false, true] {
        // A packet of the very host of a deployed client, while both look for a path, is what such a client sends.
        if !migration, place == .client, !isLate { continue }
        let what = "migration \(migration), \(place), late \(isLate)"
        let world = RelayWorld(seed: 8400, node: { $0.migration = migration })
        let peer = world.connectRelayed()
        world.net.assertEcho(peer, what)
        if isLate { world.net.network.advance(by: 150_000) }
        XCTAssertEqual(world.server.handshakeCount == 0, isLate, what)
        let transport = try XCTUnwrap(world.accepted.peers[0].stream.transport)
        let port = try XCTUnwrap(world.serverNode.rpc.serverSocket?.localEndpoint?.port)
        let door: UInt16 = 19_000
        world.serverNAT.forwards[door] = Endpoint(host: IPv4Address(192, 168, 1, 10), port: port)
        let stranger: DHTNode
        switch place {
        case .elsewhere: stranger = world.net.makeNode()
        case .client:
          stranger = world.net.makeNode(
            on: world.net.network.makeHost(IPv4Address(192, 168, 2, 99), behind: world.clientNAT))
        }
        let raw = try XCTUnwrap(stranger.makeTransportStream())
        let socket = try XCTUnwrap(stranger.rpc.socket)
        try raw.connect(
          socket: socket, remoteID: transport.localID, to: Endpoint(host: world.serverNAT.address, port: door))
        world.net.network.isLogging = true
        world.net.network.logsStreams = true
        world.net.network.log = []
        for _ in 0..<120 {
          raw.sendMessage([1])
          world.net.network.advance(by: 250)
          world.net.assertEcho(peer, what, within: 1_000)
          XCTAssertEqual(transport.remote?.host, world.relayHost, what)
        }
        world.net.network.isLogging = false
        let arrived = world.net.network.log.count {
          $0.destination.port == door && $0.bytes.first == 0xff && !$0.wasDropped
        }
        XCTAssertGreaterThanOrEqual(arrived, 120, what)
        XCTAssertEqual(world.serverNode.statistics.relaying.upgrades, 0, what)
        XCTAssertTrue(world.isRelayed(peer), what)
        raw.destroy()
        world.destroy()
      }
    }
  }

  /// The relay goes while a stranger waits for the stream.
  func testAStrangerDoesNotGetAStreamWhoseRelayIsSilent() throws {
    let world = RelayWorld(seed: 8500, node: { $0.migration = true })
    let peer = world.connectRelayed()
    world.net.assertEcho(peer)
    let transport = try XCTUnwrap(world.accepted.peers[0].stream.transport)
    let port = try XCTUnwrap(world.serverNode.rpc.serverSocket?.localEndpoint?.port)
    let door: UInt16 = 19_000
    world.serverNAT.forwards[door] = Endpoint(host: IPv4Address(192, 168, 1, 10), port: port)
    let stranger = world.net.makeNode(
      on: world.net.network.makeHost(IPv4Address(192, 168, 2, 99), behind: world.clientNAT))
    let raw = try XCTUnwrap(stranger.makeTransportStream())
    try raw.connect(
      socket: try XCTUnwrap(stranger.rpc.socket), remoteID: transport.localID,
      to: Endpoint(host: world.serverNAT.address, port: door))
    let relayHost = world.relayHost
    world.net.network.shouldDrop = { $0.source.host == relayHost || $0.destination.host == relayHost }
    for _ in 0..<24 {
      raw.sendMessage([1])
      world.accepted.peers[0].stream.write([2])
      world.net.network.advance(by: 250)
      XCTAssertEqual(transport.remote?.host, relayHost)
    }
    world.net.network.shouldDrop = nil
    world.net.wait { peer.received.count == 25 }
    world.net.assertEcho(peer, "the relay is back")
    raw.destroy()
    world.destroy()
  }

  /// The relay falls silent with a message on its way, and then a direct path is proved: the message comes over that.
  func testAMessageOnItsWayOverADeadRelay() {
    let (world, client) = makeWorld(8600, migration: true)
    world.net.network.shouldDrop = { $0.source.host.isPrivate && $0.destination.host.isPrivate }
    let peer = connect(client, world)
    let relayHost = world.relayHost
    let accepted = world.accepted.peers[0]
    world.net.network.shouldDrop = { $0.source.host == relayHost || $0.destination.host == relayHost }
    accepted.stream.write([1])
    world.net.wait { client.statistics.migrations.moved > 0 || !world.isRelayed(peer) }
    world.net.network.advance(by: 1_500)
    XCTAssertEqual(peer.received.last, [1])
    world.net.network.advance(by: 30_000)
    XCTAssertFalse(peer.isClosed)
    XCTAssertFalse(accepted.isClosed)
    world.destroy()
  }
}
