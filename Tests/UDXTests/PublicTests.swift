import HyperEnvironment
import HyperRuntime
import HyperUDX
import XCTest

/// What a user of the product can reach: loop-confined sockets and streams, and the async transport over them.
final class UDXPublicTests: XCTestCase {
  // MARK: Loop-confined

  func testLoopConfinedStreamsCarryBulkAndKeepTheirPromises() throws {
    let loop = try UVEventLoop()
    let instance = try UDXInstance(loop: loop)
    let socketA = UDXSocket(instance)
    let socketB = UDXSocket(instance)
    try socketA.bind(host: .loopback, port: 0)
    try socketB.bind(host: .loopback, port: 0)
    let addressA = try XCTUnwrap(socketA.localEndpoint)
    let addressB = try XCTUnwrap(socketB.localEndpoint)
    let a = UDXStream(instance, localID: 1)
    let b = UDXStream(instance, localID: 2)
    // Not yet connected: asked, and connects inside.
    var asked = 0
    b.setFirewall { socket, source in
      asked += 1
      XCTAssertTrue(socket === socketB)
      XCTAssertEqual(source, addressA)
      if !b.isConnected { try? b.connect(socket, remoteID: 1, to: source) }
      return true
    }
    try a.connect(socketA, remoteID: 2, to: addressB)
    XCTAssertThrowsError(try a.connect(socketA, remoteID: 2, to: addressB)) { error in
      XCTAssertEqual((error as? TransportError)?.code, -106)
    }
    XCTAssertThrowsError(try UDXStream(instance, localID: 1).connect(socketA, remoteID: 2, to: addressB))

    let total = 16 << 20
    let writer = BulkWriter(a, total: total, chunk: 50_000, seed: 11)
    var digest = StreamDigest()
    var messages: [[UInt8]] = []
    b.onData = { digest.update($0) }
    b.onMessage = { messages.append(Array($0)) }
    b.onEnd = { b.end() }
    // A stream without a reader does not see the peer's end.
    a.onEnd = {}
    var closed: [String] = []
    for (name, stream) in [("a", a), ("b", b)] {
      stream.onClose = { error in
        XCTAssertNil(error)
        closed.append(name)
        guard closed.count == 2 else { return }
        socketA.close()
        socketB.close()
        instance.close { loop.beginShutdown(nil) }
      }
    }
    a.sendMessage([1, 2, 3])
    writer.pump()
    loop.run()
    XCTAssertEqual(digest, writer.digest)
    XCTAssertEqual(digest.count, total)
    XCTAssertEqual(writer.acknowledged, total)
    XCTAssertEqual(messages, [[1, 2, 3]])
    XCTAssertEqual(asked, 1)
    XCTAssertTrue(instance.isClosed)
    XCTAssertTrue(socketA.isClosed && socketB.isClosed && a.isClosed && b.isClosed)
    XCTAssertGreaterThan(b.statistics.bytesReceived, UInt64(total))
  }

  // MARK: Async

  private func pair() async throws -> (UDXConnection, UDXConnection, [UDXTransport]) {
    let transports = [try await UDXTransport(), try await UDXTransport()]
    let portA = try await transports[0].bind(host: .loopback)
    let portB = try await transports[1].bind(host: .loopback)
    let a = try await portA.connect(localID: 1, remoteID: 2, to: portB.address)
    let b = try await portB.connect(localID: 2, remoteID: 1, to: portA.address)
    return (a, b, transports)
  }

  /// Writes until it is cancelled; counts what `write` has taken.
  private func flood(_ connection: UDXConnection, _ taken: Locked<Int>) -> Task<UDXConnectionError?, Never> {
    Task {
      let piece = [UInt8](repeating: 7, count: 64 << 10)
      do throws(UDXConnectionError) {
        while true {
          try await connection.write(piece)
          taken.withLock { $0 += piece.count }
        }
      } catch {
        return error
      }
    }
  }

