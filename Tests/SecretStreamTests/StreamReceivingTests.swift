import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Reading with and without a ready reader, ends, truncation, life time.
final class StreamReceivingTests: XCTestCase {
  func testPauseStopsDeliveryAndTheTransport() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    let source = WireTransport(pair.environment)
    pair.a.sendsConfirmation = false
    pair.a.start(transport: source, keys: pair.keysA)
    for index in UInt8(0)..<10 { pair.a.write([index]) }
    pair.run()
    pair.b.start(transport: wire, keys: pair.keysB)
    pair.run()
    pair.b.onMessage = { [unowned b = pair.b, unowned record = pair.recordB] bytes in
      record.note(Array(bytes))
      if bytes.first == 3 { b.pause() }
    }
    wire.feed(source.written)
    XCTAssertEqual(pair.recordB.messages.count, 4)
    XCTAssertTrue(wire.isPaused)
    XCTAssertTrue(pair.b.isPaused)
    pair.run(1_000)
    XCTAssertEqual(pair.recordB.messages.count, 4)
    // A transport that has more in its hands is not lost.
    pair.a.write([10])
    pair.run()
    wire.feed(source.writes.last ?? [])
    pair.b.resume()
    XCTAssertEqual(pair.recordB.messages.count, 4, "not inside the call")
    pair.a.write([11])
    pair.run()
    XCTAssertEqual(pair.recordB.messages.map { $0[0] }, Array(0...10))
    wire.feed(source.writes.last ?? [])
    XCTAssertEqual(pair.recordB.messages.map { $0[0] }, Array(0...11))
    XCTAssertFalse(wire.isPaused)
  }

  /// `onOwnedMessage` stands for `onMessage` in everything.
  func testOwnedMessages() {
    for chunk in [1, 7, 1_000, 100_000] {
      let pair = StreamPair(reads: false)
      pair.pipeB.chunkSize = { chunk }
      var messages: [[UInt8]] = []
      let sent = [0, 1, 16, 900, 5_000, 0, 70_000].map { [UInt8](repeating: UInt8($0 % 251), count: $0) }
      pair.a.sendsConfirmation = false
      for message in sent { pair.a.write(message) }
      pair.start()
      pair.run(10)
      XCTAssertTrue(pair.b.isAuthenticated)
      XCTAssertEqual(messages.count, 0, "no reader yet")
      pair.b.onOwnedMessage = { [unowned b = pair.b] message in
        messages.append(message)
        if messages.count == 3 { b.pause() }
      }
      pair.run(10)
      XCTAssertTrue(messages == Array(sent.prefix(3)), "\(messages.map(\.count))")
      pair.b.resume()
      pair.run(10)
      XCTAssertTrue(messages == sent, "\(messages.map(\.count))")
      XCTAssertEqual(pair.b.statistics.messageBytesRead, UInt64(sent.reduce(0) { $0 + $1.count }))
      // Empty ones are keepalives now.
      pair.b.keepAlive = 1_000
      pair.a.write([])
      pair.a.write([1])
      pair.run(10)
      XCTAssertEqual(messages.dropFirst(sent.count), [[1]])
      pair.b.onOwnedMessage = { [unowned b = pair.b] _ in b.destroy() }
      pair.a.write([2])
      pair.run(10)
      XCTAssertEqual(pair.recordB.closeCount, 1)
      XCTAssertNil(pair.recordB.error)
    }
  }

  func testForgedMessagesReachNoOwner() {
    let pair = StreamPair(reads: false)
    var messages: [[UInt8]] = []
    pair.b.onOwnedMessage = { messages.append($0) }
    pair.a.sendsConfirmation = false
    pair.pipeA.tamper = { bytes, _ in if bytes.count > 5_000 { bytes[3_000] ^= 1 } }
    pair.start()
    pair.a.write([1])
    pair.run()
    pair.a.write([UInt8](repeating: 2, count: 6_000))
    pair.run(10)
    XCTAssertEqual(messages, [[1]])
    XCTAssertEqual(pair.recordB.error, .decryptionFailed)
  }

  func testPausedReaderBoundsTheWriter() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    pair.b.pause()
    var isWriting = true
    pair.a.onDrain = { isWriting = true }
    var written = 0
    for _ in 0..<1_000 {
      while isWriting, written < 64 << 20 {
        isWriting = pair.a.write([UInt8](repeating: 0, count: 65_536))
        written += 65_536
      }
      pair.run(1)
    }
    XCTAssertLessThan(written, 2 << 20, "the pipe is full and stays full")
    pair.b.resume()
    pair.run(10)
    XCTAssertEqual(pair.recordB.messageBytes, written)
  }

  func testMessagesWaitForASubscriber() {
    let pair = StreamPair(reads: false)
    pair.b.keepAlive = 5_000
    pair.start()
    pair.a.write(Array("first".utf8))
    pair.a.write(Array("second".utf8))
    pair.run(100)
    XCTAssertTrue(pair.b.isAuthenticated, "the confirmation was swallowed")
    XCTAssertEqual(pair.recordB.events, ["handshake", "open", "header", "authenticated"])
    pair.recordB.read(pair.b)
    pair.run()
    XCTAssertEqual(pair.recordB.texts, ["first", "second"])
  }

  func testKeepAlivesPassWithoutASubscriber() {
    let pair = StreamPair(reads: false)
    pair.a.keepAlive = 100
    pair.b.keepAlive = 100
    pair.start()
    pair.run(10_000)
    XCTAssertGreaterThan(pair.b.rawBytesRead, 17 * 50)
    XCTAssertEqual(pair.recordB.closeCount, 0)
  }

  /// The frame that authenticates is decrypted even if there is no reader for its message yet.
  func testHeldStreamAuthenticatesAndDeliversLater() {
    for isPaused in [true, false] {
      let pair = StreamPair()
      pair.a.sendsConfirmation = false
      if isPaused { pair.b.pause() } else { pair.b.hold() }
      pair.start()
      for text in ["one", "two", "three"] { pair.a.write(Array(text.utf8)) }
      pair.a.end()
      pair.run(100)
      XCTAssertEqual(pair.recordB.events, ["handshake", "open", "header", "authenticated"])
      XCTAssertEqual(pair.b.rawBytesRead, 20, "no more than that one")
      if isPaused { pair.b.resume() } else { pair.b.release() }
      pair.run(100)
      XCTAssertEqual(pair.recordB.texts, ["one", "two", "three"])
      XCTAssertEqual(pair.recordB.events.last, "end")
    }
  }

  /// An end without an unread message before it waits, too: its reader comes with the release.
  func testAnEndWaitsForTheRelease() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    pair.b.hold()
    let onEnd = pair.b.onEnd
    pair.b.onEnd = nil
    pair.a.end()
    pair.run(100)
    XCTAssertNotEqual(pair.recordB.events.last, "end")
    pair.b.onEnd = onEnd
    pair.b.release()
    pair.run(100)
    XCTAssertEqual(pair.recordB.events.filter { $0 == "end" }, ["end"])
  }

  func testHoldAndPauseAreIndependent() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    pair.b.hold()
    pair.b.pause()
    pair.a.write([1])
    pair.run()
    pair.b.resume()
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[]])
    pair.b.release()
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[], [1]])
  }

  func testPausedTimeDoesNotCountForTheTimeout() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    pair.b.timeout = 200
    pair.b.pause()
    pair.run(5_000)
    XCTAssertEqual(pair.recordB.closeCount, 0)
    pair.b.resume()
    pair.run(150)
    XCTAssertEqual(pair.recordB.closeCount, 0)
    pair.run(400)
    XCTAssertEqual(pair.recordB.error, .timedOut)
  }

  func testEndWaitsForAPausedReader() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    pair.b.onMessage = { [unowned b = pair.b, unowned record = pair.recordB] bytes in
      record.note(Array(bytes))
      b.pause()
    }
    pair.a.write([1])
    pair.a.write([2])
    pair.a.end()
    pair.b.end()
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[], [1]])
    XCTAssertFalse(pair.recordB.events.contains("end"))
    XCTAssertEqual(pair.recordB.closeCount, 0)
    pair.b.resume()
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[], [1], [2]])
    pair.b.resume()
    pair.run()
    XCTAssertEqual(pair.recordB.events.suffix(2), ["end", "close"])
    XCTAssertEqual(pair.recordA.closeCount, 1)
  }

  /// The transport has closed regularly while messages still wait for the reader.
  func testRegularCloseWaitsForTheReader() {
    let pair = StreamPair()
    let source = WireTransport(pair.environment)
    pair.a.sendsConfirmation = false
    pair.a.start(transport: source, keys: pair.keysA)
    for text in ["one", "two"] { pair.a.write(Array(text.utf8)) }
    pair.run()
    let wire = WireTransport(pair.environment)
    pair.b.start(transport: wire, keys: pair.keysB)
    pair.b.end()
    pair.b.pause()
    wire.feed(source.written)
    wire.onEnd?()
    wire.close(nil)
    pair.run()
    XCTAssertEqual(pair.recordB.closeCount, 0)
    pair.b.resume()
    pair.run()
    XCTAssertEqual(pair.recordB.texts, ["one", "two"])
    XCTAssertEqual(pair.recordB.events.suffix(2), ["end", "close"])
    XCTAssertNil(pair.recordB.error)
  }

  func testEarlyCloseWithoutErrorIsACloseOnly() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.b.start(transport: wire, keys: pair.keysB)
    pair.run()
    wire.close(nil)
    pair.run()
    XCTAssertEqual(pair.recordB.events, ["handshake", "open", "close"])
    XCTAssertNil(pair.recordB.error)
  }

  func testTruncationInsideAFrame() {
    let pair = StreamPair()
    let source = WireTransport(pair.environment)
    pair.a.sendsConfirmation = false
    pair.a.start(transport: source, keys: pair.keysA)
    for text in ["one", "two"] { pair.a.write(Array(text.utf8)) }
    pair.run()
    let bytes = source.written
    for cut in 0...bytes.count {
      let stream = EncryptedStream(environment: pair.environment, isInitiator: false)
      let record = Recorder(stream)
      let wire = WireTransport(pair.environment)
      stream.start(transport: wire, keys: pair.keysB)
      wire.feed(Array(bytes[..<cut]))
      wire.onEnd?()
      pair.run()
      switch cut {
      case 0..<59: XCTAssertEqual(record.error, .endedDuringHandshake)
      case 59: XCTAssertEqual(record.texts, [])
      case 59 + 23: XCTAssertEqual(record.texts, ["one"])
      case 59 + 46: XCTAssertEqual(record.texts, ["one", "two"])
      default: XCTAssertEqual(record.error, .truncated)
      }
      XCTAssertEqual(record.events.contains("end"), [59, 59 + 23, 59 + 46].contains(cut), "cut \(cut)")
    }
  }

  func testDestroyInsideEveryCallback() throws {
    let places: [(String, (EncryptedStream, @escaping () -> Void) -> Void)] = [
      ("open", { $0.onOpen = $1 }), ("header", { $0.onRemoteHeader = $1 }),
      ("authenticated", { $0.onAuthenticated = $1 }),
      ("handshake", { $0.onHandshake = $1 }), ("end", { $0.onEnd = $1 }),
      ("message", { stream, body in stream.onMessage = { _ in body() } }),
    ]
    for isInBand in [true, false] {
      for (name, install) in places {
        let pair = StreamPair()
        var called = 0
        install(pair.b) { [unowned b = pair.b] in
          called += 1
          b.destroy()
        }
        for text in ["one", "two"] { pair.a.write(Array(text.utf8)) }
        pair.a.end()
        if isInBand { try pair.startInBand() } else { pair.start() }
        pair.run(10)
        XCTAssertEqual(called, 1, name)
        XCTAssertEqual(pair.recordB.closeCount, 1, name)
        XCTAssertNil(pair.recordB.error, name)
        XCTAssertEqual(pair.recordB.events.last, "close", name)
        XCTAssertEqual(pair.recordA.closeCount, 1, name)
      }
    }
  }

  func testObserversComeBeforeTheUser() {
    let pair = StreamPair()
    var events: [String] = []
    pair.b.observe(
      open: { events.append("1 open") }, authenticated: { events.append("1 authenticated") },
      close: { (_: EncryptedStreamError?) in events.append("1 close") })
    pair.b.observe(close: { events.append("2 close \($0 == nil)") })
    pair.b.onClose = { _ in events.append("user close") }
    pair.start()
    pair.run()
    pair.a.destroy()
    pair.run()
    XCTAssertEqual(events, ["1 open", "1 authenticated", "1 close", "2 close false", "user close"])
    pair.b.observe(close: { _ in events.append("late") })
    XCTAssertEqual(events.count, 5)
    pair.run()
    XCTAssertEqual(events.last, "late")
  }

  func testNothingIsLeftAfterClose() throws {
    weak var stream: EncryptedStream?
    weak var reader: FrameReader?
    weak var keys: AnyObject?
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    try {
      let (pipeA, pipeB) = PipeTransport.pair(environment)
      let a = EncryptedStream(environment: environment, isInitiator: true)
      let b = EncryptedStream(environment: environment, isInitiator: false)
      a.keepAlive = 1_000
      b.keepAlive = 1_000
      b.onMessage = { _ in }
      try a.startInBand(transport: pipeA, keyPair: keyPair(1))
      try b.startInBand(transport: pipeB, keyPair: keyPair(2))
      a.write([UInt8](repeating: 0, count: 100_000))
      stream = b
      reader = b.reader
      network.advance(by: 3_000)
      keys = b.opener
      XCTAssertNotNil(keys)
      a.destroy()
    }()
    XCTAssertNotNil(stream, "a started stream lives until its transport has closed")
    network.advance(by: 10)
    XCTAssertNil(stream)
    XCTAssertNil(reader)
    XCTAssertNil(keys)
    XCTAssertEqual(network.pendingEventCount, 0, "no timer is left")
  }

  /// The transport may outlive the stream: it must not hold it.
  func testTransportDoesNotKeepAClosedStream() {
    weak var stream: EncryptedStream?
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    do {
      let other = EncryptedStream(environment: pair.environment, isInitiator: true)
      other.start(transport: wire, keys: pair.keysA)
      other.onClose = { _ in }
      pair.run()
      stream = other
      other.destroy()
    }
    XCTAssertNotNil(stream)
    pair.run()
    XCTAssertNil(stream)
    XCTAssertNil(wire.onData)
    XCTAssertNil(wire.onClose)
  }

  func testIdleStreamsGiveTheirBuffersBack() {
    let pair = StreamPair()
    pair.pipeB.keepsSent = false
    pair.pipeB.chunkSize = { 1_200 }
    pair.b.keepAlive = 1_000
    pair.start()
    pair.a.write([UInt8](repeating: 0, count: 200_000))
    pair.a.write([UInt8](repeating: 0, count: 300))
    pair.run(500)
    XCTAssertGreaterThanOrEqual(pair.b.reader.bufferCapacity, 200_000)
    pair.run(3_000)
    XCTAssertEqual(pair.b.reader.bufferCapacity, 0)
    XCTAssertEqual(pair.b.scratchCapacity, 0)
    pair.a.write([1])
    pair.run(10)
    XCTAssertEqual(pair.recordB.messages.map(\.count), [200_000, 300, 1])
  }

  func testTransportReenteringFromACallback() {
    // A transport that delivers inside the reader's own write, as an in-process pipe might.
    let pair = StreamPair()
    let source = WireTransport(pair.environment)
    pair.a.sendsConfirmation = false
    pair.a.start(transport: source, keys: pair.keysA)
    for index in UInt8(0)..<6 { pair.a.write([UInt8](repeating: index, count: 50)) }
    pair.run()
    let bytes = source.written
    let wire = WireTransport(pair.environment)
    pair.b.start(transport: wire, keys: pair.keysB)
    var rest = Array(bytes[200...])
    pair.b.onMessage = { [unowned record = pair.recordB] message in
      let copy = Array(message)
      if !rest.isEmpty {
        let now = rest
        rest = []
        for byte in now { wire.feed([byte]) }
      }
      XCTAssertEqual(Array(message), copy, "the lent bytes have not moved")
      record.note(copy)
    }
    wire.feed(Array(bytes[..<61]))
    wire.feed(Array(bytes[61..<200]))
    XCTAssertEqual(pair.recordB.messages.map { $0[0] }, [0, 1, 2, 3, 4, 5])
  }
}
