import Foundation
import HyperDHT
import HyperNoise
import HyperProtomux
import HyperRuntime
import XCTest

/// Streams of a program's own over a blind relay: ours, and that of JavaScript where `NODE_PATH` has it.
final class BlindRelayClientTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet) -> HyperDHT.Options {
    HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
  }

  /// Two nodes, each with a session at the relay.
  private func clients(
    _ testnet: HyperDHT.Testnet, _ relay: Bytes32
  ) async throws -> ([HyperDHT], BlindRelayClient, BlindRelayClient) {
    let nodes = [try await HyperDHT(options(testnet)), try await HyperDHT(options(testnet))]
    return (
      nodes, try BlindRelayClient(try await nodes[0].connect(to: relay)),
      try BlindRelayClient(try await nodes[1].connect(to: relay))
    )
  }

  private func converse(
    _ a: BlindRelayClient, _ b: BlindRelayClient, _ token: Bytes32 = token
  ) async throws {
    async let first = a.pair(isInitiator: true, token: token)
    async let second = b.pair(isInitiator: false, token: token)
    let (x, y) = (
      try SecretStream(isInitiator: true, over: try await first),
      try SecretStream(isInitiator: false, over: try await second)
    )
    let payload = [UInt8](repeating: 5, count: 200_000)
    try await x.write(payload)
    let there = try await y.read()
    XCTAssertEqual(there, payload)
    try await y.write("back")
    let back = try await x.read()
    XCTAssertEqual(back, Array("back".utf8))
    XCTAssertEqual(x.handshakeHash, y.handshakeHash)
    x.end()
    y.end()
    let reason = try await x.waitUntilClosed()
    XCTAssertNil(reason)
  }

  func testTwoClientsMeetAtOurRelay() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let host = try await HyperDHT(options(testnet))
    let relay = try await host.serveRelay()
    let (nodes, a, b) = try await clients(testnet, relay.publicKey)
    try await converse(a, b)
    let statistics = await relay.statistics()
    XCTAssertEqual(statistics.pairingsMatched, 1)
    XCTAssertGreaterThan(statistics.bytesRelayed, 200_000)
    for node in nodes + [host] { await node.destroy() }
    await testnet.destroy()
  }

  /// A program that holds nothing but the stream keeps the session; what is paired ends with it.
  func testAStreamKeepsTheSession() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let host = try await HyperDHT(options(testnet))
    let relay = try await host.serveRelay()
    func streams() async throws -> ([HyperDHT], [HyperDHT.Connection], SecretStream, SecretStream) {
      let (nodes, a, b) = try await clients(testnet, relay.publicKey)
      async let first = a.pair(isInitiator: true, token: token)
      async let second = b.pair(isInitiator: false, token: token)
      return (
        nodes, [a.connection, b.connection], try SecretStream(isInitiator: true, over: try await first),
        try SecretStream(isInitiator: false, over: try await second)
      )
    }
    do {
      let (nodes, connections, x, y) = try await streams()
      // Whatever the end of the clients has said to the relay is there.
      for connection in connections { try await connection.flush() }
      try await x.write("there")
      let there = try await y.read()
      XCTAssertEqual(there, Array("there".utf8))
      x.destroy()
      y.destroy()
      for node in nodes { await node.destroy() }
    }
    await host.destroy()
    await testnet.destroy()
  }

  func testATokenCanBeTakenBack() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let host = try await HyperDHT(options(testnet))
    let relay = try await host.serveRelay()
    let (nodes, a, b) = try await clients(testnet, relay.publicKey)
    let waiting = Task { await failure { _ = try await a.pair(isInitiator: true, token: token) } }
    while await relay.statistics().pendingTokens == 0 { try await Task.sleep(for: .milliseconds(5)) }
    let second = await failure { _ = try await a.pair(isInitiator: true, token: token) }
    XCTAssertEqual(second, .alreadyPairing)
    a.unpair(token: token)
    let taken = await waiting.value
    XCTAssertEqual(taken, .unpaired)
    while await relay.statistics().pendingTokens > 0 { try await Task.sleep(for: .milliseconds(5)) }
    let alone = await failure {
      _ = try await a.pair(isInitiator: true, token: token, timeLimit: .milliseconds(50))
    }
    XCTAssertEqual(alone, .timedOut)
    let cancelled = Task { await failure { _ = try await a.pair(isInitiator: true, token: token) } }
    cancelled.cancel()
    let end = await cancelled.value
    XCTAssertEqual(end, .cancelled)
    // The session goes on. Before the relay has heard that the token was taken back, it would pair the other side.
    while await relay.statistics().pendingTokens > 0 { try await Task.sleep(for: .milliseconds(5)) }
    try await converse(a, b, HyperDHT.hash(Array("another token".utf8)))
    b.close()
    let late = await failure { _ = try await b.pair(isInitiator: true, token: token) }
    XCTAssertEqual(late, .channel(.closed))
    await relay.close()
    let gone = await failure { _ = try await a.pair(isInitiator: true, token: token) }
    XCTAssertNotNil(gone)
    for node in nodes + [host] { await node.destroy() }
    await testnet.destroy()
  }

  func testAPeerThatIsNoRelay() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let host = try await HyperDHT(options(testnet))
    let server = try await host.listen()
    let answering = Task {
      for await connection in server.connections {
        let mux = Protomux(connection)
        return try await mux.closed()
      }
      return nil
    }
    let node = try await HyperDHT(options(testnet))
    let client = try BlindRelayClient(try await node.connect(to: server.publicKey))
    let failed = await failure { _ = try await client.pair(isInitiator: true, token: token) }
    XCTAssertEqual(failed, .channel(.rejected))
    for each in [node, host] { await each.destroy() }
    _ = try await answering.value
    await testnet.destroy()
  }

  func testTwoClientsMeetAtARelayInJavaScript() async throws {
    guard let path = ProcessInfo.processInfo.environment["NODE_PATH"],
      FileManager.default.fileExists(atPath: path + "/blind-relay")
    else { throw XCTSkip("no JavaScript implementation: NODE_PATH does not have blind-relay") }
    let testnet = try await HyperDHT.Testnet(size: 4)
    let seed = String(repeating: "08", count: 32)
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Interop/relay.js").path
    let (process, pipe) = (Process(), Pipe())
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["node", script, "relay", try XCTUnwrap(testnet.bootstrap.first), seed]
    process.standardOutput = pipe
    try process.run()
    defer { process.terminate() }
    let ready = pipe.fileHandleForReading.availableData
    XCTAssertTrue(String(decoding: ready, as: UTF8.self).contains("ready"))
    let key = HyperDHT.keyPair(seed: try XCTUnwrap(Bytes32(hex: seed))).publicKey
    let (nodes, a, b) = try await clients(testnet, key)
    try await converse(a, b)
    for node in nodes { await node.destroy() }
    await testnet.destroy()
  }
}

