import HyperCrypto
import HyperEncoding
import HyperNoise
import HyperRuntime
import XCTest

/// Secret streams over a pair of transports in memory.
final class SecretStreamTests: XCTestCase {
  func testXXShowsBothSidesTheOther() async throws {
    let (alice, bob) = (KeyPair.random(), KeyPair.random())
    let (a, b) = try streams(.init(keyPair: alice), .init(keyPair: bob))
    XCTAssertEqual(a.publicKey, alice.publicKey)
    XCTAssertNil(a.handshakeHash)
    try await a.opened()
    try await b.opened()
    XCTAssertEqual(a.remotePublicKey, bob.publicKey)
    XCTAssertEqual(b.remotePublicKey, alice.publicKey)
    XCTAssertEqual(a.handshakeHash, b.handshakeHash)
    XCTAssertNotNil(a.handshakeHash)
    XCTAssertTrue(a.isInitiator && !b.isInitiator && a.isOpen && b.isOpen)
    // Each has a fresh message of the other in its handshake.
    XCTAssertTrue(a.isPeerProven && b.isPeerProven)
    let hash = try XCTUnwrap(a.handshakeHash)
    XCTAssertNotEqual(
      SecretStream.id(handshakeHash: hash, isInitiator: true), SecretStream.id(handshakeHash: hash, isInitiator: false))
    XCTAssertTrue(a.description.hasPrefix("SecretStream(initiator, open, peer: "), a.description)
    a.userData = 7
    XCTAssertEqual(a.userData as? Int, 7)
    a.destroy()
    b.destroy()
  }

  func testMessagesKeepTheirBoundaries() async throws {
    let (a, b) = try streams()
    // Before the handshake is done.
    try await a.write("early")
    try await a.write([])
    try await a.write([UInt8](repeating: 7, count: 300_000))
    a.end()
    var received: [Int] = []
    for try await message in b.inbound { received.append(message.count) }
    XCTAssertEqual(received, [5, 0, 300_000])
    // Half-open: the other half goes on.
    try await b.write("answer")
    let answer = try await a.read()
    XCTAssertEqual(text(answer), "answer")
    b.end()
    let nothing = try await a.read()
    XCTAssertNil(nothing)
    let reasons = [try await a.waitUntilClosed(), try await b.waitUntilClosed()]
    XCTAssertEqual(reasons, [nil, nil])
    let late = await failure { () async throws(SecretStreamError) in try await a.write("late") }
    XCTAssertEqual(late, .closed)
    let large = [UInt8](repeating: 0, count: SecretStream.maximumMessageSize + 1)
    let refused = await failure { () async throws(SecretStreamError) in try await b.write(large) }
    XCTAssertEqual(refused, .messageTooLarge(large.count))
  }

  func testIKProvesTheAnsweringSideAtOnceAndTheOtherWithItsFirstMessage() async throws {
    let bob = KeyPair.random()
    let (a, b) = try streams(
      .init(pattern: .ik, remotePublicKey: bob.publicKey), .init(pattern: .ik, keyPair: bob))
    XCTAssertEqual(a.remotePublicKey, bob.publicKey)
    try await a.opened()
    try await b.opened()
    XCTAssertTrue(a.isPeerProven)
    XCTAssertFalse(b.isPeerProven)
    try await a.write("it is me")
    try await b.waitUntilPeerProven()
    XCTAssertTrue(b.isPeerProven)
    for stream in [a, b] { stream.destroy() }
  }

  func testIKCanProveAtOnce() async throws {
    let bob = KeyPair.random()
    var options = SecretStream.Options(pattern: .ik, remotePublicKey: bob.publicKey)
    options.provesKeyAtOnce = true
    let (a, b) = try streams(options, .init(pattern: .ik, keyPair: bob, keepAlive: .seconds(60)))
    try await b.waitUntilPeerProven()
    // Not a message of the program.
    try await a.write("first")
    let first = try await b.read()
    XCTAssertEqual(text(first), "first")
    for stream in [a, b] { stream.destroy() }
  }

