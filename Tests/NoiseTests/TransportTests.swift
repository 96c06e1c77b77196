import HyperCrypto
import HyperNoise
import HyperRuntime
import HyperUDX
import XCTest

/// Secret streams over descriptors, UDX, and transports of a program's own.
final class TransportTests: XCTestCase {
  /// Bulk both ways, then regular ends.
  private func converse(_ a: SecretStream, _ b: SecretStream) async throws {
    let echo = Task {
      for try await message in b.inbound { try await b.write(message) }
      b.end()
    }
    let writing = Task {
      for index in 0..<100 { try await a.write([UInt8](repeating: UInt8(index), count: index * 1000)) }
      a.end()
    }
    var count = 0
    for try await message in a.inbound {
      XCTAssertEqual(message, [UInt8](repeating: UInt8(count), count: count * 1000))
      count += 1
    }
    XCTAssertEqual(count, 100)
    try await writing.value
    try await echo.value
    let reasons = [try await a.waitUntilClosed(), try await b.waitUntilClosed()]
    XCTAssertEqual(reasons, [nil, nil])
  }

  func testSockets() async throws {
    let (a, b) = try System.socketPair()
    try await converse(
      try SecretStream(isInitiator: true, reading: a), try SecretStream(isInitiator: false, reading: b))
    XCTAssertFalse(System.isOpen(a) || System.isOpen(b), "the descriptors are the stream's")
  }

  func testPipes() async throws {
    let (there, back) = (try System.pipe(), try System.pipe())
    try await converse(
      try SecretStream(isInitiator: true, reading: back.reading, writing: there.writing),
      try SecretStream(isInitiator: false, reading: there.reading, writing: back.writing))
    for descriptor in [there.reading, there.writing, back.reading, back.writing] {
      XCTAssertFalse(System.isOpen(descriptor))
    }
  }

  func testAPeerThatGoesIsAnError() async throws {
    for isPipe in [false, true] {
      let (there, back) = (try System.pipe(), try System.pipe())
      let (s, t) = try System.socketPair()
      let (a, b) =
        isPipe
        ? (
          try SecretStream(isInitiator: true, reading: back.reading, writing: there.writing),
          try SecretStream(isInitiator: false, reading: there.reading, writing: back.writing)
        ) : (try SecretStream(isInitiator: true, reading: s), try SecretStream(isInitiator: false, reading: t))
      try await a.opened()
      try await b.opened()
      b.destroy()
      _ = try await b.waitUntilClosed()
      // The reader sees an end, as over TCP; the writer an error, and no signal.
      let end = try? await a.read()
      XCTAssertNil(end ?? nil)
      let failed = await failure { () async throws(SecretStreamError) in
        while true { try await a.write([UInt8](repeating: 0, count: 10_000)) }
      }
      XCTAssertEqual(failed, .reset)
    }
  }

  /// libuv says of a descriptor with an error only that there is one: which one, and what has arrived before it, comes
  /// from the descriptor.
  func testAPeerThatAbortsIsAReset() async throws {
    // The peer goes with bytes that it has not read.
    let (socket, other) = try System.socketPair()
    let first = try SecretStream(isInitiator: true, reading: socket)
    try await eventually("the handshake begins") { System.holdsBytes(other) }
    System.close(other)
    let end = await failure { () async throws(SecretStreamError) in try await first.opened() }
    XCTAssertEqual(end, .reset)
    // The reader of a pipe goes that is full.
    let (there, back) = (try System.pipe(), try System.pipe())
    System.fill(there.writing)
    let second = try SecretStream(isInitiator: true, reading: back.reading, writing: there.writing)
    // By then the stream waits for room.
    _ = await second.keepAlive()
    System.close(there.reading)
    let broken = await failure { () async throws(SecretStreamError) in try await second.opened() }
    XCTAssertEqual(broken, .reset)
    System.close(back.writing)
  }

