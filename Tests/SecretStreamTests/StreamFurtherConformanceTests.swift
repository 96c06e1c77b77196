import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Items 27-37 of the checklist in secret-stream.md 16; 26 is in SpecVectorTests.
final class StreamFurtherConformanceTests: XCTestCase {
  /// What the responder of an in-band handshake sends, and a fresh initiator that can take it.
  private func responderBytes(_ pattern: NoisePattern) throws -> [UInt8] {
    let pair = StreamPair()
    let network = pair.network
    let a = makeInitiator(pair.environment, pattern)
    let (pipeA, pipeB) = PipeTransport.pair(pair.environment)
    try a.startInBand(transport: pipeA, pattern: pattern, keyPair: keyPair(1), ephemeral: keyPair(3))
    try pair.b.startInBand(transport: pipeB, pattern: pattern, keyPair: keyPair(2), ephemeral: keyPair(4))
    for text in ["one", "", "three"] { pair.b.write(Array(text.utf8)) }
    network.advance(by: 1)
    return pipeB.sent
  }

  private func makeInitiator(_ environment: any Environment, _ pattern: NoisePattern) -> EncryptedStream {
    EncryptedStream(
      environment: environment, isInitiator: true, remotePublicKey: pattern == .ik ? keyPair(2).publicKey : nil)
  }

  func testSS_27_everythingInOneReadAndEveryCut() throws {
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    let bytes = try responderBytes(.ik)
    for cut in 0...bytes.count {
      let stream = makeInitiator(environment, .ik)
      let record = Recorder(stream)
      let wire = WireTransport(environment)
      try stream.startInBand(transport: wire, pattern: .ik, keyPair: keyPair(1), ephemeral: keyPair(3))
      if cut > 0 { wire.feed(Array(bytes[..<cut])) }
      if cut < bytes.count { wire.feed(Array(bytes[cut...])) }
      XCTAssertEqual(record.texts, ["one", "", "three"], "cut at \(cut)")
      XCTAssertEqual(record.events.prefix(4), ["handshake", "open", "header", "authenticated"], "cut at \(cut)")
    }
  }

