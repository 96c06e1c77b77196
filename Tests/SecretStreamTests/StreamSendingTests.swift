import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Batches, back-pressure, flush, keepalive, end.
final class StreamSendingTests: XCTestCase {
  private func opener(_ pair: StreamPair, _ header: [UInt8]) -> FrameCipher {
    FrameCipher(key: pair.keysA.sendKeyBytes, header: Array(header[32...]))
  }

  private func plain(_ bodies: [[UInt8]], _ pair: StreamPair) -> [[UInt8]] {
    guard let header = bodies.first, header.count == 56 else { return [] }
    let opener = opener(pair, header)
    return bodies.dropFirst().map { body in
      var out = [UInt8](repeating: 0, count: max(body.count - 17, 1))
      let tag = out.withUnsafeMutableBytes { target in body.withUnsafeBytes { opener.open($0, to: target.baseAddress) }
      }
      return tag == nil ? [0xff, 0xff] : Array(out.prefix(body.count - 17))
    }
  }

  func testSmallMessagesOfOneTurnShareOneWrite() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.start(transport: wire, keys: pair.keysA)
    XCTAssertEqual(wire.writes.count, 1, "header and confirmation, inside start")
    XCTAssertEqual(wire.writes[0].count, 59 + 20)
    pair.run()
    let messages = (0..<40).map { [UInt8](repeating: UInt8($0), count: 20) }
    for message in messages { XCTAssertTrue(pair.a.write(message)) }
    XCTAssertEqual(wire.writes.count, 1, "not before the turn ends")
    pair.run()
    XCTAssertEqual(wire.writes.count, 2)
    XCTAssertEqual(plain(frames(wire.written), pair), [[]] + messages)
    XCTAssertEqual(pair.a.statistics.transportWrites, 2)
  }

  func testBatchesAreBounded() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.start(transport: wire, keys: pair.keysA)
    for turn in 0..<3 {
      let before = wire.writes.count
      for _ in 0..<2_000 { pair.a.write([UInt8](repeating: 1, count: 100)) }
      pair.run()
      let sizes = wire.writes.dropFirst(before).map(\.count)
      XCTAssertEqual(sizes.reduce(0, +), 240_000)
      XCTAssertLessThanOrEqual(sizes.max() ?? 0, Limits.Stream.maximumBatch)
      XCTAssertLessThan(sizes.count, turn == 0 ? 12 : 6, "grows to the largest batch, then stays there")
    }
    // And shrinks again.
    for _ in 0..<10 {
      pair.a.write([1])
      pair.run()
    }
    XCTAssertEqual(pair.a.batchSize, Limits.Stream.firstBatch)
    XCTAssertEqual(plain(frames(wire.written), pair).count, 6_011)
  }

  func testLargeMessagesGoOutAtOnceAndInOrder() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.sendsConfirmation = false
    pair.a.start(transport: wire, keys: pair.keysA)
    let sizes = [10, 65_536, 20, 32_748, 32_749, 1, 200_000, 0, 30_000, 30_000, 30_000]
    let messages = sizes.map { size in (0..<size).map { UInt8(truncatingIfNeeded: $0) } }
    for message in messages { pair.a.write(message) }
    XCTAssertGreaterThan(wire.writes.count, 4)
    pair.run()
    XCTAssertEqual(plain(frames(wire.written), pair), messages)
    XCTAssertEqual(pair.a.rawBytesWritten, UInt64(sizes.reduce(0) { $0 + $1 + 20 }))
  }

  func testBackPressure() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.start(transport: wire, keys: pair.keysA)
    pair.run()
    wire.hasRoom = false
    XCTAssertFalse(pair.a.write([UInt8](repeating: 0, count: 65_536)))
    XCTAssertFalse(pair.a.write([1]), "accepted, but wait")
    pair.run()
    XCTAssertEqual(frames(wire.written).count, 4)
    XCTAssertFalse(pair.recordA.events.contains("drain"))
    wire.hasRoom = true
    wire.onDrain?()
    XCTAssertEqual(pair.recordA.events.filter { $0 == "drain" }.count, 1)
    XCTAssertTrue(pair.a.write([2]))
    wire.onDrain?()
    XCTAssertEqual(pair.recordA.events.filter { $0 == "drain" }.count, 1, "nobody waited")
  }

  func testDrainAfterWaitingForTheKeys() {
    let pair = StreamPair()
    XCTAssertFalse(pair.a.write([UInt8](repeating: 0, count: 20_000)))
    pair.run()
    XCTAssertFalse(pair.recordA.events.contains("drain"))
    pair.start()
    pair.run()
    XCTAssertEqual(pair.recordA.events.filter { $0 == "drain" }.count, 1)
    XCTAssertEqual(pair.recordB.messages.map(\.count), [0, 20_000])
  }

  func testQueueBeforeTheKeysIsBounded() {
    let pair = StreamPair()
    let chunk = [UInt8](repeating: 0, count: 16 << 20 - 100)
    var count = 0
    while !pair.a.isDestroying, count < 100 {
      pair.a.write(chunk)
      count += 1
    }
    pair.run()
    XCTAssertEqual(pair.recordA.error, .queueOverflow)
    XCTAssertLessThanOrEqual(count, Limits.Stream.maximumQueuedBeforeKeys / chunk.count + 1)
  }

  func testFlushWaitsForAcknowledgement() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    var done: [String] = []
    pair.a.write([1])
    pair.a.flush { done.append("early \($0)") }
    pair.run()
    XCTAssertEqual(done, [])
    pair.a.start(transport: wire, keys: pair.keysA)
    pair.run()
    XCTAssertEqual(done, [])
    wire.acknowledge()
    XCTAssertEqual(done, ["early true"])
    pair.a.flush { done.append("nothing \($0)") }
    XCTAssertEqual(done.count, 1, "never inside the call")
    pair.run()
    XCTAssertEqual(done, ["early true", "nothing true"])
    done = []
    pair.a.write([1])
    pair.a.flush { done.append("first \($0)") }
    pair.a.write([2])
    pair.a.flush { done.append("second \($0)") }
    pair.a.write([3])
    pair.run()
    XCTAssertEqual(done, [])
    wire.acknowledge(1)
    XCTAssertEqual(done, ["first true"])
    wire.acknowledge(1)
    XCTAssertEqual(done, ["first true", "second true"])
    pair.a.flush { done.append("third \($0)") }
    pair.a.destroy()
    XCTAssertEqual(done.count, 2)
    pair.run()
    XCTAssertEqual(done, ["first true", "second true", "third false"])
    pair.a.flush { done.append("late \($0)") }
    pair.run()
    XCTAssertEqual(done.last, "late false")
  }

  func testBlockedStreamSkipsKeepAlives() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.keepAlive = 100
    pair.a.start(transport: wire, keys: pair.keysA)
    for milliseconds: UInt64 in [50, 100, 100, 100] {
      pair.run(milliseconds)
      wire.acknowledge()
    }
    XCTAssertEqual(frames(wire.written).count, 2 + 3)
    wire.hasRoom = false
    pair.a.write([1])
    pair.run(1_000)
    XCTAssertEqual(frames(wire.written).count, 2 + 3 + 1)
    XCTAssertGreaterThan(pair.a.statistics.keepAlivesSkipped, 5)
    wire.hasRoom = true
    wire.acknowledge()
    wire.onDrain?()
    pair.run(150)
    XCTAssertEqual(frames(wire.written).count, 2 + 3 + 1 + 1)
  }

  func testKeepAliveBeforeTheKeysSendsNothing() throws {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.b.keepAlive = 100
    try pair.b.startInBand(transport: wire, keyPair: keyPair(2))
    pair.b.sendKeepAlive()
    pair.run(1_000)
    XCTAssertEqual(wire.writes.count, 0)
  }

  func testConfirmationOption() throws {
    let pair = StreamPair()
    for (option, isInitiator, expected) in [
      (nil, true, 2), (nil, false, 1), (false, true, 1), (true, false, 2),
    ] as [(Bool?, Bool, Int)] {
      let stream = EncryptedStream(environment: pair.environment, isInitiator: isInitiator)
      stream.sendsConfirmation = option
      let wire = WireTransport(pair.environment)
      stream.start(transport: wire, keys: isInitiator ? pair.keysA : pair.keysB)
      pair.run()
      XCTAssertEqual(frames(wire.written).count, expected)
    }
    // A server knows its peer as soon as the confirmation is there, without any message of the application.
    pair.b.keepAlive = 5_000
    pair.start()
    pair.run()
    XCTAssertTrue(pair.b.isAuthenticated)
    XCTAssertFalse(pair.a.isAuthenticated)
    XCTAssertEqual(pair.recordB.messages, [])
    XCTAssertEqual(pair.recordB.events, ["handshake", "open", "header", "authenticated"])
  }

  func testFinal() {
    for sendsFinal in [true, false] {
      let pair = StreamPair()
      pair.a.sendsFinal = sendsFinal
      pair.b.keepAlive = 5_000
      pair.start()
      pair.a.write([1])
      pair.a.end()
      pair.run()
      XCTAssertEqual(pair.recordB.messages, [[1]])
      XCTAssertTrue(pair.recordB.events.contains("end"))
      XCTAssertEqual(pair.b.receivedFinal, sendsFinal)
    }
  }

  func testEndBeforeStartAndAfterDestroy() {
    let pair = StreamPair()
    pair.a.end()
    pair.a.end()
    pair.start()
    pair.run()
    XCTAssertTrue(pair.recordB.events.contains("end"))
    XCTAssertTrue(pair.b.isEnded)
    XCTAssertTrue(pair.a.isWriteEnded)
    pair.b.write([1])
    pair.run()
    XCTAssertEqual(pair.recordA.messages, [[1]], "half open")
    pair.b.destroy()
    pair.b.end()
    pair.run()
    XCTAssertEqual(pair.recordB.closeCount, 1)
  }

  func testDestroyInsideOnHandshakeSendsNothing() throws {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.onHandshake = { [unowned a = pair.a] in a.destroy() }
    pair.a.start(transport: wire, keys: pair.keysA)
    pair.run()
    XCTAssertEqual(wire.writes.count, 0)
    XCTAssertTrue(wire.wasDestroyed)
    XCTAssertEqual(pair.recordA.closeCount, 1)
    XCTAssertNil(pair.recordA.error)
  }

  func testStatistics() {
    let pair = StreamPair()
    pair.a.sendsConfirmation = false
    pair.start()
    for count in [5, 0, 5] { pair.a.write([UInt8](repeating: 1, count: count)) }
    pair.run()
    XCTAssertEqual(pair.a.rawBytesWritten, 70)
    XCTAssertEqual(pair.b.rawBytesRead, 61)
    XCTAssertEqual(pair.a.statistics.messagesWritten, 3)
    XCTAssertEqual(pair.b.statistics.messagesRead, 3)
    XCTAssertEqual(pair.a.statistics.messageBytesWritten, 10)
    XCTAssertEqual(pair.b.statistics.messageBytesRead, 10)
    XCTAssertEqual(pair.b.rawBytesWritten, 0)
  }
}
