import HyperDHT
import HyperEncoding
import HyperRuntime
import XCTest

/// Streams of a program's own among those of a node (hyperdht.md 14.4).
final class RawStreamTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet) -> HyperDHT.Options {
    HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
  }

  private func address(_ dht: HyperDHT, of socket: HyperDHT.NodeSocket = .server) async throws -> Endpoint {
    let address = await dht.localAddress(of: socket)
    return try XCTUnwrap(address)
  }

  private func assertTalk(_ a: UDXConnection, _ b: UDXConnection) async throws {
    try await a.write([1, 2, 3])
    let there = try await b.read()
    XCTAssertEqual(there, [1, 2, 3])
    try await b.write([4])
    let back = try await a.read()
    XCTAssertEqual(back, [4])
  }

  func testThroughTheSocketsOfTheNodes() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    for socket in HyperDHT.NodeSocket.allCases {
      let x = try await a.makeRawStream()
      let y = try await b.makeRawStream()
      let waiting = await a.rawStreams().first { $0.id == x.id }
      XCTAssertEqual(waiting?.isConnected, false)
      XCTAssertNil(waiting?.remote)
      let there = try await address(b, of: socket)
      let first = try await x.connect(remoteID: y.id, to: there, through: socket)
      let second = try await y.connect(remoteID: x.id, to: try await address(a, of: socket), through: socket)
      try await assertTalk(first, second)
      let listed = await a.rawStreams().first { $0.id == x.id }
      XCTAssertEqual(listed?.remote, there)
      XCTAssertEqual(listed?.isConnected, true)
      let again = await code { _ = try await x.connect(remoteID: y.id, to: there) }
      XCTAssertEqual(again, "CLOSED", "it has its peer")
      first.destroy()
      let reason = try await second.waitUntilClosed()
      XCTAssertEqual(reason, .reset)
    }
    let none = await code { _ = try await a.makeRawStream().connect(remoteID: 1) }
    XCTAssertEqual(none, "STREAM_NOT_CONNECTED", "beside no connection")
    let nowhere = await code {
      _ = try await a.makeRawStream().connect(remoteID: 1, to: Endpoint(host: .loopback, port: 0))
    }
    XCTAssertEqual(nowhere, "TRANSPORT_ERROR")
    for node in [a, b] { await node.destroy() }
    await testnet.destroy()
  }

  func testOptionsOfTheTransport() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    var settings = UDXStreamOptions()
    settings.firstSequence = 77
    settings.congestionControl = .cubic
    let x = try await a.makeRawStream(options: settings)
    settings.firstSequence = 0
    settings.firstExpected = 77
    let y = try await b.makeRawStream(options: settings)
    let first = try await x.connect(remoteID: y.id, to: try await address(b))
    let sequence = await first.withStream { $0.sequence }
    XCTAssertEqual(sequence, 77)
    let second = try await y.connect(remoteID: x.id, to: try await address(a, of: .current))
    try await assertTalk(first, second)
    for node in [a, b] { await node.destroy() }
    await testnet.destroy()
  }

  func testAPeerWhoseAddressIsNotKnown() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let x = try await a.makeRawStream()
    let y = try await b.makeRawStream()
    let stopped = Task { try await y.accept(remoteID: x.id) }
    stopped.cancel()
    let end = await code { _ = try await stopped.value }
    XCTAssertEqual(end, "CANCELLED")
    let asked = Locked(0)
    async let accepted = y.accept(remoteID: x.id) { source in
      asked.withLock { asked in
        asked += 1
        return asked > 1 && source.host == .loopback
      }
    }
    let first = try await x.connect(remoteID: y.id, to: try await address(b))
    async let written: Void = first.write([9])
    let second = try await accepted
    try await written
    let there = try await second.read()
    XCTAssertEqual(there, [9], "the packet that was refused came again")
    XCTAssertEqual(asked.withLock { $0 }, 2)
    try await assertTalk(first, second)
    let late = await code { _ = try await y.accept(remoteID: x.id) }
    XCTAssertEqual(late, "CLOSED")
    // Its node ends a call that waits.
    let z = try await b.makeRawStream()
    let waiting = Task { await code { _ = try await z.accept(remoteID: 1) } }
    await b.destroy()
    let gone = await waiting.value
    XCTAssertEqual(gone, "CLOSED")
    await a.destroy()
    await testnet.destroy()
  }

  func testBesideAConnection() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let server = try await b.listen()
    let dialled = try await a.connect(to: server.publicKey)
    let accepted = try await server.accept()
    let incoming = try XCTUnwrap(accepted)
    let x = try await a.makeRawStream()
    let y = try await incoming.makeRawStream()
    let other = await code { _ = try await b.makeRawStream().connect(remoteID: 1, beside: dialled) }
    XCTAssertEqual(other, "STREAM_NOT_CONNECTED", "a connection of another node")
    let first = try await x.connect(remoteID: y.id, beside: dialled)
    let second = try await y.connect(remoteID: x.id)
    try await assertTalk(first, second)
    dialled.destroy()
    _ = try await incoming.waitUntilClosed()
    let closed = await code { _ = try await incoming.makeRawStream() }
    XCTAssertEqual(closed, "CLOSED")
    try await assertTalk(second, first)
    for node in [a, b] { await node.destroy() }
    await testnet.destroy()
  }

  /// Neither waits for streams whose peers are there.
  func testStreamsGoWithTheirNode() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let server = try await b.listen()
    let dialled = try await a.connect(to: server.publicKey)
    let accepted = try await server.accept()
    let incoming = try XCTUnwrap(accepted)
    for round in 0..<2 {
      let beside = try await dialled.makeRawStream()
      let there = try await incoming.makeRawStream()
      let first = try await beside.connect(remoteID: there.id)
      let second = try await there.connect(remoteID: beside.id)
      try await assertTalk(first, second)
      let unused = try await a.makeRawStream()
      if round == 0 {
        // Letting go of one without a peer frees its id.
        do { _ = try await a.makeRawStream() }
        while await a.rawStreams().count > 3 { await Task.yield() }
        continue
      }
      try await a.suspend()
      let reason = try await first.waitUntilClosed()
      XCTAssertNil(reason)
      let suspended = await code { _ = try await a.makeRawStream() }
      XCTAssertEqual(suspended, "SUSPENDED")
      let dead = await code { _ = try await unused.connect(remoteID: 1, to: Endpoint(host: .loopback, port: 1)) }
      XCTAssertEqual(dead, "CLOSED")
      let left = await a.rawStreams()
      XCTAssertEqual(left, [])
    }
    try await a.resume()
    let fresh = try await a.makeRawStream()
    let place = try await address(b)
    let open = try await fresh.connect(remoteID: 1, to: place)
    await a.destroy()
    XCTAssertTrue(open.isClosed)
    let destroyed = await code { _ = try await a.makeRawStream() }
    XCTAssertEqual(destroyed, "NODE_DESTROYED")
    await b.destroy()
    await testnet.destroy()
  }

  /// Requests and answers may leave from either socket.
  func testRequestsThroughEitherSocket() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    try await b.onRequest(77) { $0.reply([1], through: $0.value == nil ? nil : .server) }
    let place = try await address(b)
    for socket in HyperDHT.NodeSocket.allCases {
      let own = [try await address(a, of: socket)]
      let reply = try await a.request(.init(77, value: [2]), to: place, through: socket)
      XCTAssertEqual(reply.value, [1])
      let pong = try await a.ping(place, timeToLive: 3, through: socket)
      // The node may find out meanwhile that it is not firewalled.
      if socket != .current { XCTAssertEqual([reply.to, pong.to], own + own) }
    }
    for node in [a, b] { await node.destroy() }
    await testnet.destroy()
  }
}

/// The code of what `body` throws.
private func code(_ body: () async throws -> Void) async -> String? {
  do {
    try await body()
    return nil
  } catch let error as ConnectionError {
    return error.code
  } catch {
    return (error as? DHTError)?.code ?? "\(error)"
  }
}