  func testSS_28_dataBeforeOurOwnHeaderIsFlushed() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.start(transport: wire, keys: pair.keysA)
    pair.a.write(Array("early".utf8))
    pair.run()
    let other = WireTransport(pair.environment)
    pair.b.onHandshake = { [unowned self] in
      // The peer's bytes come while the own header is not even made.
      _ = self
      other.feed(wire.written)
    }
    pair.b.start(transport: other, keys: pair.keysB)
    pair.run()
    XCTAssertEqual(pair.recordB.texts.last, "early")
    XCTAssertEqual(frames(other.written).map(\.count), [56])
  }

  func testSS_29_tags() {
    let key = bytes32("36e72ba85cd0a2b5e7c9f44704a1757d7230c30dd39736e46f2190fcd1300c13")
    let header = Array(UInt8(0x40)...0x57)
    let bodies = [
      "82d15c35d2d9345e72da33a4744e29e7a138308cb477", "67c66bbf81eaf2155f120a11d6d20c32b0257f1f894e",
      "8684b35a1daf2819c0e570074dad84de1b3c645f8eda", "ebc1274b0eba45e5e18bb46c6fc63e44b68b4d55d728",
      "245f8ab25d1e7f68631971db270cdcf67d704409afec",
    ].map(hex)
    let sealer = key.withUnsafePointer { FrameCipher(key: $0, header: header) }
    let opener = key.withUnsafePointer { FrameCipher(key: $0, header: header) }
    let hello = Array("hello".utf8)
    for (tag, body) in zip([FrameTag.message, .rekey, .message, .final, .message], bodies) {
      var out = [UInt8](repeating: 0, count: hello.count + Limits.Stream.frameOverhead)
      out.withUnsafeMutableBytes { target in
        hello.withUnsafeBytes { message in
          if let base = target.baseAddress { sealer.seal(message, tag: tag, to: base) }
        }
      }
      XCTAssertEqual(out, frame(body))
      var plain = [UInt8](repeating: 0, count: hello.count)
      let opened = plain.withUnsafeMutableBytes { target in
        body.withUnsafeBytes { opener.open($0, to: target.baseAddress) }
      }
      XCTAssertEqual(opened, tag.rawValue)
      XCTAssertEqual(plain, hello)
    }
  }

  /// A stream delivers messages of any tag, also after FINAL, and remembers that FINAL was seen.
  func testSS_29_tagsThroughAStream() {
    let pair = StreamPair()
    pair.a.sendsConfirmation = false
    pair.start()
    pair.run()
    let hello = Array("hello".utf8)
    for tag in [FrameTag.message, .push, .rekey, .message, .final, .message] {
      hello.withUnsafeBytes { pair.a.seal($0, tag: tag) }
    }
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[UInt8]](repeating: hello, count: 6))
    XCTAssertTrue(pair.b.receivedFinal)
    XCTAssertEqual(pair.recordB.closeCount, 0)
  }

  func testSS_30_maximumMessage() {
    let pair = StreamPair()
    pair.pipeA.keepsSent = false
    pair.start()
    pair.run()
    pair.recordB.keepsMessages = false
    pair.a.write([UInt8](repeating: 0xab, count: 16_777_198))
    pair.run()
    XCTAssertEqual(pair.recordB.messageBytes, 16_777_198)
    XCTAssertEqual(pair.recordA.closeCount, 0)
    pair.a.write([UInt8](repeating: 0xab, count: 16_777_199))
    pair.run()
    XCTAssertEqual(pair.recordA.error, .messageTooLarge)
    // Before the keys exist as well.
    let fresh = EncryptedStream(environment: pair.environment, isInitiator: true)
    let record = Recorder(fresh)
    fresh.write([UInt8](repeating: 0, count: 16_777_199))
    pair.run()
    XCTAssertEqual(record.error, .messageTooLarge)
  }

  func testSS_30_configurableCap() {
    let pair = StreamPair()
    pair.b.maximumFrame = 1_000
    pair.start()
    pair.a.write([UInt8](repeating: 1, count: 983))
    pair.run()
    XCTAssertEqual(pair.recordB.messages.last?.count, 983)
    pair.a.write([UInt8](repeating: 1, count: 984))
    pair.run()
    XCTAssertEqual(pair.recordB.error, .frameTooLarge)
  }

  func testSS_31_zeroLengthFrameFailsAtOnce() throws {
    let pair = StreamPair()
    for pattern in [NoisePattern.xx, .ik] {
      let stream = EncryptedStream(environment: pair.environment, isInitiator: false)
      let wire = WireTransport(pair.environment)
      try stream.startInBand(transport: wire, pattern: pattern, keyPair: keyPair(2))
      wire.feed([0, 0, 0])
      XCTAssertTrue(stream.isDestroying)
      XCTAssertEqual(stream.closeError, .handshakeFailed(.messageTooShort))
    }
    let keyed = EncryptedStream(environment: pair.environment, isInitiator: false)
    let keyedWire = WireTransport(pair.environment)
    keyed.start(transport: keyedWire, keys: pair.keysB)
    keyedWire.feed([0, 0, 0])
    XCTAssertEqual(keyed.closeError, .invalidHeaderLength)

    let wire = WireTransport(pair.environment)
    pair.a.sendsConfirmation = false
    pair.a.start(transport: wire, keys: pair.keysA)
    let open = EncryptedStream(environment: pair.environment, isInitiator: false)
    let openWire = WireTransport(pair.environment)
    open.start(transport: openWire, keys: pair.keysB)
    open.onMessage = { _ in }
    openWire.feed(wire.written)
    XCTAssertFalse(open.isDestroying)
    openWire.feed([0, 0, 0])
    XCTAssertEqual(open.closeError, .invalidMessage)
    pair.run()
  }

  func testSS_32_headers() {
    let pair = StreamPair()
    // Reflected: the stream's own header comes back.
    let wire = WireTransport(pair.environment)
    pair.b.start(transport: wire, keys: pair.keysB)
    wire.feed(wire.written)
    pair.run()
    XCTAssertEqual(pair.recordB.error, .invalidHeader)
    XCTAssertFalse(pair.recordB.events.contains("header"))
    // One flipped bit in the 24 bytes of the secretstream header shows at the first message.
    let other = StreamPair()
    other.a.sendsConfirmation = false
    other.pipeA.tamper = { bytes, offset in if offset == 0 { bytes[3 + 32 + 5] ^= 1 } }
    other.start()
    other.run()
    XCTAssertEqual(other.recordB.events, ["handshake", "open", "header"])
    other.a.write([1])
    other.run()
    XCTAssertEqual(other.recordB.error, .decryptionFailed)
    XCTAssertFalse(other.recordB.events.contains("authenticated"))
  }

  private let badPoints = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "572727302e00128a6ac4b13774999d45c7c7ccee60ae0e59dcca75495227b567",
  ]

  func testSS_33_badPoints() throws {
    for point in badPoints {
      XCTAssertNil(multiply(NoiseKey(keyPair(1)), bytes32(point)), point)
      // As the responder's static key.
      var a = try NoiseHandshake(
        pattern: .ik, isInitiator: true, keyPair: keyPair(1), remotePublicKey: bytes32(point), ephemeral: keyPair(3))
      XCTAssertThrowsError(try a.send(), point) { XCTAssertEqual($0 as? NoiseError, .invalidKey) }
      // As the initiator's ephemeral key.
      var b = try NoiseHandshake(pattern: .ik, isInitiator: false, keyPair: keyPair(2), ephemeral: keyPair(4))
      XCTAssertThrowsError(try b.receive(hex(point) + [UInt8](repeating: 0, count: 64)), point) {
        XCTAssertEqual($0 as? NoiseError, .invalidKey)
      }
      // As the initiator's static key: an initiator that claims the point.
      let zero = [UInt8](repeating: 1, count: 32)
      let claimed = try XCTUnwrap(zero.withUnsafeBytes { NoiseKey(publicKey: bytes32(point), scalar: $0) })
      var liar = try NoiseHandshake(
        pattern: .ik, isInitiator: true, staticKey: claimed, remotePublicKey: keyPair(2).publicKey,
        ephemeral: NoiseKey(keyPair(3)))
      let message = try liar.send()
      XCTAssertThrowsError(try b.receive(message), point) { XCTAssertEqual($0 as? NoiseError, .invalidKey) }
    }
    // The negative of a good key is a good key.
    var negative = keyPair(2).publicKey.bytes
    negative[31] ^= 0x80
    XCTAssertNotNil(multiply(NoiseKey(keyPair(1)), try XCTUnwrap(Bytes32(negative))))
    let nothing = [UInt8](repeating: 0, count: 32)
    let zeroScalar = try XCTUnwrap(nothing.withUnsafeBytes { NoiseKey(publicKey: Bytes32(), scalar: $0) })
    XCTAssertNil(multiply(zeroScalar, keyPair(2).publicKey))
  }

  func testSS_33_badEphemeralThroughAStream() throws {
    for point in badPoints {
      let pair = StreamPair()
      try pair.b.startInBand(transport: pair.pipeB, pattern: .xx, keyPair: keyPair(2))
      pair.pipeA.write(OwnedBuffer(frame(hex(point))), nil)
      pair.run()
      XCTAssertEqual(pair.recordB.error, .handshakeFailed(.invalidKey), point)
    }
  }

  func testSS_34_ikToTheWrongKey() throws {
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    let a = EncryptedStream(environment: environment, isInitiator: true, remotePublicKey: keyPair(9).publicKey)
    let b = EncryptedStream(environment: environment, isInitiator: false)
    let (recordA, recordB) = (Recorder(a), Recorder(b))
    let (pipeA, pipeB) = PipeTransport.pair(environment)
    try a.startInBand(transport: pipeA, pattern: .ik, keyPair: keyPair(1))
    try b.startInBand(transport: pipeB, pattern: .ik, keyPair: keyPair(2))
    network.advance(by: 1)
    XCTAssertEqual(recordB.error, .handshakeFailed(.decryptionFailed))
    XCTAssertEqual(recordA.error, .transport(.reset))
    let keyless = EncryptedStream(environment: environment, isInitiator: true)
    let unused = WireTransport(environment)
    XCTAssertThrowsError(try keyless.startInBand(transport: unused, pattern: .ik, keyPair: keyPair(1))) {
      XCTAssertEqual($0 as? NoiseError, .missingRemoteKey)
    }
    XCTAssertFalse(unused.wasDestroyed)
  }

  /// Better than the reference: an expected key is checked with XX as well.
  func testSS_34_xxWithAnotherKeyThanExpected() throws {
    for isExpecting in [true, false] {
      let network = VirtualNetwork(seed: 1)
      let environment = network.makeHost()
      let wrong = keyPair(9).publicKey
      let a = EncryptedStream(environment: environment, isInitiator: true, remotePublicKey: isExpecting ? wrong : nil)
      let b = EncryptedStream(environment: environment, isInitiator: false, remotePublicKey: isExpecting ? nil : wrong)
      let (recordA, recordB) = (Recorder(a), Recorder(b))
      let (pipeA, pipeB) = PipeTransport.pair(environment)
      try a.startInBand(transport: pipeA, keyPair: keyPair(1))
      try b.startInBand(transport: pipeB, keyPair: keyPair(2))
      network.advance(by: 1)
      XCTAssertEqual(isExpecting ? recordA.error : recordB.error, .remoteKeyMismatch)
      XCTAssertEqual(isExpecting ? recordB.error : recordA.error, .transport(.reset))
    }
  }

  func testSS_35_emptyMessages() {
    let pair = StreamPair()
    pair.a.sendsConfirmation = false
    pair.start()
    pair.run()
    pair.a.write([])
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[]], "keepalive off: delivered")
    pair.b.keepAlive = 5_000
    pair.a.write([])
    pair.a.sendKeepAlive()
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[]], "keepalive on: swallowed")
    pair.b.end()
    XCTAssertEqual(pair.b.keepAlive, 0)
    pair.a.write([])
    pair.a.write([1])
    pair.run()
    XCTAssertEqual(pair.recordB.messages, [[], [1]], "still swallowed after the local end")
  }

  func testSS_36_datagramEdges() {
    let (keysA, keysB) = StreamPair.keys()
    var a = DatagramCipher(keys: keysA, start: .max - 2)
    var b = DatagramCipher(keys: keysB, start: 0)
    func open(_ bytes: [UInt8]) -> Int? {
      var out = [UInt8](repeating: 0, count: max(bytes.count, 1))
      let received = out.withUnsafeMutableBytes { target in
        bytes.withUnsafeBytes { source in target.baseAddress.map { b.open(source, to: $0) } }
      }
      if case .message(let count) = received { return count }
      return nil
    }
    XCTAssertNil(open([]))
    XCTAssertNil(open([UInt8](repeating: 0, count: 24)))
    var sealed: [[UInt8]] = []
    for count in 0..<6 { sealed.append(a.seal([UInt8](repeating: 7, count: count)) ?? []) }
    XCTAssertEqual(sealed[0].count, 24)
    XCTAssertEqual(Array(sealed[2].prefix(8)), [UInt8](repeating: 0, count: 8), "wrapped")
    // Out of order across the wrap, each once.
    for index in [1, 0, 3, 2, 5, 4] { XCTAssertEqual(open(sealed[index]), index) }
    for bytes in sealed { XCTAssertNil(open(bytes), "replay") }
  }

  func testSS_36_datagramNonceExhaustion() throws {
    let (keysA, _) = StreamPair.keys()
    var cipher = DatagramCipher(keys: keysA, start: 5)
    for _ in 0..<3 { XCTAssertNotNil(cipher.seal([])) }
    // 2^64 steps cannot be walked: the state one step before the end.
    var last = DatagramCipher(keys: keysA, start: 5, next: 4)
    XCTAssertNil(last.seal([1]))
  }

  func testSS_37_peerEndsRightAfterMessageOne() throws {
    for pattern in [NoisePattern.xx, .ik] {
      let network = VirtualNetwork(seed: 1)
      let environment = network.makeHost()
      let a = EncryptedStream(environment: environment, isInitiator: true, remotePublicKey: keyPair(2).publicKey)
      let record = Recorder(a)
      let wire = WireTransport(environment)
      try a.startInBand(transport: wire, pattern: pattern, keyPair: keyPair(1))
      wire.onEnd?()
      network.advance(by: 1)
      XCTAssertEqual(record.error, .endedDuringHandshake)
      XCTAssertEqual(record.closeCount, 1)
    }
  }

  func testSS_37_handshakeDeadline() throws {
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    let silent = EncryptedStream(environment: environment, isInitiator: false)
    let record = Recorder(silent)
    try silent.startInBand(transport: WireTransport(environment), keyPair: keyPair(2))
    // Keys from elsewhere, but no header of the peer.
    let headless = EncryptedStream(environment: environment, isInitiator: false)
    headless.handshakeTimeout = 5_000
    let other = Recorder(headless)
    headless.start(transport: WireTransport(environment), keys: StreamPair.keys().1)
    network.advance(by: 4_990)
    XCTAssertEqual(other.closeCount, 0)
    network.advance(by: 20)
    XCTAssertEqual(other.error, .handshakeTimedOut)
    network.advance(by: Limits.Stream.handshakeTimeout - 5_020)
    XCTAssertEqual(record.closeCount, 0)
    network.advance(by: 20)
    XCTAssertEqual(record.error, .handshakeTimedOut)
    // A finished one is left alone.
    let pair = StreamPair()
    pair.start()
    pair.run(Limits.Stream.handshakeTimeout * 2)
    XCTAssertEqual(pair.recordA.closeCount, 0)
    XCTAssertEqual(pair.network.pendingEventCount, 0, "no timer is left")
  }

  /// hyperdht.md 9.3 needs to know of anything that arrives, also of an empty datagram.
  func testTransportActivity() throws {
    let lab = try UDXPair()
    let (keysA, keysB) = StreamPair.keys()
    let a = EncryptedStream(environment: lab.hostA, isInitiator: true)
    let b = EncryptedStream(environment: lab.hostB, isInitiator: false)
    let recordB = Recorder(b)
    b.receivesDatagrams = false
    a.start(transport: lab.transportA, keys: keysA)
    b.start(transport: lab.transportB, keys: keysB)
    lab.network.advance(by: 10)
    var count = 0
    b.onTransportActivity = { count += 1 }
    lab.transportA.sendMessage([])
    lab.network.advance(by: 10)
    XCTAssertEqual(count, 1)
    a.write([1])
    lab.network.advance(by: 10)
    XCTAssertEqual(count, 2)
    b.onTransportActivity = { [unowned b] in b.destroy() }
    a.write([2])
    lab.network.advance(by: 10)
    XCTAssertEqual(recordB.messages, [[], [1]])
    XCTAssertEqual(recordB.closeCount, 1)
  }
}
