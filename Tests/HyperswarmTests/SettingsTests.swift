import HyperDHT
import HyperRuntime
import HyperswarmEngine
import XCTest

@testable import Hyperswarm

/// Limits, firewall and relays of a running swarm, and how options reach the engine.
final class SettingsTests: XCTestCase {
  /// What says "never" is a long time, and no number that the loop cannot count to.
  func testTheLongestTimes() async throws {
    let never = Duration.seconds(Int64.max)
    let testnet = try await HyperDHT.Testnet(size: 2)
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
    options.dhtOptions.host = .loopback
    options.dhtOptions.connectionKeepAlive = never
    options.retryTimes = .init(short: never, medium: never, long: never, longest: never)
    options.retryJitter = never
    options.handshakeMemory = never
    let swarm = try await Hyperswarm(options)
    let peer = try await Hyperswarm(options)
    try await peer.listen()
    swarm.joinPeer(HyperDHT.keyPair().publicKey)
    var connecting = HyperDHT.ConnectOptions()
    connecting.deadline = never
    connecting.relayKeepAlive = never
    let connection = try await swarm.dht.connect(to: peer.keyPair.publicKey, options: connecting)
    connection.setKeepAlive(never)
    connection.setTimeout(never)
    let accepted = try await peer.accept()
    try await connection.write("hello")
    let message = try await accepted?.read()
    XCTAssertEqual(message, Array("hello".utf8))
    let isFlushed = try await swarm.flush(within: never)
    XCTAssertTrue(isFlushed)
    for swarm in [swarm, peer] { await swarm.destroy() }
    await testnet.destroy()
  }

  private func options(_ testnet: HyperDHT.Testnet) -> Hyperswarm.Options {
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
    options.dhtOptions.host = .loopback
    return options
  }

  func testALimitThatIsLiftedLetsDialsBegin() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let server = try await Hyperswarm(options(testnet))
    var closed = options(testnet)
    closed.maxPeers = 0
    let client = try await Hyperswarm(closed)
    let topic = Bytes32.hash(of: "limits")
    try await server.join(topic, client: false).flushed()
    try await client.join(topic, server: false).flushed()
    XCTAssertEqual(client.maxPeers, 0)
    while client.peers[server.keyPair.publicKey]?.isQueued != true { try await Task.sleep(for: .milliseconds(2)) }
    XCTAssertTrue(client.openConnections.isEmpty)
    XCTAssertEqual(client.connecting, 0)
    client.maxPeers = 8
    client.maxParallel = 2
    var connections = client.connections.makeAsyncIterator()
    let connection = await connections.next()
    XCTAssertEqual(connection?.remotePublicKey, server.keyPair.publicKey)
    XCTAssertEqual([client.maxPeers, client.maxParallel], [8, 2])
    client.maxClientConnections = 5
    client.maxServerConnections = 6
    client.maxConnections = 7
    let engine = client.engine
    let values = await onLoop(client.loop) {
      [engine.value.maxClientConnections, engine.value.maxServerConnections, engine.value.maxConnections]
    }
    XCTAssertEqual(values, [5, 6, 7])
    await client.destroy()
    await server.destroy()
    await testnet.destroy()
  }

  func testAFirewallThatIsReplaced() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let server = try await Hyperswarm(options(testnet))
    var hasty = options(testnet)
    let pause = Duration.milliseconds(100)
    hasty.retryTimes = .init(short: pause, medium: pause, long: pause, longest: pause)
    let client = try await Hyperswarm(hasty)
    server.setFirewall { _ in .ban }
    try await server.listen()
    let banned = server.events()
    client.joinPeer(server.keyPair.publicKey)
    for await event in banned {
      guard case .banned(let key, _) = event else { continue }
      XCTAssertEqual(key, client.keyPair.publicKey)
      break
    }
    XCTAssertEqual(server.peers[client.keyPair.publicKey]?.isBanned, true)
    XCTAssertTrue(server.openConnections.isEmpty)
    server.setFirewall(nil)
    server.ban(client.keyPair.publicKey, false)
    var connections = server.connections.makeAsyncIterator()
    let connection = await connections.next()
    XCTAssertEqual(connection?.remotePublicKey, client.keyPair.publicKey)
    await client.destroy()
    await server.destroy()
    await testnet.destroy()
  }

  func testOptionsReachTheEngine() async throws {
    let loop = try UVEventLoop.startThread()
    let keys = [Bytes32.hash(of: "relay")]
    var options = Hyperswarm.Options()
    options.relays = keys
    options.retryTimes = .init(
      short: .milliseconds(1), medium: .microseconds(1500), long: .seconds(3), longest: .seconds(4))
    options.retryJitter = .zero
    options.handshakeMemory = .seconds(2)
    let made = SwarmOptions(options, keyPair: .random(), loop: loop)
    XCTAssertEqual(made.backoffs, [1, 2, 3000, 4000])
    XCTAssertEqual(made.jitter, 0)
    XCTAssertEqual(made.handshakeClearWait, 2000)
    guard case .keys(keys) = made.relayThrough else { return XCTFail("the keys") }
    XCTAssertEqual(options.relays, keys)
    options.relayThrough = .choose { $0 ? keys : [] }
    guard case .choose(let choose) = SwarmOptions(options, keyPair: .random(), loop: loop).relayThrough else {
      return XCTFail("the choice")
    }
    XCTAssertEqual([choose(true), choose(false)], [keys, []])
    XCTAssertEqual(options.relays, [])
    await loop.shutdown()
  }
}