  /// Until the window is closed and everything that fits is there: nothing in flight, and no progress in between, for
  /// so many turns of the loop that the writer's task has had a processor also on a busy machine.
  private func stalled(_ connection: UDXConnection, _ taken: Locked<Int>) async -> Int {
    var last = -1
    var quiet = 0
    while quiet < 1000 {
      let inFlight = await connection.statistics().bytesInFlight
      let now = taken.withLock { $0 }
      quiet = inFlight == 0 && now == last && now > 0 ? quiet + 1 : 0
      last = now
      await Task.yield()
    }
    return last
  }

  func testAReaderThatStopsHoldsTheWriterBack() async throws {
    let (a, b, transports) = try await pair()
    let first = Locked(0)
    let taken = Locked(0)
    let writer = flood(a, taken)
    let head = try await b.withNextBytes { $0.count }
    first.withLock { $0 = head ?? 0 }
    let held = await stalled(a, taken)
    // The receiver's window of 4 MiB, 1 MiB of the writer's queue, the stream's high-water mark of about 4.5 MiB.
    XCTAssertGreaterThan(held, 3 << 20)
    XCTAssertLessThan(held, 12 << 20)
    writer.cancel()
    let reason = await writer.value
    XCTAssertEqual(reason, .cancelled)
    // A cancelled writer's piece had not been taken.
    a.end()
    var received = first.withLock { $0 }
    for try await bytes in b.inbound { received += bytes.count }
    XCTAssertEqual(received, taken.withLock { $0 })
    b.end()
    let outcome = try await a.waitUntilClosed()
    XCTAssertNil(outcome)
    for transport in transports { await transport.close() }
  }

  func testBorrowedBytesAreNotCopied() async throws {
    let (a, b, transports) = try await pair()
    struct Seen {
      var digest = StreamDigest()
      var next: UInt = 0
      var pieces = 0
      var adjacent = 0
    }
    let seen = Locked(Seen())
    b.readBorrowed { bytes in
      let address = UInt(bitPattern: bytes.baseAddress)
      seen.withLock { seen in
        seen.digest.update(bytes)
        seen.pieces += 1
        // The kernel delivers packets side by side: each piece lies one header of 20 bytes behind the one before.
        if address == seen.next + 20 { seen.adjacent += 1 }
        seen.next = address + UInt(bytes.count)
      }
    }
    var expected = StreamDigest()
    var source = ByteSource(seed: 21)
    for _ in 0..<64 {
      let piece = source.nextArray(128 << 10)
      piece.withUnsafeBytes { expected.update($0) }
      try await a.write(piece)
    }
    try await a.flush()
    let result = seen.withLock { $0 }
    XCTAssertEqual(result.digest, expected)
    print("borrowed: \(result.pieces) pieces, \(result.adjacent) in place behind another")
    #if os(Linux)
      XCTAssertGreaterThan(result.adjacent, result.pieces / 2)
    #endif
    for transport in transports { await transport.close() }
  }

  func testNextBytesOneByOneMixedWithRead() async throws {
    let (a, b, transports) = try await pair()
    var expected = StreamDigest()
    let sent = Locked([[UInt8]]())
    var source = ByteSource(seed: 31)
    for _ in 0..<40 {
      let piece = source.nextArray(30_000)
      piece.withUnsafeBytes { expected.update($0) }
      sent.withLock { $0.append(piece) }
    }
    let writer = Task {
      for piece in sent.withLock({ $0 }) { try await a.write(piece) }
      a.end()
    }
    let digest = Locked(StreamDigest())
    var turn = 0
    while true {
      turn += 1
      if turn % 5 == 0 {
        guard let bytes = try await b.read() else { break }
        digest.withLock { digest in bytes.withUnsafeBytes { digest.update($0) } }
      } else {
        let count = try await b.withNextBytes { bytes in
          digest.withLock { $0.update(bytes) }
          return bytes.count
        }
        guard let count else { break }
        XCTAssertGreaterThan(count, 0)
      }
    }
    try await writer.value
    XCTAssertEqual(digest.withLock { $0 }, expected)
    let more = try await b.withNextBytes { $0.count }
    XCTAssertNil(more)
    for transport in transports { await transport.close() }
  }