  /// The stream fails before it has begun.
  func testAKeyThatIsNone() async throws {
    for _ in 0..<50 {
      let loop = try UVEventLoop.startThread()
      let (a, b) = try System.socketPair()
      var options = SecretStream.Options(pattern: .ik)
      options.remotePublicKey = Bytes32(repeating: 0xff)
      options.loop = loop
      let stream = try SecretStream(isInitiator: true, reading: a, options)
      let failed = await failure { () async throws(SecretStreamError) in try await stream.opened() }
      XCTAssertEqual(failed?.code, "HANDSHAKE_FAILED")
      try await eventually("the descriptors are closed") { !System.isOpen(a) }
      System.close(b)
      await loop.shutdown()
    }
  }

  func testADescriptorThatIsNoStream() async throws {
    let stream = try SecretStream(isInitiator: true, reading: open("/dev/null", O_RDWR))
    let failed = await failure { () async throws(SecretStreamError) in try await stream.opened() }
    XCTAssertEqual(failed?.code, "TRANSPORT_ERROR")
    XCTAssertThrowsError(try SecretStream(isInitiator: true, reading: -1)) {
      XCTAssertEqual(($0 as? SecretStreamError)?.code, "TRANSPORT_ERROR")
    }
  }

  func testUDXWithDatagrams() async throws {
    let transport = try await UDXTransport()
    let (p, q) = (try await transport.bind(host: .loopback), try await transport.bind(host: .loopback))
    let first = try await p.connect(localID: 1, remoteID: 2, to: q.address)
    let second = try await q.connect(localID: 2, remoteID: 1, to: p.address)
    let a = try SecretStream(isInitiator: true, over: first)
    let b = try SecretStream(isInitiator: false, over: second)
    try await a.opened()
    try await b.opened()
    XCTAssertTrue(first.isClosed, "used up")
    // As after a close.
    first.destroy()
    second.destroy()
    let isSent = await a.sendDatagram([1, 2, 3])
    XCTAssertTrue(isSent)
    let datagram = await b.nextDatagram()
    XCTAssertEqual(datagram, [1, 2, 3])
    b.trySendDatagram([4])
    let answer = await a.nextDatagram()
    XCTAssertEqual(answer, [4])
    let statistics = await a.statistics()
    XCTAssertEqual(statistics.datagramsSent, 1)
    XCTAssertEqual(statistics.datagramsReceived, 1)
    try await converse(a, b)
    await transport.close()
  }

  /// The other side begins before this one has a stream.
  func testBytesThatCameBeforeTheStream() async throws {
    let transport = try await UDXTransport()
    let (p, q) = (try await transport.bind(host: .loopback), try await transport.bind(host: .loopback))
    let first = try await p.connect(localID: 1, remoteID: 2, to: q.address)
    let second = try await q.connect(localID: 2, remoteID: 1, to: p.address)
    let a = try SecretStream(isInitiator: true, over: first)
    try await a.write("early")
    while await second.statistics().bytesReceived == 0 { try await Task.sleep(for: .milliseconds(1)) }
    try await Task.sleep(for: .milliseconds(20))
    let b = try SecretStream(isInitiator: false, over: second)
    let early = try await b.read()
    XCTAssertEqual(text(early), "early")
    try await converse(a, b)
    await transport.close()
    // The same bytes, read by the program.
    let (c, d) = MemoryTransport.pair()
    let initiator = try SecretStream(isInitiator: true, over: c)
    var options = SecretStream.Options()
    let head = try await d.read()
    options.head = try XCTUnwrap(head)
    let responder = try SecretStream(isInitiator: false, over: d, options)
    try await responder.opened()
    try await initiator.opened()
    for stream in [initiator, responder] { stream.destroy() }
  }

