import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Items 1-25 of the checklist in secret-stream.md 16 (those of the reference's own tests).
final class StreamConformanceTests: XCTestCase {
  func testSS_1_xxLearnsKeys() throws {
    let pair = StreamPair()
    var seen: [Bytes32?] = []
    pair.a.onOpen = { [unowned a = pair.a] in seen.append(a.remotePublicKey) }
    pair.b.onOpen = { [unowned b = pair.b] in seen.append(b.remotePublicKey) }
    try pair.startInBand(.xx)
    pair.run()
    XCTAssertEqual(Set(seen), [keyPair(1).publicKey, keyPair(2).publicKey])
    XCTAssertEqual(pair.a.remotePublicKey, keyPair(2).publicKey)
    XCTAssertEqual(pair.b.remotePublicKey, keyPair(1).publicKey)
    XCTAssertEqual(pair.a.publicKey, keyPair(1).publicKey)
    XCTAssertEqual(pair.a.handshakeHash, pair.b.handshakeHash)
    XCTAssertNotNil(pair.a.handshakeHash)
  }

  func testSS_1_ikLearnsKeys() throws {
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    let a = EncryptedStream(environment: environment, isInitiator: true, remotePublicKey: keyPair(2).publicKey)
    let b = EncryptedStream(environment: environment, isInitiator: false)
    let (pipeA, pipeB) = PipeTransport.pair(environment)
    let recordB = Recorder(b)
    try a.startInBand(transport: pipeA, pattern: .ik, keyPair: keyPair(1))
    try b.startInBand(transport: pipeB, pattern: .ik, keyPair: keyPair(2))
    a.write(Array("hi".utf8))
    network.advance(by: 1)
    XCTAssertEqual(b.remotePublicKey, keyPair(1).publicKey)
    XCTAssertEqual(recordB.texts, ["hi"])
    XCTAssertEqual(recordB.events, ["handshake", "open", "header", "authenticated", "message"])
  }

  func testSS_2_plaintextIsNotOnTheWire() throws {
    let pair = StreamPair()
    try pair.startInBand()
    let secret = Array("a plaintext that would be easy to find".utf8)
    pair.a.write(secret)
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [secret])
    XCTAssertFalse(contains(pair.pipeA.sent, Array(secret.prefix(8))))
  }

  private func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
    guard bytes.count >= part.count else { return false }
    return (0...(bytes.count - part.count)).contains { Array(bytes[$0..<$0 + part.count]) == part }
  }

  func testSS_3_endOfOneSideAndDestroyOfTheOtherClosesAll() throws {
    let pair = StreamPair()
    try pair.startInBand()
    pair.a.write([1])
    pair.b.write([2])
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[1]])
    XCTAssertEqual(pair.recordA.messages, [[2]])
    pair.a.end()
    pair.run()
    XCTAssertTrue(pair.recordB.events.contains("end"))
    XCTAssertFalse(pair.recordA.events.contains("close"))
    pair.b.destroy()
    pair.run()
    XCTAssertEqual(pair.recordA.closeCount, 1)
    XCTAssertEqual(pair.recordB.closeCount, 1)
    XCTAssertNil(pair.recordB.error)
  }

  func testSS_4_oneByteChunks() throws {
    let pair = StreamPair()
    pair.pipeA.chunkSize = { 1 }
    pair.pipeB.chunkSize = { 1 }
    try pair.startInBand()
    let long = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    pair.a.write(Array("short".utf8))
    pair.a.write(long)
    pair.b.write(long)
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [Array("short".utf8), long])
    XCTAssertEqual(pair.recordA.messages, [long])
  }

  func testSS_5_writeAndEndBeforeStart() {
    let pair = StreamPair()
    XCTAssertTrue(pair.a.write(Array("one".utf8)))
    pair.a.write([])
    XCTAssertFalse(pair.a.write([UInt8](repeating: 7, count: 70_000)), "above the mark")
    pair.a.write(Array("two".utf8))
    pair.a.end()
    XCTAssertFalse(pair.a.write(Array("dropped".utf8)), "after end")
    pair.b.end()
    pair.start()
    pair.run()
    // The confirmation of the initiator is an empty message and comes first.
    XCTAssertEqual(pair.recordB.messages.map(\.count), [0, 3, 0, 70_000, 3])
    XCTAssertEqual(pair.recordB.events.suffix(2), ["end", "close"])
    XCTAssertNil(pair.recordA.error)
  }

  func testSS_6_bulkInOrder() {
    // 1 GiB in the reference's test; LONG_TESTS=1 does the same.
    let total = ProcessInfo.processInfo.environment["LONG_TESTS"] == nil ? 32 << 20 : 1 << 30
    let size = 64 << 10
    let pair = StreamPair()
    pair.pipeA.keepsSent = false
    pair.recordB.keepsMessages = false
    pair.start()
    pair.run()
    var expected: UInt64 = 0
    var isWrong = false
    pair.b.onMessage = { bytes in
      guard !bytes.isEmpty else { return }
      if bytes.count != size || bytes.loadUnaligned(as: UInt64.self) != expected
        || bytes.loadUnaligned(fromByteOffset: size - 8, as: UInt64.self) != ~expected
      {
        isWrong = true
      }
      expected += 1
    }
    var next: UInt64 = 0
    var message = [UInt8](repeating: 0x5a, count: size)
    func pump() {
      while next < UInt64(total / size) {
        message.withUnsafeMutableBytes {
          $0.storeBytes(of: next, as: UInt64.self)
          $0.storeBytes(of: ~next, toByteOffset: size - 8, as: UInt64.self)
        }
        next += 1
        if !pair.a.write(message) { return }
      }
      pair.a.end()
    }
    pair.a.onDrain = pump
    pump()
    pair.network.runUntilIdle(within: 100)
    XCTAssertEqual(expected, UInt64(total / size))
    XCTAssertFalse(isWrong)
    XCTAssertTrue(pair.recordB.events.contains("end"))
    XCTAssertLessThan(pair.pipeB.maximumUnread, 2 * PipeTransport.highWaterMark, "the writer waited")
  }

  func testSS_7_garbageDuringTheHandshake() throws {
    for pattern in [NoisePattern.xx, .ik] {
      for garbage in [[UInt8](repeating: 0, count: 65_536), frame([UInt8](repeating: 0x33, count: 200)), frame([1])] {
        let pair = StreamPair()
        try pair.b.startInBand(transport: pair.pipeB, pattern: pattern, keyPair: keyPair(2))
        pair.pipeA.write(OwnedBuffer(garbage), nil)
        // With XX the first message may carry any bytes as payload: then the second step fails.
        pair.run()
        guard case .handshakeFailed = pair.recordB.error else {
          XCTFail("\(pattern): \(String(describing: pair.recordB.error))")
          continue
        }
        XCTAssertFalse(pair.recordB.events.contains("open"))
        XCTAssertTrue(try XCTUnwrap(pair.recordB.error).description.hasPrefix("Noise handshake failed"))
      }
    }
  }

  func testSS_8_garbageInsteadOfTheHeader() {
    let pair = StreamPair()
    pair.b.start(transport: pair.pipeB, keys: pair.keysB)
    pair.run()
    pair.pipeA.write(OwnedBuffer(frame(Array("garbage".utf8))), nil)
    pair.run()
    XCTAssertEqual(pair.recordB.error, .invalidHeaderLength)
    XCTAssertEqual(pair.recordB.events, ["handshake", "open", "close"])
  }

  func testSS_9_garbageAfterAGoodMessage() {
    let pair = StreamPair()
    pair.a.sendsConfirmation = false
    pair.start()
    pair.a.write(Array("good".utf8))
    pair.run()
    pair.pipeA.write(OwnedBuffer(frame(Array("garbage that is long enough".utf8))), nil)
    pair.run()
    XCTAssertEqual(pair.recordB.texts, ["good"])
    XCTAssertEqual(pair.recordB.error, .decryptionFailed)
    XCTAssertEqual(pair.recordA.error, .transport(.reset))
    XCTAssertEqual(pair.recordA.messages, [])
  }

  func testSS_10_keysOfAnotherPair() throws {
    var a = try NoiseHandshake(pattern: .xx, isInitiator: true, keyPair: keyPair(1), ephemeral: keyPair(3))
    var b = try NoiseHandshake(pattern: .xx, isInitiator: false, keyPair: keyPair(2), ephemeral: keyPair(4))
    _ = try b.receive(try a.send())
    _ = try a.receive(try b.send())
    _ = try b.receive(try a.send())
    let pair = StreamPair()
    pair.a.start(transport: pair.pipeA, keys: try XCTUnwrap(a.sessionKeys()))
    pair.b.start(transport: pair.pipeB, keys: try XCTUnwrap(b.sessionKeys()))
    pair.a.write(Array("there".utf8))
    pair.b.write(Array("back".utf8))
    pair.run()
    XCTAssertEqual(pair.recordB.texts.last, "there")
    XCTAssertEqual(pair.recordA.texts, ["back"])
    XCTAssertEqual(pair.recordA.events, ["handshake", "open", "header", "authenticated", "message"])
  }

  func testSS_11_headDataThenLiveData() throws {
    // What the initiator says, recorded.
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.sendsConfirmation = false
    pair.a.start(transport: wire, keys: pair.keysA)
    for text in ["one", "two", "three"] { pair.a.write(Array(text.utf8)) }
    pair.run()
    let bytes = wire.written
    for cut in [0, 1, 30, 59, 60, 70, bytes.count - 24, bytes.count - 1, bytes.count] {
      for liveFirst in [false, true] {
        let stream = EncryptedStream(environment: pair.environment, isInitiator: false)
        let record = Recorder(stream)
        let transport = WireTransport(pair.environment)
        stream.start(transport: transport, keys: pair.keysB, head: Array(bytes[..<cut]))
        if !liveFirst { pair.run() }
        transport.feed(Array(bytes[cut...]))
        pair.run()
        XCTAssertEqual(record.texts, ["one", "two", "three"], "cut \(cut)")
        XCTAssertEqual(record.events.firstIndex(of: "open"), 1)
      }
    }
  }

  /// The head may also hold a handshake message, and the transport may already have ended (better than the reference).
  func testSS_11_headDataInBand() throws {
    let pair = StreamPair()
    let head = try {
      var a = try NoiseHandshake(pattern: .xx, isInitiator: true, keyPair: keyPair(1), ephemeral: keyPair(3))
      return frame(try a.send())
    }()
    let wire = WireTransport(pair.environment)
    try pair.b.startInBand(transport: wire, keyPair: keyPair(2), head: head)
    pair.run()
    XCTAssertEqual(frames(wire.written).map(\.count), [96], "the answer")
    XCTAssertEqual(pair.recordB.closeCount, 0)
    let other = EncryptedStream(environment: pair.environment, isInitiator: false)
    let record = Recorder(other)
    try other.startInBand(transport: WireTransport(pair.environment), keyPair: keyPair(2), head: head, ended: true)
    pair.run()
    XCTAssertEqual(record.error, .endedDuringHandshake)
  }

  func testSS_12_destroyBothWithAnError() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    let error = EncryptedStreamError(reason: TestReason(code: "TEST", description: "why not"))
    pair.a.destroy(error)
    pair.b.destroy(error)
    pair.a.destroy(.timedOut)
    XCTAssertTrue(pair.a.isDestroying)
    XCTAssertEqual(pair.recordA.closeCount, 0, "never inside the call")
    pair.run()
    XCTAssertEqual(pair.recordA.error, error)
    XCTAssertEqual(pair.recordB.error, error)
    XCTAssertEqual(pair.a.closeError, error, "the first error wins")
    XCTAssertEqual(pair.recordA.closeCount, 1)
    XCTAssertTrue(pair.pipeA.isClosed)
    XCTAssertTrue(pair.pipeB.isClosed)
    XCTAssertTrue(pair.a.isClosed)
  }

  func testSS_13_transportErrorInTheFirstTurn() throws {
    let pair = StreamPair()
    pair.a.start(transport: pair.pipeA, keys: pair.keysA)
    pair.pipeA.fail(.timedOut)
    pair.run()
    XCTAssertEqual(pair.recordA.error, .transport(.timedOut))
    try pair.b.startInBand(transport: pair.pipeB, keyPair: keyPair(2))
    pair.pipeB.fail(.other(-5))
    pair.run()
    XCTAssertEqual(pair.recordB.error, .transport(.other(-5)))
  }

  /// Key pairs are not promised here: the caller starts when it has one. What it does when it gets none is `destroy`.
  func testSS_14_15_destroyBeforeStart() throws {
    let pair = StreamPair()
    let error = EncryptedStreamError(reason: TestReason(code: "NO_KEY", description: "no key pair"))
    pair.a.write([1, 2, 3])
    var flushed: [Bool] = []
    pair.a.flush { flushed.append($0) }
    pair.a.destroy(error)
    pair.run()
    XCTAssertEqual(pair.recordA.error, error)
    XCTAssertEqual(flushed, [false])
    // A transport that comes too late is not leaked.
    pair.a.start(transport: pair.pipeA, keys: pair.keysA)
    try pair.a.startInBand(transport: pair.pipeB, keyPair: keyPair(1))
    XCTAssertTrue(pair.pipeA.isClosed)
    XCTAssertTrue(pair.pipeB.isClosed)
    pair.run()
    XCTAssertEqual(pair.recordA.closeCount, 1)
  }

  func testSS_16_dataBeforeEndIsDelivered() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    pair.b.end()
    pair.run()
    pair.a.write(Array("last".utf8))
    pair.a.end()
    pair.run()
    XCTAssertEqual(pair.recordB.texts.last, "last")
    XCTAssertEqual(pair.recordB.events.suffix(3), ["message", "end", "close"])
    XCTAssertNil(pair.recordB.error)
    XCTAssertNil(pair.recordA.error)
    XCTAssertEqual(pair.recordA.closeCount, 1)
    XCTAssertEqual(pair.recordB.closeCount, 1)
  }

  func testSS_17_timeout() {
    let pair = StreamPair()
    pair.b.timeout = 200
    pair.start()
    for _ in 0..<20 {
      pair.a.write([1])
      pair.run(50)
      XCTAssertEqual(pair.recordB.closeCount, 0)
    }
    pair.run(140)
    XCTAssertEqual(pair.recordB.closeCount, 0)
    pair.run(70)
    XCTAssertEqual(pair.recordB.error, .timedOut)
    XCTAssertEqual(EncryptedStreamError.timedOut.description, "Stream timed out")
  }

  func testSS_17_localWritesDoNotRestartTheTimeout() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    pair.b.timeout = 200
    for _ in 0..<3 {
      pair.b.write([1])
      pair.run(50)
    }
    pair.run(60)
    XCTAssertEqual(pair.recordB.error, .timedOut)
  }

  func testSS_18_keepAlive() {
    let pair = StreamPair()
    pair.a.sendsConfirmation = false
    pair.start()
    pair.run()
    pair.a.keepAlive = 500
    pair.b.keepAlive = 500
    let before = pair.pipeA.sent.count
    pair.run(490)
    XCTAssertEqual(pair.pipeA.sent.count, before)
    pair.run(20)
    XCTAssertEqual(pair.pipeA.sent.count, before + 20)
    XCTAssertEqual(Array(pair.pipeA.sent.suffix(20).prefix(3)), [0x11, 0, 0])
    XCTAssertEqual(pair.recordB.messages, [])
    XCTAssertEqual(pair.b.rawBytesRead, 17)
    XCTAssertTrue(pair.b.isAuthenticated)
    // A write restarts the interval, a read does not.
    pair.run(400)
    pair.a.write([9])
    pair.run(200)
    XCTAssertEqual(pair.pipeA.sent.count, before + 20 + 21)
    pair.run(310)
    XCTAssertEqual(pair.pipeA.sent.count, before + 20 + 21 + 20)
  }

  func testSS_19_keepAliveTwice() {
    let pair = StreamPair()
    pair.a.sendsConfirmation = false
    pair.start()
    pair.run()
    let pending = pair.network.pendingEventCount
    for interval in [UInt64(100), 200, 300, 400] { pair.a.keepAlive = interval }
    pair.a.keepAlive = 1_000
    let before = pair.pipeA.sent.count
    pair.run(990)
    XCTAssertEqual(pair.pipeA.sent.count, before)
    pair.run(20)
    XCTAssertEqual(pair.pipeA.sent.count, before + 20)
    XCTAssertLessThanOrEqual(pair.network.pendingEventCount, pending + 1, "one timer")
    pair.a.keepAlive = 0
    pair.run(5_000)
    XCTAssertEqual(pair.pipeA.sent.count, before + 20)
  }

  func testSS_20_keepAliveBeforeStart() {
    let pair = StreamPair()
    pair.a.sendsConfirmation = false
    pair.a.keepAlive = 500
    pair.run(3_000)
    pair.start()
    pair.run(1)
    let before = pair.pipeA.sent.count
    pair.run(510)
    XCTAssertEqual(pair.pipeA.sent.count, before + 20)
  }

  func testSS_21_tooLongWrite() {
    let pair = StreamPair()
    pair.start()
    pair.run()
    XCTAssertFalse(pair.a.write([UInt8](repeating: 0, count: 32 << 20)))
    pair.run()
    XCTAssertEqual(pair.recordA.error, .messageTooLarge)
    XCTAssertEqual(
      pair.recordA.error?.description, "Message is too large for an atomic write. Max size is 16777215 bytes.")
    XCTAssertEqual(pair.recordB.error, .transport(.reset))
  }

  func testSS_23_datagramsBothWays() throws {
    let lab = try UDXPair()
    let (keysA, keysB) = StreamPair.keys()
    let a = EncryptedStream(environment: lab.hostA, isInitiator: true)
    let b = EncryptedStream(environment: lab.hostB, isInitiator: false)
    let (recordA, recordB) = (Recorder(a), Recorder(b))
    XCTAssertFalse(a.sendDatagram([1]), "before the keys")
    a.start(transport: lab.transportA, keys: keysA)
    b.start(transport: lab.transportB, keys: keysB)
    lab.network.advance(by: 10)
    XCTAssertTrue(a.sendDatagram(Array("ping".utf8)))
    XCTAssertTrue(b.sendDatagram(Array("pong".utf8)))
    XCTAssertTrue(a.sendDatagram([]))
    lab.network.advance(by: 10)
    XCTAssertEqual(recordB.datagrams.sorted { $0.count > $1.count }, [Array("ping".utf8), []])
    XCTAssertEqual(recordA.datagrams, [Array("pong".utf8)])
    XCTAssertEqual(a.maximumDatagram, 1_128)
    XCTAssertTrue(a.sendDatagram([UInt8](repeating: 1, count: 1_128)))
    XCTAssertFalse(a.sendDatagram([UInt8](repeating: 1, count: 1_129)))
    XCTAssertEqual(a.rawBytesWritten, 20, "datagrams do not count")
    a.destroy()
    XCTAssertFalse(a.sendDatagram([1]))
  }

  func testSS_24_garbageDatagramsAreIgnored() throws {
    let lab = try UDXPair()
    let (keysA, keysB) = StreamPair.keys()
    let a = EncryptedStream(environment: lab.hostA, isInitiator: true)
    let b = EncryptedStream(environment: lab.hostB, isInitiator: false)
    let recordB = Recorder(b)
    a.start(transport: lab.transportA, keys: keysA)
    b.start(transport: lab.transportB, keys: keysB)
    lab.network.advance(by: 10)
    for count in [0, 1, 8, 23, 24, 25, 1_000] { lab.transportA.sendMessage([UInt8](repeating: 3, count: count)) }
    lab.network.advance(by: 10)
    XCTAssertEqual(recordB.datagrams, [])
    XCTAssertEqual(b.statistics.datagramsDropped, 7)
    XCTAssertTrue(a.sendDatagram([5]))
    lab.network.advance(by: 10)
    XCTAssertEqual(recordB.datagrams, [[5]])
    XCTAssertEqual(recordB.closeCount, 0)
  }

  func testSS_25_datagramsOffOnOneSide() throws {
    let lab = try UDXPair()
    let (keysA, keysB) = StreamPair.keys()
    let a = EncryptedStream(environment: lab.hostA, isInitiator: true)
    let b = EncryptedStream(environment: lab.hostB, isInitiator: false)
    b.receivesDatagrams = false
    let (recordA, recordB) = (Recorder(a), Recorder(b))
    a.start(transport: lab.transportA, keys: keysA)
    b.start(transport: lab.transportB, keys: keysB)
    lab.network.advance(by: 10)
    XCTAssertTrue(a.sendDatagram([1]))
    XCTAssertTrue(b.sendDatagram([2]), "only receiving is off")
    lab.network.advance(by: 10)
    XCTAssertEqual(recordA.datagrams, [[2]])
    XCTAssertEqual(recordB.datagrams, [])
  }
}
