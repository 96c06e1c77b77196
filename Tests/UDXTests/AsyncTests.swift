import HyperRuntime
import XCTest

@testable import HyperUDX

/// The public interface of the transport, over loopback.
final class UDXAsyncTests: XCTestCase {
  private func pair() async throws -> (UDXConnection, UDXConnection, [UDXTransport]) {
    let transports = [try await UDXTransport(), try await UDXTransport()]
    let portA = try await transports[0].bind(host: .loopback)
    let portB = try await transports[1].bind(host: .loopback)
    let a = try await portA.connect(localID: 1, remoteID: 2, to: portB.address)
    let b = try await portB.connect(localID: 2, remoteID: 1, to: portA.address)
    return (a, b, transports)
  }

  private func pieces(_ count: Int) -> [[UInt8]] {
    var source = ByteSource(seed: 5)
    return (0..<count).map { _ in source.nextArray(70_001) }
  }

  func testBytesBothWaysThroughSequences() async throws {
    let (a, b, transports) = try await pair()
    let sent = pieces(100)
    let expected = sent.flatMap { $0 }
    let writer = Task {
      for piece in sent { try await a.write(piece) }
      try await a.flush()
      a.end()
    }
    let echo = Task {
      for try await bytes in b.inbound { try await b.write(bytes) }
      b.end()
    }
    var received: [UInt8] = []
    for try await bytes in a.inbound { received += bytes }
    try await writer.value
    try await echo.value
    XCTAssertEqual(received.count, expected.count)
    XCTAssertTrue(received == expected)
    let reason = try await a.waitUntilClosed()
    XCTAssertNil(reason)
    for transport in transports { await transport.close() }
  }

  func testBorrowedReading() async throws {
    let (a, b, transports) = try await pair()
    let sent = pieces(20)
    let digest = Locked(StreamDigest())
    try await a.write(sent[0])
    try await a.flush()
    b.readBorrowed { bytes in digest.withLock { $0.update(bytes) } }
    for piece in sent.dropFirst() { try await a.write(piece) }
    try await a.flush()
    var expected = StreamDigest()
    for piece in sent { piece.withUnsafeBytes { expected.update($0) } }
    // Acknowledged means received; the reader ran before the acknowledgement left.
    XCTAssertEqual(digest.withLock { $0 }, expected)
    for transport in transports { await transport.close() }
  }

  func testMessagesDatagramsResetAndErrors() async throws {
    let (a, b, transports) = try await pair()
    a.sendMessage([1, 2, 3])
    let message = await b.nextMessage()
    XCTAssertEqual(message, [1, 2, 3])
    let port = try await transports[0].bind(host: .loopback)
    let other = try await transports[1].bind(host: .loopback)
    port.send([9, 9], to: other.address)
    let datagram = await other.nextDatagram()
    XCTAssertEqual(datagram, UDXPort.Datagram(bytes: [9, 9], source: port.address))
    do throws(UDXError) {
      _ = try await transports[0].bind(host: .loopback, port: port.address.port)
      XCTFail("the port is taken")
    } catch {
      XCTAssertEqual(error.code, -98)
    }
    do throws(UDXError) {
      _ = try await port.connect(localID: 1, remoteID: 5, to: other.address)
      XCTFail("the id is in use")
    } catch {
      XCTAssertLessThan(error.code, 0)
    }
    a.destroy()
    do throws(ConnectionError) {
      _ = try await b.read()
      XCTFail("must be reset")
    } catch {
      XCTAssertEqual(error, .reset)
    }
    await port.close()
    let none = await port.nextDatagram()
    XCTAssertNil(none)
    for transport in transports { await transport.close() }
  }
}

/// The boxes between a loop and the rest of the program, without a network.
final class BoxTests: XCTestCase {
  func testInboxAsksForAPauseOnceAndResumesOnce() async throws {
    let inbox = Inbox()
    let resumed = Locked(0)
    let chunk = [UInt8](repeating: 1, count: 10_000)
    // Unread: the small window.
    var pauses = 0
    var pushed = 0
    while pauses == 0 {
      if inbox.push([chunk], bytes: chunk.count + StreamBuffers.messageCost) { pauses += 1 }
      pushed += 1
    }
    XCTAssertLessThanOrEqual(pushed * chunk.count, StreamBuffers.unreadWindow + chunk.count)
    XCTAssertFalse(inbox.push([chunk], bytes: chunk.count + StreamBuffers.messageCost))
    pushed += 1
    for _ in 0..<pushed {
      let message = try await inbox.next(isolation: nil) { resumed.withLock { $0 += 1 } }
      XCTAssertEqual(message, chunk)
    }
    XCTAssertEqual(resumed.withLock { $0 }, 1)
    inbox.finish(.failure(.reset))
    inbox.finish(.success(()))
    do throws(ConnectionError) {
      _ = try await inbox.next(isolation: nil) {}
      XCTFail("the first end counts")
    } catch {
      XCTAssertEqual(error, .reset)
    }
  }

