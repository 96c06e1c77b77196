import HyperCrypto
import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Rules of the handshake value that no vector shows.
final class NoiseHandshakeTests: XCTestCase {
  private func pair(
    _ pattern: NoisePattern, psk: (Bytes32?, Bytes32?) = (nil, nil)
  ) throws -> (NoiseHandshake, NoiseHandshake) {
    (
      try NoiseHandshake(
        pattern: pattern, isInitiator: true, keyPair: keyPair(1), remotePublicKey: keyPair(2).publicKey,
        ephemeral: keyPair(3), preSharedKey: psk.0),
      try NoiseHandshake(
        pattern: pattern, isInitiator: false, keyPair: keyPair(2), ephemeral: keyPair(4), preSharedKey: psk.1)
    )
  }

  /// Every bit of every message: a changed message fails, here or at the next step, and the honest one still goes
  /// through on the same value afterwards.
  func testForgedMessagesDoNotSpoilTheState() throws {
    for pattern in [NoisePattern.ik, .xx] {
      var (a, b) = try pair(pattern)
      for index in 0..<pattern.messages.count {
        let isFromA = index % 2 == 0
        let message = isFromA ? try a.send(payload: [1, 2, 3]) : try b.send(payload: [1, 2, 3])
        var receiver = isFromA ? b : a
        let before = receiver.symmetricState.snapshot.hash
        for byte in message.indices {
          var forged = message
          forged[byte] ^= 1 << UInt8(byte % 8)
          // The first message of XX is not authenticated: it fails one step later.
          if pattern == .xx, index == 0 { continue }
          XCTAssertThrowsError(try receiver.receive(forged), "\(pattern) message \(index + 1) byte \(byte)")
        }
        for count in 0..<message.count where !(pattern == .xx && index == 0 && count >= 32) {
          XCTAssertThrowsError(try receiver.receive(Array(message[..<count])), "\(pattern) cut to \(count)")
        }
        XCTAssertEqual(receiver.symmetricState.snapshot.hash, before)
        XCTAssertFalse(receiver.isComplete)
        XCTAssertEqual(try receiver.receive(message), [1, 2, 3])
        if isFromA { b = receiver } else { a = receiver }
      }
      XCTAssertEqual(a.sessionKeys()?.sendKey, b.sessionKeys()?.receiveKey)
      XCTAssertNotEqual(a.sessionKeys()?.sendKey, a.sessionKeys()?.receiveKey)
    }
  }

  func testCopiesAreIndependent() throws {
    var (a, b) = try pair(.ik)
    let first = try a.send()
    let saved = b
    XCTAssertEqual(try b.receive(first), [])
    let answer = try b.send()
    XCTAssertTrue(b.isComplete)
    XCTAssertFalse(saved.isComplete)
    var replayed = saved
    XCTAssertEqual(try replayed.receive(first), [])
    XCTAssertEqual(try replayed.send(), answer, "same ephemeral, same bytes")
    var tried = a
    XCTAssertThrowsError(try tried.receive([UInt8](repeating: 0, count: 48)))
    XCTAssertEqual(try a.receive(answer), [])
    XCTAssertEqual(a.sessionKeys()?.handshakeHash, b.sessionKeys()?.handshakeHash)
  }

  func testOutOfTurn() throws {
    var (a, b) = try pair(.ik)
    XCTAssertThrowsError(try b.send()) { XCTAssertEqual($0 as? NoiseError, .outOfTurn) }
    XCTAssertThrowsError(try a.receive([])) { XCTAssertEqual($0 as? NoiseError, .outOfTurn) }
    XCTAssertTrue(a.isMyTurn)
    XCTAssertEqual(a.nextMessageMinimumSize, 96)
    XCTAssertEqual(try b.receive(try a.send()), [])
    XCTAssertEqual(a.nextMessageMinimumSize, 48)
    XCTAssertThrowsError(try a.send()) { XCTAssertEqual($0 as? NoiseError, .outOfTurn) }
    XCTAssertEqual(try a.receive(try b.send()), [])
    XCTAssertNil(a.nextMessageMinimumSize)
    XCTAssertFalse(a.isMyTurn)
    XCTAssertThrowsError(try a.send()) { XCTAssertEqual($0 as? NoiseError, .outOfTurn) }
    XCTAssertThrowsError(try b.receive([1])) { XCTAssertEqual($0 as? NoiseError, .outOfTurn) }
  }

  func testMessageSizes() throws {
    XCTAssertEqual((0..<2).map(NoisePattern.ik.minimumSize), [96, 48])
    XCTAssertEqual((0..<3).map(NoisePattern.xx.minimumSize), [32, 96, 64])
    XCTAssertEqual((0..<2).map(NoisePattern.nn.minimumSize), [32, 48])
    XCTAssertEqual((0..<2).map(NoisePattern.nnPSK0.minimumSize), [48, 48])
    XCTAssertEqual((0..<3).map(NoisePattern.xxPSK0.minimumSize), [48, 96, 64])
    for pattern in [NoisePattern.ik, .xx, .nn, .nnPSK0, .xxPSK0] {
      let psk = pattern.usesPreSharedKey ? Bytes32(repeating: 9) : nil
      var (a, b) = try pair(pattern, psk: (psk, psk))
      for index in 0..<pattern.messages.count {
        let message = index % 2 == 0 ? try a.send() : try b.send()
        XCTAssertEqual(message.count, pattern.minimumSize(ofMessage: index), "\(pattern) \(index)")
        if index % 2 == 0 { _ = try b.receive(message) } else { _ = try a.receive(message) }
      }
      XCTAssertEqual(a.sessionKeys()?.sendKey, b.sessionKeys()?.receiveKey)
      XCTAssertEqual(a.sessionKeys()?.receiveKey, b.sessionKeys()?.sendKey)
    }
  }

