import HyperEncoding
import HyperRuntime
import XCTest

@testable import HyperDHT
@testable import HyperDHTEngine

/// What a node says about the network, and options that only change how something is done.
final class NetworkKnowledgeTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet) -> HyperDHT.Options {
    HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
  }

  func testNodesStatisticsAndMetrics() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let dht = try await HyperDHT(options(testnet))
    try await dht.bootstrapped()
    let nodes = await dht.nodes()
    let count = await dht.nodeCount()
    XCTAssertEqual(nodes.count, count)
    let status = await dht.status()
    XCTAssertNil(status.id, "no permanent node")
    XCTAssertGreaterThan(count, 0)
    let one = await dht.nodes(limit: 1)
    XCTAssertEqual(one, Array(nodes.prefix(1)))
    let none = await dht.nodes(limit: 0)
    XCTAssertEqual(none, [])
    let target = Bytes32.hash(of: "near")
    let closest = await dht.closestNodes(to: target)
    XCTAssertEqual(Set(closest.map(\.endpoint)), Set(nodes))
    let asked = try await dht.findNode(target)
    XCTAssertEqual(asked.first, closest.first)

    let times = try await dht.roundTripStatistics()
    XCTAssertGreaterThan(times.successes, 0)
    XCTAssertLessThan(times.roundTripTime, .seconds(1))
    XCTAssertGreaterThan(times.closerNodes, 0)
    let pong = try await dht.ping(nodes[0], size: 900)
    XCTAssertEqual(pong.from.endpoint, nodes[0])
    let late = try await dht.delayedPing(nodes[0], delay: .milliseconds(30))
    XCTAssertGreaterThanOrEqual(late.roundTripTime, .milliseconds(29))
    do throws(DHTError) {
      _ = try await dht.delayedPing(nodes[0], delay: .seconds(11))
      XCTFail("above the limit")
    } catch {
      XCTAssertEqual(error.code, "ERROR")
    }
    dht.refresh()
    let statistics = await dht.statistics()
    XCTAssertGreaterThan(statistics.responses, 0)
    XCTAssertGreaterThan(statistics.findNode.sent, 0)
    XCTAssertGreaterThan(statistics.ping.answered, 0)
    XCTAssertEqual(statistics.delayedPing.sent, 1)
    XCTAssertTrue(statistics.isCold)
    let metrics = await dht.metrics()
    XCTAssertTrue(metrics.contains("# TYPE dht_total_queries gauge\ndht_total_queries "))
    XCTAssertTrue(metrics.contains("dht_nr_nodes \(count)\n"))

    // The nodes are the way in for another start.
    var again = HyperDHT.Options(bootstrap: [], port: 0, host: .loopback)
    again.nodes = nodes
    let other = try await HyperDHT(again)
    try await other.bootstrapped()
    let found = try await other.findNode(target)
    XCTAssertEqual(Set(found), Set(asked))
    await other.destroy()
    await dht.destroy()
    let metricsOfNone = await dht.metrics()
    XCTAssertEqual(metricsOfNone, "")
    await testnet.destroy()
  }

  func testLocalAddressesAreTested() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let dht = try await HyperDHT(options(testnet))
    let good = Endpoint(host: .loopback, port: 5)
    // Of a range for documentation: no machine has it.
    let bad = Endpoint(host: IPv4Address(192, 0, 2, 1), port: 6)
    let valid = try await dht.validateLocalAddresses([bad, good])
    XCTAssertEqual(valid, [good])
    await dht.destroy()
    await testnet.destroy()
  }

  func testRecordsBumpAndFirstValue() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let dht = try await HyperDHT(options(testnet))
    let keys = HyperDHT.keyPair()
    let topic = Bytes32.hash(of: "bump")
    try await dht.announce(topic, keyPair: keys, bump: .milliseconds(1_700_000_000_001))
    // Too far ahead of the time for nodes to take it.
    try await dht.announce(topic, keyPair: keys, bump: .seconds(Int64.max) * 10)
    var bump = Duration.zero
    for try await reply in dht.lookup(topic) { bump = max(bump, reply.bump) }
    XCTAssertEqual(bump, .milliseconds(1_700_000_000_001))
    var named = 0
    for try await reply in dht.lookupAndUnannounce(topic, keyPair: keys) { named += reply.peers.count }
    XCTAssertGreaterThan(named, 0)
    for try await reply in dht.lookup(topic) { XCTAssertEqual(reply.peers, []) }
    // One node alone is asked.
    let nodes = await dht.nodes()
    let one = HyperDHT.StartingPoints(nodes: [nodes[0]], onlyNodes: true)
    let put = try await dht.immutablePut([7], from: one)
    XCTAssertEqual(put.closestNodes, [nodes[0]])
    let got = try await dht.immutableGet(put.key, from: one)
    XCTAssertEqual(got?.from.endpoint, nodes[0])
    let holders = try await dht.announce(topic, keyPair: keys, from: one)
    XCTAssertEqual(holders, [nodes[0]])
    var answers = 0
    for try await reply in dht.lookup(topic, from: one) {
      answers += 1
      XCTAssertEqual(reply.peers.map(\.publicKey), [keys.publicKey])
    }
    XCTAssertEqual(answers, 1)
    try await dht.unannounce(topic, keyPair: keys, from: one)
    for try await reply in dht.findPeer(keys.publicKey, from: one) { XCTFail("\(reply)") }
    let other = HyperDHT.StartingPoints(nodes: nodes)
    let all = try await dht.mutablePut([0], keyPair: HyperDHT.keyPair(), from: other)
    XCTAssertEqual(Set(all.closestNodes), Set(nodes))

    _ = try await dht.mutablePut([1], keyPair: keys, sequence: 3)
    let first = try await dht.mutableGet(keys.publicKey, latest: false)
    XCTAssertEqual(first?.value, [1])
    let renewed = try await dht.mutableGet(keys.publicKey, sequence: 3, refresh: true)
    XCTAssertEqual(renewed?.sequence, 3)
    await dht.destroy()
    await testnet.destroy()
  }

  func testOptionsReachTheEngine() async throws {
    let loop = try UVEventLoop.startThread()
    var connect = HyperDHT.ConnectOptions()
    XCTAssertNil(HyperDHTEngine.ConnectOptions(connect).holepunch)
    let asked = Locked<HyperDHT.Holepunch?>(nil)
    connect.holepunch = { attempt in
      asked.withLock { $0 = attempt }
      return attempt.remoteNAT != .random
    }
    connect.fastOpen = false
    connect.usesServerRelay = false
    connect.relayKeepAlive = .milliseconds(1500)
    connect.reusableSocket = true
    let made = HyperDHTEngine.ConnectOptions(connect)
    XCTAssertTrue(made.reusableSocket)
    XCTAssertFalse(HyperDHTEngine.ConnectOptions(HyperDHT.ConnectOptions()).reusableSocket)
    XCTAssertFalse(made.fastOpen)
    XCTAssertFalse(made.followsServerRelay)
    XCTAssertEqual(made.relayKeepAlive, 1500)
    let place = Endpoint(host: .loopback, port: 1)
    XCTAssertEqual(made.holepunch?(2, 1, [place], []), true)
    XCTAssertEqual(
      asked.withLock { $0 },
      .init(remoteNAT: .consistent, localNAT: .open, remoteAddresses: [place], localAddresses: []))
    XCTAssertEqual(made.holepunch?(9, 0, [], []), false)
    connect.allowsHolepunching = false
    XCTAssertEqual(HyperDHTEngine.ConnectOptions(connect).holepunch?(1, 1, [], []), false)
    await loop.shutdown()
  }

  /// The firewall of a server sees what the peer says of itself.
  func testAServerSeesItsPeer() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let relay = Bytes32.hash(of: "no such relay")
    var serving = HyperDHT.ServerOptions()
    let peers = Locked<[HyperDHT.IncomingPeer]>([])
    serving.firewall = { peer in
      peers.withLock { $0.append(peer) }
      return true
    }
    serving.acceptsRelay = { _ in false }
    serving.handshakeMemory = .seconds(5)
    let server = try await a.listen(options: serving)
    XCTAssertEqual(server.target, HyperDHT.hash(server.publicKey.bytes))
    let address = await server.address()
    XCTAssertEqual(address?.publicKey, server.publicKey)
    var connecting = HyperDHT.ConnectOptions()
    connecting.relayThrough = .key(relay)
    let connection = try await b.connect(to: server.publicKey, options: connecting)
    let accepted = try await server.accept()
    XCTAssertEqual(accepted?.remotePublicKey, b.defaultKeyPair.publicKey)
    let peer = try XCTUnwrap(peers.withLock { $0.first })
    XCTAssertEqual(peer.publicKey, b.defaultKeyPair.publicKey)
    XCTAssertEqual(peer.relayThrough, relay)
    await server.suspend()
    server.resume()
    connection.destroy()
    await server.close()
    await b.destroy()
    await a.destroy()
    await testnet.destroy()
  }
}
