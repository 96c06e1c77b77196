import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

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
    for seed: UInt64 in [70, 71] {
      let world = RelayWorld(seed: seed)
      let peer = world.connectRelayed()
      world.net.assertEcho(peer)
      XCTAssertTrue(world.isRelayed(peer))
      world.net.network.advance(by: 60_000)
      world.net.assertEcho(peer, "a minute later")
      XCTAssertTrue(world.isRelayed(peer), "there is no direct path")
      XCTAssertEqual(world.accepted.peers.count, 1)
      XCTAssertEqual(world.accepted.peers.first?.stream.keepAlive, 5000)
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

  private enum Naming: CaseIterable { case client, server, both }
  private enum Veto: CaseIterable { case none, client, server }

  func testDHT_70_whoeverNamesTheRelayAndWhoeverRefusesToPunch() {
    var seed: UInt64 = 700
    for naming in Naming.allCases {
      for veto in Veto.allCases {
        seed += 1
        let mapping: VirtualNAT.Mapping = veto == .none ? .addressAndPortDependent : .endpointIndependent
        let world = RelayWorld(
          seed: seed, serverMapping: mapping, clientMapping: mapping,
          server: { options, relay in
            options.shareLocalAddress = false
            if naming != .client { options.relayThrough = .keys([relay]) }
            if veto == .server { options.holepunch = { _, _, _, _ in false } }
          })
        let peer = world.connect {
          if naming != .server { $0.relayThrough = .keys([world.relayKey]) }
          if veto == .client { $0.holepunch = { _, _, _, _ in false } }
        }
        let what = "\(naming) names, veto: \(veto)"
        world.net.assertEcho(peer, what)
        XCTAssertTrue(world.isRelayed(peer), what)
        world.net.network.advance(by: 30_000)
        world.net.assertEcho(peer, what + ", later")
        XCTAssertTrue(world.isRelayed(peer), what)
        XCTAssertEqual(world.relay.statistics.pairingsMatched, 1, "one relay, one token: \(what)")
        XCTAssertEqual(world.relay.statistics.pairingsRequested, 2, what)
        close(peer, world)
        world.destroy()
      }
    }
  }

  func testDHT_71_theRelayMakesTwoStreams() {
    let world = RelayWorld(seed: 710)
    let peer = world.connectRelayed()
    world.net.assertEcho(peer)
    XCTAssertEqual(world.relay.linkCount, 1)
    XCTAssertEqual(world.relay.sessionCount, 2)
    XCTAssertEqual(world.relayNode.rawStreamCount, 4, "two control connections and two relayed streams")
    XCTAssertGreaterThan(world.relay.bytesRelayed, 100)
    close(peer, world)
    XCTAssertEqual(world.relay.statistics.linksClosed, 1)
    XCTAssertGreaterThan(world.relay.statistics.bytesRelayed, 100)
    world.destroy()
  }

  func testDHT_72_vetoOfTheClientEndsPunchingAtTheServer() {
    let world = RelayWorld(
      seed: 720, serverMapping: .endpointIndependent, clientMapping: .endpointIndependent,
      server: { options, relay in
        options.shareLocalAddress = false
        options.relayThrough = .keys([relay])
      })
    let peer = world.connect { $0.holepunch = { _, _, _, _ in false } }
    world.net.assertEcho(peer)
    world.net.wait { world.serverNode.sockets.count == 0 && world.clientNode.sockets.count == 0 }
    XCTAssertTrue(world.isRelayed(peer), "the session was given up, the connection was not")
    close(peer, world)
    world.destroy()
  }

  func testDHT_74_serverVanishesBehindTheRelay() {
    for keepAlive: UInt64 in [5000, 1000] {
      let world = RelayWorld(seed: 740, node: { $0.connectionKeepAlive = keepAlive })
      let peer = world.connectRelayed()
      world.net.assertEcho(peer)
      world.serverNAT.reset()
      world.net.network.shouldDrop = { $0.source.host == world.serverNAT.address }
      let started = world.net.network.now
      world.net.wait(120_000) { peer.isClosed }
      XCTAssertEqual(peer.closeError?.code, "ETIMEDOUT")
      print("server behind a relay missed after \((world.net.network.now - started) / 1000) ms")
      world.net.network.shouldDrop = nil
      world.destroy()
    }
  }

  // MARK: Failures

  func testRelayDiesUnderAConnection() {
    for graceful in [true, false] {
      let world = RelayWorld(seed: 75)
      let peer = world.connectRelayed()
      world.net.assertEcho(peer)
      if graceful {
        world.service.close()
      } else {
        let host = world.relayHost
        world.net.network.shouldDrop = { $0.source.host == host || $0.destination.host == host }
      }
      world.net.wait(120_000, "both ends learn of it") { peer.isClosed && world.accepted.peers.allSatisfy(\.isClosed) }
      if graceful {
        XCTAssertEqual(peer.closeError?.code, "RELAY_ABORTED")
      } else {
        XCTAssertNotNil(peer.closeError)
      }
      XCTAssertEqual(peer.closed, 1)
      world.net.network.shouldDrop = nil
      world.assertQuiet()
      world.destroy()
    }
  }

  func testServerDoesNotWantTheRelay() {
    let world = RelayWorld(seed: 76, server: { options, _ in options.acceptsRelay = { _ in false } })
    let peer = world.connectRelayed()
    let started = world.net.network.now
    world.net.wait(60_000) { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "RELAY_ABORTED", "the token was never paired")
    XCTAssertGreaterThan(world.net.network.now - started, 14_000_000)
    XCTAssertEqual(world.serverNode.statistics.relaying.refused, 1)
    XCTAssertEqual(world.serverNode.statistics.relaying.attempts, 0)
    XCTAssertEqual(peer.opened, 0)
    world.assertQuiet()
    world.destroy()
  }

  func testRelayThatNobodyKnows() {
    let world = RelayWorld(seed: 77)
    let peer = world.connect { $0.relayThrough = .keys([Bytes32(repeating: 9)]) }
    world.net.wait(60_000) { peer.isClosed }
    XCTAssertEqual(peer.closed, 1)
    XCTAssertTrue(["RELAY_ABORTED", "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS"].contains(peer.closeError?.code))
    XCTAssertEqual(world.serverNode.statistics.relaying.aborts, 1)
    world.assertQuiet()
    world.destroy()
  }

  func testRelayIsFull() {
    var bounds = BlindRelayServer.Bounds()
    bounds.pendingTokens = 0
    let world = RelayWorld(seed: 78, bounds: bounds)
    let peer = world.connectRelayed()
    world.net.wait(10_000, "at once: the relay says so") { peer.isClosed }
    XCTAssertEqual(peer.closed, 1)
    XCTAssertGreaterThanOrEqual(world.relay.statistics.pairingsRefused, 1)
    world.assertQuiet()
    world.destroy()
  }

  func testServerThatIsNoRelay() {
    let world = RelayWorld(seed: 79)
    let (other, _) = world.net.listen(on: world.net.makeNode(firewalled: false), echoes: false)
    other.onConnection = { stream in
      stream.onMessage = { [unowned stream] _ in stream.write([0, 1]) }
      stream.onEnd = { [unowned stream] in stream.end() }
    }
    let peer = world.connect { $0.relayThrough = .keys([other.publicKey ?? Bytes32()]) }
    world.net.wait(60_000) { peer.isClosed }
    XCTAssertEqual(peer.closed, 1)
    XCTAssertEqual(peer.opened, 0)
    XCTAssertTrue(["RELAY_ABORTED", "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS"].contains(peer.closeError?.code))
    world.assertQuiet()
    world.destroy()
  }

  func testNodesAreDestroyedMidWay() {
    for (index, delay) in stride(from: UInt64(0), through: 420, by: 20).enumerated() {
      for victim in 0..<3 {
        let world = RelayWorld(seed: UInt64(800 + index))
        let peer = world.connectRelayed()
        world.net.network.advance(by: delay)
        let node = [world.clientNode, world.serverNode, world.relayNode][victim]
        world.net.settle { done in node.destroy(force: true) { done(()) } }
        world.net.wait(180_000, "settles, victim \(victim) after \(delay) ms") { peer.isClosed }
        XCTAssertEqual(peer.closed, 1)
        world.net.network.advance(by: 60_000)
        XCTAssertEqual(world.clientNode.relays.pathCount, 0, "victim \(victim) after \(delay) ms")
        XCTAssertEqual(world.clientNode.relays.controlCount, 0)
        XCTAssertEqual(world.serverNode.relays.pathCount, 0, "victim \(victim) after \(delay) ms")
        XCTAssertEqual(world.serverNode.relays.controlCount, 0)
        XCTAssertEqual(world.relay.linkCount, 0)
        world.destroy()
      }
    }
  }

  func testSuspendEndsRelayedConnections() {
    let world = RelayWorld(seed: 81)
    let peer = world.connectRelayed()
    world.net.assertEcho(peer)
    world.net.settle { done in world.clientNode.suspend { done(()) } }
    world.net.wait { peer.isClosed }
    world.net.settle { done in world.clientNode.resume { _ in done(()) } }
    world.net.network.advance(by: 15_000)
    let second = world.connectRelayed()
    world.net.assertEcho(second)
    close(second, world)
    world.destroy()
  }

  // MARK: Bounds

  func testDHT_B4_relaysNamedByClientsAreCapped() {
    let world = RelayWorld(seed: 82)
    let peers = (0..<40).map { index in
      world.connect {
        $0.keyPair = KeyPair(seed: Bytes32(repeating: UInt8(100 + index)))
        $0.relayThrough = .keys([Bytes32(repeating: UInt8(1 + index))])
      }
    }
    var most = 0
    _ = world.net.network.run(within: 30_000) {
      most = max(most, world.serverNode.relays.pathCount)
      return peers.allSatisfy(\.isClosed)
    }
    XCTAssertLessThanOrEqual(most, Limits.Relay.unpairedClientRelays)
    XCTAssertGreaterThan(world.serverNode.statistics.relaying.attempts, 0)
    XCTAssertTrue(peers.allSatisfy { $0.closed == 1 })
    world.assertQuiet()
    XCTAssertTrue(world.serverNode.relays.hasRoom(for: .client))
    world.destroy()
  }

  func testOneControlConnectionForAllStreams() {
    let world = RelayWorld(seed: 83)
    let peers = (0..<10).map { index in
      world.connectRelayed { $0.keyPair = KeyPair(seed: Bytes32(repeating: UInt8(1 + index))) }
    }
    for peer in peers { world.net.assertEcho(peer) }
    XCTAssertEqual(world.relay.sessionCount, 2)
    XCTAssertEqual(world.relay.linkCount, 10)
    peers[0].stream.destroy()
    world.net.wait { world.relay.linkCount == 9 }
    for peer in peers.dropFirst() { world.net.assertEcho(peer, "still there") }
    for peer in peers.dropFirst() { peer.stream.end() }
    world.net.wait { peers.allSatisfy(\.isClosed) && world.accepted.peers.allSatisfy(\.isClosed) }
    world.assertQuiet()
    world.destroy()
  }
}