  func testPreSharedKeysMustAgree() throws {
    XCTAssertThrowsError(try pair(.nnPSK0)) { XCTAssertEqual($0 as? NoiseError, .preSharedKeyMismatch) }
    let one = Bytes32(repeating: 1)
    XCTAssertThrowsError(try pair(.xx, psk: (one, one))) { XCTAssertEqual($0 as? NoiseError, .preSharedKeyMismatch) }
    var (a, b) = try pair(.xxPSK0, psk: (one, Bytes32(repeating: 2)))
    XCTAssertThrowsError(try b.receive(try a.send())) { XCTAssertEqual($0 as? NoiseError, .decryptionFailed) }
  }

  func testPayloadLimits() throws {
    var (a, b) = try pair(.ik)
    XCTAssertThrowsError(try a.send(payload: [UInt8](repeating: 0, count: 65_520))) {
      XCTAssertEqual($0 as? NoiseError, .payloadTooLarge)
    }
    let message = try a.send(payload: [UInt8](repeating: 7, count: 65_519))
    XCTAssertEqual(message.count, 96 + 65_519)
    XCTAssertThrowsError(try b.receive(message + [0])) { XCTAssertEqual($0 as? NoiseError, .payloadTooLarge) }
    XCTAssertEqual(try b.receive(message).count, 65_519)
  }

  /// A tweaked key: an explicit scalar gives the same handshake as the key pair it came from, unclamped.
  func testRawScalars() throws {
    let clamped = NoiseKey(keyPair(2))
    let raw = try XCTUnwrap(
      NoiseKey(publicKey: keyPair(2).publicKey, scalar: UnsafeRawBufferPointer(start: clamped.scalar.base, count: 32)))
    var a = try NoiseHandshake(
      pattern: .ik, isInitiator: true, keyPair: keyPair(1), remotePublicKey: raw.publicKey, ephemeral: keyPair(3))
    var b = try NoiseHandshake(
      pattern: .ik, isInitiator: false, staticKey: raw, ephemeral: NoiseKey(keyPair(4)))
    _ = try b.receive(try a.send())
    _ = try a.receive(try b.send())
    XCTAssertEqual(a.sessionKeys()?.sendKey, b.sessionKeys()?.receiveKey)
    let short = [UInt8](repeating: 1, count: 31)
    XCTAssertNil(short.withUnsafeBytes { NoiseKey(publicKey: Bytes32(), scalar: $0) })
    // The scalar 1 gives the peer's point itself: nothing was clamped.
    var one = [UInt8](repeating: 0, count: 32)
    one[0] = 1
    let identity = try XCTUnwrap(one.withUnsafeBytes { NoiseKey(publicKey: Bytes32(), scalar: $0) })
    XCTAssertEqual(multiply(identity, keyPair(2).publicKey), keyPair(2).publicKey.bytes)
  }

  func testSecretsAreWipedAndReleased() throws {
    weak var memory: WipedMemory?
    try {
      var (a, b) = try pair(.ik)
      _ = try b.receive(try a.send())
      _ = try a.receive(try b.send())
      XCTAssertEqual(a.symmetricState.snapshot.chainingKey, [UInt8](repeating: 0, count: 64))
      XCTAssertNil(a.symmetricState.snapshot.key)
      let key = NoiseKey(keyPair(5))
      memory = key.scalar
      XCTAssertNotNil(memory)
    }()
    XCTAssertNil(memory)
    // What the destructor does, seen from inside its own memory.
    let scratch: [UInt8] = withSecretScratch(8) { base in
      base.update(repeating: 0xee, count: 8)
      return Array(UnsafeBufferPointer(start: base, count: 8))
    }
    XCTAssertEqual(scratch, [UInt8](repeating: 0xee, count: 8))
    let first = WipedMemory(count: 4)
    first.base[2] = 5
    let second = first.copy()
    second.base[2] = 6
    XCTAssertEqual(first.base[2], 5)
  }

  /// Keys of a handshake do not depend on the prologue, hash and tags do (secret-stream.md 5).
  func testPrologueBindsTheHashOnly() throws {
    func run(_ prologue: [UInt8]) throws -> SessionKeys {
      var a = try NoiseHandshake(
        pattern: .ik, isInitiator: true, keyPair: keyPair(1), remotePublicKey: keyPair(2).publicKey,
        prologue: prologue, ephemeral: keyPair(3))
      var b = try NoiseHandshake(
        pattern: .ik, isInitiator: false, keyPair: keyPair(2), prologue: prologue, ephemeral: keyPair(4))
      _ = try b.receive(try a.send())
      _ = try a.receive(try b.send())
      return try XCTUnwrap(a.sessionKeys())
    }
    let with = try run([1, 2, 3])
    let without = try run([])
    XCTAssertEqual(with.sendKey, without.sendKey)
    XCTAssertNotEqual(with.handshakeHash, without.handshakeHash)
    XCTAssertNotEqual(with.streamID(ofInitiator: true), without.streamID(ofInitiator: true))
  }
}