  func testIKNeedsTheKey() async throws {
    XCTAssertThrowsError(try streams(.init(pattern: .ik))) {
      XCTAssertEqual($0 as? SecretStreamError, .missingRemoteKey)
    }
  }

  func testAnotherKeyThanTheExpectedOneFails() async throws {
    let expected = KeyPair.random().publicKey
    let (a, b) = try streams(.init(remotePublicKey: expected))
    let failed = await failure { () async throws(SecretStreamError) in try await a.opened() }
    XCTAssertEqual(failed, .remoteKeyMismatch)
    let other = try await b.waitUntilClosed()
    XCTAssertNotNil(other)
    // With IK the answering side cannot read the first message.
    let (c, d) = try streams(.init(pattern: .ik, remotePublicKey: expected), .init(pattern: .ik))
    let answer = await failure { () async throws(SecretStreamError) in try await d.opened() }
    XCTAssertEqual(answer?.code, "HANDSHAKE_FAILED")
    let asked = await failure { () async throws(SecretStreamError) in try await c.opened() }
    XCTAssertNotNil(asked)
  }

  func testKeysOfAnotherHandshake() async throws {
    let (alice, bob) = (KeyPair.random().publicKey, KeyPair.random().publicKey)
    let (there, back) = (KeyPair.random().publicKey, KeyPair.random().publicKey)
    let hash = try XCTUnwrap(Bytes64([UInt8](repeating: 3, count: 64)))
    var (first, second) = (SecretStream.Options(), SecretStream.Options())
    first.keys = SecretStream.Keys(
      sendKey: there, receiveKey: back, handshakeHash: hash, publicKey: alice, remotePublicKey: bob)
    second.keys = SecretStream.Keys(
      sendKey: back, receiveKey: there, handshakeHash: hash, publicKey: bob, remotePublicKey: alice)
    let (a, b) = try streams(first, second)
    try await a.write("no handshake")
    let message = try await b.read()
    // The proof that the beginning side sends at once is an empty message, and this side has no keep-alive.
    XCTAssertEqual(message, [])
    let next = try await b.read()
    XCTAssertEqual(text(next), "no handshake")
    XCTAssertTrue(b.isPeerProven)
    XCTAssertFalse(a.isPeerProven)
    XCTAssertEqual(a.handshakeHash, hash)
    XCTAssertEqual(b.remotePublicKey, alice)
    for stream in [a, b] { stream.destroy() }
  }

  func testAReaderThatDoesNotReadHoldsTheWriterBack() async throws {
    let (a, b) = try streams()
    try await a.opened()
    try await b.opened()
    let sent = Locked(0)
    let writing = Task {
      for index in 0..<200 {
        try await a.write([UInt8](repeating: UInt8(index), count: 65_536))
        sent.withLock { $0 += 1 }
      }
      a.end()
    }
    var last = -1
    try await eventually("the writer waits") {
      try? await Task.sleep(for: .milliseconds(50))
      let now = sent.withLock { $0 }
      defer { last = now }
      return now == last && now > 0
    }
    XCTAssertLessThan(sent.withLock { $0 }, 100, "12.5 MiB do not fit anywhere")
    var count = 0
    for try await message in b.inbound {
      XCTAssertEqual(message, [UInt8](repeating: UInt8(count), count: 65_536))
      count += 1
    }
    XCTAssertEqual(count, 200)
    try await writing.value
    b.end()
    try await eventually("closed") { a.isClosed && b.isClosed }
  }

  func testWriteWithoutWaitingSaysWhenToWait() async throws {
    let (a, b) = try streams()
    var told = false
    for _ in 0..<40 where !told { told = try a.writeWithoutWaiting([UInt8](repeating: 1, count: 100_000)) }
    XCTAssertTrue(told)
    let reading = Task {
      var count = 0
      for try await message in b.inbound { count += message.count }
      return count
    }
    try await a.drained()
    try await a.flush()
    a.end()
    let count = try await reading.value
    XCTAssertGreaterThan(count, 1_000_000)
    let statistics = await a.statistics()
    XCTAssertEqual(statistics.messageBytesSent, UInt64(count))
    b.destroy()
  }