  /// The connection has paused by then, because more has come than it holds for a reader that has not come yet.
  func testMoreBytesThanWaitForAStream() async throws {
    let transport = try await UDXTransport()
    let (p, q) = (try await transport.bind(host: .loopback), try await transport.bind(host: .loopback))
    let first = try await p.connect(localID: 1, remoteID: 2, to: q.address)
    let second = try await q.connect(localID: 2, remoteID: 1, to: p.address)
    let (x, y) = (KeyPair.random(), KeyPair.random())
    let keys = SecretStream.Keys(
      sendKey: Bytes32(repeating: 1), receiveKey: Bytes32(repeating: 2), handshakeHash: Bytes64(),
      publicKey: x.publicKey, remotePublicKey: y.publicKey)
    let swapped = SecretStream.Keys(
      sendKey: keys.receiveKey, receiveKey: keys.sendKey, handshakeHash: keys.handshakeHash,
      publicKey: y.publicKey, remotePublicKey: x.publicKey)
    var options = SecretStream.Options()
    options.keys = keys
    let a = try SecretStream(isInitiator: true, over: first, options)
    let message = [UInt8](repeating: 7, count: 1_000_000)
    try await a.write(message)
    try await eventually("the connection is full") { await second.statistics().bytesReceived > 500_000 }
    options.keys = swapped
    // The proof of the other side's key is an empty message.
    options.keepAlive = .seconds(5)
    let b = try SecretStream(isInitiator: false, over: second, options)
    let reading = Task { try await b.read() }
    let watch = Task {
      try await Task.sleep(for: .seconds(60))
      b.destroy()
    }
    let received = try? await reading.value
    XCTAssertEqual(received?.count, message.count)
    watch.cancel()
    for stream in [a, b] { stream.destroy() }
    await transport.close()
  }

  /// The last reference goes on the loop, before the loop comes to what another thread has asked for.
  func testADestroyIsNotOvertaken() async throws {
    let loop = try UVEventLoop.startThread()
    let (there, back) = MemoryTransport.pair()
    let holder = Locked<SecretStream?>(try SecretStream(isInitiator: true, over: there, .init(loop: loop)))
    let peer = try SecretStream(isInitiator: false, over: back)
    try await peer.opened()
    let (isHeld, mayGo) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    loop.post {
      isHeld.signal()
      mayGo.wait()
      holder.withLock { $0 = nil }
    }
    await Task.detached { isHeld.waitBlocking() }.value
    holder.withLock { $0?.destroy() }
    mayGo.signal()
    let end = await failure { () async throws(SecretStreamError) in _ = try await peer.read() }
    XCTAssertEqual(end, .reset)
    await loop.shutdown()
  }

  /// What an application does with a channel of swift-nio.
  private final class Broken: SecretStreamTransport {
    struct Failure: Error, CustomStringConvertible {
      let description = "the line is cut"
    }
    let isDestroyed = Locked(0)

    func read() async throws -> [UInt8]? {
      try await Task.sleep(for: .milliseconds(10))
      throw Failure()
    }
    func write(_ bytes: [UInt8]) async throws {}
    func end() async throws {}
    func destroy() { isDestroyed.withLock { $0 += 1 } }
  }

  func testAnErrorOfTheTransportIsTheStreams() async throws {
    let transport = Broken()
    let stream = try SecretStream(isInitiator: true, over: transport)
    let failed = await failure { () async throws(SecretStreamError) in try await stream.opened() }
    XCTAssertEqual(failed, .transport("the line is cut"))
    XCTAssertEqual(failed?.description, "TRANSPORT_ERROR: the line is cut")
    XCTAssertEqual(transport.isDestroyed.withLock { $0 }, 1)
    let noDatagram = await stream.sendDatagram([1])
    XCTAssertFalse(noDatagram)
  }

  func testForeignBytesFailTheHandshake() async throws {
    let (a, stranger) = MemoryTransport.pair()
    let stream = try SecretStream(isInitiator: false, over: a)
    try await stranger.write(Array("GET / HTTP/1.1\r\n\r\n".utf8))
    let failed = await failure { () async throws(SecretStreamError) in try await stream.opened() }
    XCTAssertEqual(failed?.code, "HANDSHAKE_FAILED")
    // An end before the handshake is done.
    let (b, other) = MemoryTransport.pair()
    let second = try SecretStream(isInitiator: false, over: b)
    other.end()
    let early = await failure { () async throws(SecretStreamError) in try await second.opened() }
    XCTAssertEqual(early, .endedDuringHandshake)
  }
}
