import HyperDHT
import HyperDHTEngine
import HyperRuntime
import XCTest

@testable import Hyperswarm

/// What a swarm shows of its connections, peers and topics while it runs.
final class LiveSwarmTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet) -> Hyperswarm.Options {
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
    options.dhtOptions.host = .loopback
    return options
  }

  private func first<S: AsyncSequence & Sendable>(
    _ sequence: S, where isWanted: @Sendable (S.Element) -> Bool = { _ in true }
  ) async throws -> S.Element where S.Element: Sendable {
    for try await element in sequence where isWanted(element) { return element }
    throw XCTSkip("the sequence has ended")
  }

  private func eventually(
    _ what: String, _ condition: () async -> Bool, line: UInt = #line
  ) async throws {
    let end = ContinuousClock.now + .seconds(20)
    while await !condition() {
      guard .now < end else { return XCTFail("not within 20 s: \(what)", line: line) }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  func testOpenConnectionsAreCountedFoundAndGone() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let server = try await Hyperswarm(options(testnet))
    let clients = [try await Hyperswarm(options(testnet)), try await Hyperswarm(options(testnet))]
    XCTAssertEqual(server.openConnections.count, 0)
    XCTAssertTrue(server.openConnections.isEmpty)
    let topic = Bytes32.hash(of: "open connections")
    try await server.join(topic, client: false).flushed()
    for client in clients { try await client.join(topic, server: false) }

    var accepted: [HyperDHT.Connection] = []
    for await connection in server.connections {
      accepted.append(connection)
      XCTAssertTrue(server.openConnections.contains { $0 === connection }, "in the set before it is handed out")
      if accepted.count == 2 { break }
    }
    XCTAssertEqual(server.openConnections.count, 2)
    XCTAssertEqual(Array(server.openConnections).map(\.remotePublicKey), accepted.map(\.remotePublicKey))
    for connection in accepted {
      XCTAssertTrue(server.openConnections[connection.remotePublicKey] === connection)
      XCTAssertTrue(server.peers[connection.remotePublicKey] === connection.peer)
    }
    XCTAssertNil(server.openConnections[server.keyPair.publicKey])

    // A broadcast.
    for connection in server.openConnections { try await connection.write("to all") }
    for client in clients {
      let connection = try await first(client.connections)
      let message = try await connection.read()
      XCTAssertEqual(message.map { String(decoding: $0, as: UTF8.self) }, "to all")
      XCTAssertEqual(client.openConnections.count, 1)
    }

    accepted[0].destroy()
    _ = try await accepted[0].waitUntilClosed()
    XCTAssertFalse(server.openConnections.contains { $0 === accepted[0] }, "gone when it has closed")
    // The set does not keep a connection that the program has let go of.
    let lost = accepted[1].remotePublicKey
    accepted = []
    XCTAssertNil(server.openConnections[lost])
    await server.destroy()
    XCTAssertEqual(server.openConnections.count, 0)
    XCTAssertEqual(server.peers.count, 0)
    XCTAssertTrue(server.isDestroyed)
    for client in clients { await client.destroy() }
    await testnet.destroy()
  }

  func testPeersAreLive() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let server = try await Hyperswarm(options(testnet))
    let client = try await Hyperswarm(options(testnet))
    let events = client.events()
    let topics = ["first", "second"].map { Bytes32.hash(of: "live peers, \($0)") }
    for topic in topics { try await server.join(topic, client: false).flushed() }
    try await client.join(topics[0], server: false)
    let connection = try await first(client.connections)
    let peer = try XCTUnwrap(connection.peer)
    XCTAssertTrue(client.peers[server.keyPair.publicKey] === peer)
    XCTAssertEqual(client.peers.count, 1)
    XCTAssertEqual(client.peers.map(\.publicKey), [server.keyPair.publicKey])
    XCTAssertEqual(peer.topics, [topics[0]])
    XCTAssertTrue(peer.isClient && peer.isProven && peer.isPrioritized && peer.isReconnecting)
    XCTAssertFalse(peer.isServer || peer.isBanned || peer.isExplicit || peer.isQueued || peer.isWaiting)
    XCTAssertFalse(peer.relayAddresses.isEmpty)
    XCTAssertTrue(peer.description.contains(server.keyPair.publicKey.hex))

    // The topics grow while the connection stands.
    try await client.join(topics[1], server: false)
    let seen = try await first(events) { if case .topic = $0 { true } else { false } }
    XCTAssertEqual(seen, .topic(publicKey: server.keyPair.publicKey, topic: topics[1]))
    XCTAssertEqual(peer.topics, topics)

    client.joinPeer(server.keyPair.publicKey)
    try await eventually("explicit") { peer.isExplicit }
    XCTAssertEqual(client.explicitPeers.map(\.publicKey), [server.keyPair.publicKey])
    client.leavePeer(server.keyPair.publicKey)
    peer.ban()
    let banned = await peer.status()
    XCTAssertEqual(banned?.isBanned, true)
    XCTAssertTrue(peer.isBanned)
    XCTAssertFalse(peer.isExplicit)
    client.ban(server.keyPair.publicKey, false)
    peer.reconnect(false)
    let open = await peer.status()
    XCTAssertEqual(open, peer.snapshot)
    XCTAssertFalse(peer.isBanned || peer.isReconnecting)

    // Nothing is planned for a peer that is not to be dialled again: the swarm forgets it.
    connection.destroy()
    try await eventually("forgotten") { client.peers.isEmpty }
    XCTAssertEqual(client.connecting, 0)
    XCTAssertEqual(peer.attempts, 1)
    await client.destroy()
    await server.destroy()
    await testnet.destroy()
  }

  func testStatusOfATopic() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let swarm = try await Hyperswarm(options(testnet))
    let topic = Bytes32.padded("status")
    let none = await swarm.status(of: topic)
    XCTAssertNil(none)
    let announcing = try await swarm.join(topic, client: false)
    let looking = try await swarm.join(topic, server: false, limit: 7)
    let found = await swarm.status(of: topic)
    let status = try XCTUnwrap(found)
    XCTAssertTrue(status.isServer && status.isClient)
    XCTAssertEqual(status.limit, 7)
    XCTAssertEqual(status.interests, 2)
    XCTAssertEqual(status.topic, topic)
    let isFlushed = try await status.flushed(within: .seconds(20))
    XCTAssertTrue(isFlushed)
    let isRefreshed = try await status.refresh()
    XCTAssertTrue(isRefreshed)
    let announced = await swarm.status(of: topic)
    XCTAssertEqual(announced?.isAnnounced, true)
    let roles = await looking.roles()
    XCTAssertEqual(roles, .init(isServer: false, isClient: true, limit: 7, isDestroyed: false))
    let isListening = await swarm.isListening
    XCTAssertTrue(isListening)

    await announcing.destroy()
    let rest = await swarm.status(of: topic)
    XCTAssertEqual(rest?.interests, 1)
    XCTAssertEqual(rest?.isServer, false)
    try await swarm.leave(topic)
    let left = await swarm.status(of: topic)
    XCTAssertNil(left)
    let ended = await looking.roles()
    XCTAssertEqual(ended?.isDestroyed, true)
    do throws(HyperswarmError) {
      try await status.flushed()
      XCTFail("the topic was left")
    } catch {
      XCTAssertEqual(error, .sessionDestroyed)
    }
    try await swarm.suspend()
    let isSuspended = await swarm.isSuspended
    XCTAssertTrue(isSuspended)
    await swarm.destroy()
    let gone = await swarm.status(of: topic)
    XCTAssertNil(gone)
    await testnet.destroy()
  }

  func testFlushedWithinALimitSettlesOnce() async throws {
    var options = Hyperswarm.Options(bootstrap: ["127.0.0.1:9"])
    options.dhtOptions.host = .loopback
    let swarm = try await Hyperswarm(options)
    let discovery = try await swarm.join(.hash(of: "silence"))
    do throws(HyperswarmError) {
      try await discovery.flushed(within: .milliseconds(50))
      XCTFail("no node answers")
    } catch {
      XCTAssertEqual(error, .timedOut)
    }
    do throws(HyperswarmError) {
      try await swarm.flush(within: .milliseconds(20))
      XCTFail("no node answers")
    } catch {
      XCTAssertEqual(error, .timedOut)
    }
    let waiting = Task { () -> HyperswarmError? in
      do throws(HyperswarmError) {
        try await discovery.flushed(within: .seconds(60))
        return nil
      } catch {
        return error
      }
    }
    waiting.cancel()
    let error = await waiting.value
    XCTAssertEqual(error, .cancelled)
    await swarm.destroy(force: true)
  }
}