  func testSpans() async throws {
    let (a, b, transports) = try await pair()
    try await a.write([1, 2, 3, 4])
    let sum = try await b.withNextSpan { span in
      (0..<span.byteCount).reduce(0) { $0 + Int(span.unsafeLoad(fromByteOffset: $1, as: UInt8.self)) }
    }
    XCTAssertEqual(sum, 10)
    for transport in transports { await transport.close() }
  }

  func testCancelledReadersSettleOnceAndLoseNothing() async throws {
    let (a, b, transports) = try await pair()
    var received = 0
    var cancelled = 0
    for round in 0..<200 {
      // One waits while nothing is there, and is cancelled before, during, or after the arrival.
      let reader = Task { () -> Result<Int?, UDXConnectionError> in
        do throws(UDXConnectionError) {
          if round % 2 == 0 { return .success(try await b.withNextBytes { $0.count }) }
          return .success(try await b.read()?.count)
        } catch {
          return .failure(error)
        }
      }
      if round % 4 < 2 { try await a.write([UInt8](repeating: 1, count: 10)) }
      if round % 3 == 0 { await Task.yield() }
      reader.cancel()
      switch await reader.value {
      case .success(let count): received += count ?? 0
      case .failure(let error):
        XCTAssertEqual(error, .cancelled)
        cancelled += 1
      }
    }
    a.end()
    for try await bytes in b.inbound { received += bytes.count }
    XCTAssertEqual(received, 1000)
    XCTAssertGreaterThan(cancelled, 0)
    for transport in transports { await transport.close() }
  }

  func testEverythingThatWaitsSettlesOnDestroyAndClose() async throws {
    let (a, b, transports) = try await pair()
    let reader = Task { () -> UDXConnectionError? in
      do throws(UDXConnectionError) {
        return try await b.withNextBytes { $0.count } == nil ? nil : .closed
      } catch {
        return error
      }
    }
    let message = Task { await b.nextMessage() }
    let closing = Task { try await b.waitUntilClosed() }
    // The peer's first packet tells that the stream is there.
    try await b.write([1])
    let first = try await a.read()
    XCTAssertEqual(first, [1])
    a.destroy()
    let (readerError, noMessage, reason) = (await reader.value, await message.value, try await closing.value)
    XCTAssertEqual(readerError, .reset)
    XCTAssertNil(noMessage)
    XCTAssertEqual(reason, .reset)
    do throws(UDXConnectionError) {
      try await b.write([1])
      XCTFail("is closed")
    } catch {
      XCTAssertEqual(error, .reset)
    }
    for transport in transports { await transport.close() }
    do throws(UDXConnectionError) {
      _ = try await b.withNextBytes { $0.count }
      XCTFail("is closed")
    } catch {
      XCTAssertTrue(error == .reset || error == .closed)
    }
  }

  func testTraceOfATransport() async throws {
    let (a, b, transports) = try await pair()
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("udx-\(getpid()).qlog").path
    defer { unlink(path) }
    try await transports[0].openTrace(path: path)
    do throws(UDXError) {
      try await transports[0].openTrace(path: path)
      XCTFail("is open already")
    } catch {
      XCTAssertEqual(error.code, -16)
    }
    try await a.write([UInt8](repeating: 1, count: 100_000))
    try await a.flush()
    a.end()
    b.end()
    while try await b.read() != nil {}
    let sent = await a.statistics().packetsSent
    for transport in transports { await transport.close() }
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let records = text.split(separator: "\u{1e}")
    var names: [String: Int] = [:]
    for record in records {
      let object = try JSONSerialization.jsonObject(with: Data(record.utf8)) as? [String: Any]
      names[object?["name"] as? String ?? "header", default: 0] += 1
    }
    XCTAssertEqual(names["header"], 1)
    XCTAssertEqual(names["udx:trace_closed"], 1)
    XCTAssertGreaterThanOrEqual(names["transport:packet_sent"] ?? 0, Int(sent))
    XCTAssertGreaterThan(names["recovery:metrics_updated"] ?? 0, 0)
  }
}