  func testKeepAliveAndTimeout() async throws {
    let (a, b) = try streams(.init(keepAlive: .milliseconds(20)), .init(keepAlive: .seconds(30)))
    try await a.opened()
    var interval = await a.keepAlive()
    XCTAssertEqual(interval, .milliseconds(20))
    try await eventually("keep-alives") { await b.statistics().messagesReceived > 3 }
    a.sendKeepAlive()
    a.setKeepAlive(.zero)
    interval = await a.keepAlive()
    XCTAssertEqual(interval, .zero)
    // None of them was a message.
    try await a.write("word")
    let message = try await b.read()
    XCTAssertEqual(text(message), "word")
    b.setTimeout(.milliseconds(50))
    let limit = await b.timeout()
    XCTAssertEqual(limit, .milliseconds(50))
    let reason = try await b.waitUntilClosed()
    XCTAssertEqual(reason, .timedOut)
    let other = try await a.waitUntilClosed()
    XCTAssertEqual(other, .reset)
  }

  func testAHandshakeHasATimeLimit() async throws {
    let (a, silent) = MemoryTransport.pair()
    var options = SecretStream.Options()
    options.handshakeTimeout = .milliseconds(50)
    let stream = try SecretStream(isInitiator: true, over: a, options)
    let failed = await failure { () async throws(SecretStreamError) in try await stream.opened() }
    XCTAssertEqual(failed, .handshakeTimedOut)
    silent.destroy()
  }

  func testWaitingCallsCanBeCancelled() async throws {
    let (a, b) = try streams()
    try await a.opened()
    let reading = Task { await failure { () async throws(SecretStreamError) in _ = try await a.read() } }
    reading.cancel()
    let cancelled = await reading.value
    XCTAssertEqual(cancelled, .cancelled)
    // The stream goes on.
    try await b.write("still here")
    let message = try await a.read()
    XCTAssertEqual(text(message), "still here")
    for stream in [a, b] { stream.destroy() }
  }

  func testAMessageAboveTheBoundEndsTheStream() async throws {
    var small = SecretStream.Options()
    small.maximumMessageSize = 1000
    let (a, b) = try streams(.init(), small)
    try await a.write([UInt8](repeating: 1, count: 1000))
    let message = try await b.read()
    XCTAssertEqual(message?.count, 1000)
    try await a.write([UInt8](repeating: 1, count: 1001))
    let failed = await failure { () async throws(SecretStreamError) in _ = try await b.read() }
    XCTAssertEqual(failed, .invalidMessage)
  }

  /// Not only that it has.
  func testFlushSaysWhyTheStreamHasClosed() async throws {
    let (a, b) = try streams()
    try await a.opened()
    try await b.opened()
    // More than the windows of a peer that does not read: it keeps the first few.
    for _ in 0..<24 { try a.writeWithoutWaiting([UInt8](repeating: 1, count: 1 << 20)) }
    let flush = Task { await failure { () async throws(SecretStreamError) in try await a.flush() } }
    b.destroy()
    let failed = await flush.value
    XCTAssertEqual(failed, .reset)
  }

  func testTheLastReferenceSendsWhatWasWritten() async throws {
    let (a, b) = MemoryTransport.pair()
    let bob = try SecretStream(isInitiator: false, over: b)
    do {
      let alice = try SecretStream(isInitiator: true, over: a)
      try await alice.write("last words")
    }
    let words = try await bob.read()
    XCTAssertEqual(text(words), "last words")
    let end = try await bob.read()
    XCTAssertNil(end)
    await bob.close()
  }

  func testALoopThatEndsClosesItsStreams() async throws {
    let loop = try UVEventLoop.startThread()
    let (a, b) = try streams(.init(loop: loop), .init())
    try await a.opened()
    await loop.shutdown()
    XCTAssertTrue(a.isClosed)
    let reason = try await b.waitUntilClosed()
    XCTAssertEqual(reason, .reset)
    XCTAssertThrowsError(try streams(.init(loop: loop))) { XCTAssertEqual($0 as? SecretStreamError, .closed) }
  }
}
