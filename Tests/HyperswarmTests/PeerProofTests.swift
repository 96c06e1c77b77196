import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream
import XCTest

@testable import HyperDHT

/// How an application learns that its peer holds its key, and bounds what it sends.
final class PeerProofTests: XCTestCase {
  /// A server, and a client that behaves as deployed ones do: it proves nothing before its first message.
  private struct World {
    let testnet: HyperDHT.Testnet
    let server: HyperDHT
    let client: HyperDHT
    let listener: HyperDHT.Server

    init(adjust: (inout HyperDHT.Options) -> Void = { _ in }) async throws {
      testnet = try await HyperDHT.Testnet(size: 3)
      var options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
      client = try await HyperDHT(options)
      adjust(&options)
      server = try await HyperDHT(options)
      listener = try await server.listen()
    }

    func connect() async throws -> (client: LoopBound<EncryptedStream>, accepted: HyperDHT.Connection) {
      let node = client.node
      let key = listener.publicKey
      let stream = await onLoop(client.loop) {
        let stream = node.value.connect(to: key)
        stream.sendsConfirmation = false
        stream.keepAlive = 0
        return LoopBound(stream)
      }
      return (try XCTUnwrap(stream), try await first(listener.connections))
    }

    func destroy() async {
      await client.destroy()
      await server.destroy()
      await testnet.destroy()
    }
  }

  private func onClient(_ world: World, _ body: @escaping @Sendable () -> Void) async {
    _ = await onLoop(world.client.loop) { body() }
  }

  private func outcome(_ task: Task<Void, any Error>) async -> ConnectionError? {
    switch await task.result {
    case .success: nil
    case .failure(let error): error as? ConnectionError
    }
  }

  func testProofIsAStateAndAnEvent() async throws {
    let world = try await World()
    let (stream, accepted) = try await world.connect()
    XCTAssertFalse(accepted.isPeerProven)
    let waiting = (0..<3).map { _ in Task { try await accepted.waitUntilPeerProven() } }
    let cancelled = Task { try await accepted.waitUntilPeerProven() }
    // The connection is there without the proof: the server speaks first.
    let greeted = AsyncStream<[UInt8]>.makeStream()
    await onClient(world) { stream.value.onMessage = { greeted.continuation.yield(Array($0)) } }
    try await accepted.write("welcome")
    var greetings = greeted.stream.makeAsyncIterator()
    let greeting = await greetings.next()
    XCTAssertEqual(greeting, Array("welcome".utf8))
    XCTAssertFalse(accepted.isPeerProven)
    cancelled.cancel()
    let why = await outcome(cancelled)
    XCTAssertEqual(why, .cancelled)
    XCTAssertFalse(accepted.isClosed)

    await onClient(world) { stream.value.write([1]) }
    for task in waiting { try await task.value }
    XCTAssertTrue(accepted.isPeerProven)
    let message = try await accepted.read()
    XCTAssertEqual(message, [1])
    accepted.destroy()
    _ = try await accepted.waitUntilClosed()
    XCTAssertTrue(accepted.isPeerProven, "stays")
    try await accepted.waitUntilPeerProven()
    await world.destroy()
  }

  func testClosedBeforeTheProof() async throws {
    let world = try await World()
    for isOurs in [true, false] {
      let (stream, accepted) = try await world.connect()
      let waiting = Task { try await accepted.waitUntilPeerProven() }
      if isOurs {
        accepted.destroy()
      } else {
        await onClient(world) { stream.value.destroy() }
      }
      let why = await outcome(waiting)
      XCTAssertEqual(why, isOurs ? .closed : .reset)
      XCTAssertFalse(accepted.isPeerProven)
      do throws(ConnectionError) {
        try await accepted.waitUntilPeerProven()
        XCTFail("not proven")
      } catch {
        XCTAssertEqual(error, isOurs ? .closed : .reset)
      }
    }
    await world.destroy()
  }

  /// Both sides of two of our own peers know soon.
  func testOwnPeersProveThemselvesAtOnce() async throws {
    let world = try await World()
    let client = try await world.client.connect(to: world.listener.publicKey)
    let accepted = try await first(world.listener.connections)
    try await accepted.waitUntilPeerProven()
    XCTAssertTrue(accepted.isPeerProven)
    try await accepted.write("x")
    try await client.waitUntilPeerProven()
    XCTAssertTrue(client.isPeerProven)
    await world.destroy()
  }

  func testOwnBoundOfMessages() async throws {
    for isServer in [true, false] {
      let world = try await World { $0.maximumMessageSize = 1_000 }
      var ends: (writer: HyperDHT.Connection, reader: HyperDHT.Connection)
      if isServer {
        ends.writer = try await world.client.connect(to: world.listener.publicKey)
        ends.reader = try await first(world.listener.connections)
      } else {
        let listener = try await world.client.listen()
        ends.reader = try await world.server.connect(to: listener.publicKey)
        ends.writer = try await first(listener.connections)
      }
      try await ends.writer.write([UInt8](repeating: 7, count: 1_000))
      let message = try await ends.reader.read()
      XCTAssertEqual(message?.count, 1_000)
      try await ends.reader.write([UInt8](repeating: 7, count: 5_000))
      let other = try await ends.writer.read()
      XCTAssertEqual(other?.count, 5_000, "what this side writes is not bounded")
      try await ends.writer.write([UInt8](repeating: 7, count: 1_001))
      let reason = try await ends.reader.waitUntilClosed()
      XCTAssertEqual(reason?.code, "FRAME_TOO_LARGE")
      await world.destroy()
    }
  }
}