/// Streams of a program's own on the path of a connection.
final class OwnStreamTests: XCTestCase {
  /// A secret stream with options of its own in the place of the connection's, without a second handshake.
  func testASecretStreamWithTheKeysOfAConnection() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let nodes = [try await HyperDHT(options), try await HyperDHT(options)]
    let server = try await nodes[1].listen()
    let dialled = try await nodes[0].connect(to: server.publicKey)
    let accepted = try await server.accept()
    let incoming = try XCTUnwrap(accepted)
    let connections = [dialled, incoming]
    let raw = [try await dialled.makeRawStream(), try await incoming.makeRawStream()]
    var streams: [SecretStream] = []
    for (index, connection) in connections.enumerated() {
      let keys = try await connection.derivedKeys(for: "files")
      // With a keep-alive the empty message that proves the key is not handed over.
      var settings = SecretStream.Options(keepAlive: .seconds(5))
      settings.keys = SecretStream.Keys(
        sendKey: keys.sendKey, receiveKey: keys.receiveKey, handshakeHash: keys.handshakeHash,
        publicKey: connection.publicKey, remotePublicKey: connection.remotePublicKey)
      let path = try await raw[index].connect(remoteID: raw[1 - index].id)
      streams.append(try SecretStream(isInitiator: index == 0, over: path, settings))
    }
    try await streams[0].write("there")
    let there = try await streams[1].read()
    XCTAssertEqual(there, Array("there".utf8))
    try await streams[1].write("back")
    let back = try await streams[0].read()
    XCTAssertEqual(back, Array("back".utf8))
    XCTAssertEqual(streams[0].handshakeHash, streams[1].handshakeHash)
    // Other keys for another context, and none of them is one of the connection's.
    let first = try await dialled.derivedKeys(for: "files")
    let other = try await dialled.derivedKeys(for: "music")
    let peer = try await incoming.derivedKeys(for: "files")
    XCTAssertEqual(first.sendKey, peer.receiveKey)
    XCTAssertEqual(first.receiveKey, peer.sendKey)
    XCTAssertEqual(first.handshakeHash, peer.handshakeHash)
    XCTAssertNotEqual(first.handshakeHash, dialled.handshakeHash)
    XCTAssertEqual(Set([first.sendKey, first.receiveKey, other.sendKey, other.receiveKey]).count, 4)
    dialled.destroy()
    _ = try await dialled.waitUntilClosed()
    do throws(ConnectionError) {
      _ = try await dialled.derivedKeys(for: "files")
      XCTFail("it is closed")
    } catch {
      XCTAssertEqual(error, .closed)
    }
    for node in nodes { await node.destroy() }
    await testnet.destroy()
  }
}

private let token = HyperDHT.hash(Array("token".utf8))

/// What `body` throws.
private func failure(_ body: @Sendable () async throws -> Void) async -> BlindRelayError? {
  do {
    try await body()
    return nil
  } catch {
    return error as? BlindRelayError
  }
}