  func testInboxKeepsOrderAcrossCompaction() async throws {
    let inbox = Inbox()
    var next: UInt32 = 0
    var expected: UInt32 = 0
    for round in 0..<200 {
      for _ in 0..<(round % 37) {
        _ = inbox.push([withUnsafeBytes(of: next) { Array($0) }], bytes: 4 + StreamBuffers.messageCost)
        next += 1
      }
      for _ in 0..<(round % 31) where expected < next {
        let message = try await inbox.next(isolation: nil) {}
        XCTAssertEqual(message, withUnsafeBytes(of: expected) { Array($0) })
        expected += 1
      }
    }
    XCTAssertGreaterThan(expected, 1000)
  }

  func testOutboxSuspendsAboveTheWindowAndResumesAtHalf() async throws {
    let outbox = Outbox()
    let megabyte = [UInt8](repeating: 0, count: StreamBuffers.writeWindow)
    guard case .full(announce: true) = outbox.add(.message(megabyte)) else { return XCTFail("must be full") }
    let isResumed = Locked(false)
    let writer = Task {
      let error = await outbox.waitForRoom(isolation: nil)
      isResumed.withLock { $0 = true }
      return error
    }
    outbox.took(1000)
    XCTAssertFalse(isResumed.withLock { $0 })
    outbox.took(StreamBuffers.writeWindow / 2)
    let error = await writer.value
    XCTAssertNil(error)
    guard case .taken(announce: false) = outbox.add(.message([1])) else { return XCTFail("announced already") }
    XCTAssertEqual(outbox.takeAll().count, 2)
    XCTAssertEqual(outbox.takeAll().count, 0)
    guard case .taken(announce: true) = outbox.add(.end) else { return XCTFail("must announce again") }
    guard case .refused(.closed) = outbox.add(.message([1])) else { return XCTFail("ended") }
    outbox.close(.timedOut)
    guard case .refused(.timedOut) = outbox.add(.flush { _ in }) else { return XCTFail("closed") }
  }

  func testCancelledAndClosedWritersSettleOnce() async throws {
    for round in 0..<100 {
      let outbox = Outbox()
      _ = outbox.add(.message([UInt8](repeating: 0, count: StreamBuffers.writeWindow)))
      let writers = (0..<4).map { _ in Task { await outbox.waitForRoom(isolation: nil) } }
      if round % 2 == 0 { await Task.yield() }
      writers[0].cancel()
      outbox.close(.reset)
      for (index, writer) in writers.enumerated() {
        let error = await writer.value
        if index == 0 { XCTAssertTrue(error == .cancelled || error == .reset) } else { XCTAssertEqual(error, .reset) }
      }
    }
  }

  func testEventQueueBoundsOrderAndEnd() async {
    let queue = EventQueue<Int, Never>(capacity: 100)
    for number in 0..<150 { XCTAssertEqual(queue.push(number), number < 100) }
    XCTAssertEqual(queue.droppedCount, 50)
    for number in 0..<100 {
      let element = await queue.next(isolation: nil)
      XCTAssertEqual(element, number)
    }
    let readers = (0..<3).map { _ in Task { await queue.next(isolation: nil) } }
    readers[1].cancel()
    let cancelled = await readers[1].value
    XCTAssertNil(cancelled)
    XCTAssertTrue(queue.push(7))
    queue.finish()
    XCTAssertFalse(queue.push(8))
    let results = [await readers[0].value, await readers[2].value].compactMap { $0 }
    XCTAssertEqual(results, [7])
  }

  func testEventQueueTellsWhenNobodyIsLeft() {
    let released = Locked(0)
    do {
      let queue = EventQueue<Int, Never>(capacity: 1)
      queue.whenReleased { released.withLock { $0 += 1 } }
      XCTAssertEqual(released.withLock { $0 }, 0)
      withExtendedLifetime(queue) {}
    }
    XCTAssertEqual(released.withLock { $0 }, 1)
  }
}
