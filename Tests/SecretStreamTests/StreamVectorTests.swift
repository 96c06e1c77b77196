import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Every case of secret-stream.json.
final class StreamVectorTests: XCTestCase {
  private typealias Case = [String: Any]

  private func cases(_ group: String) throws -> [Case] {
    let found = try Vectors.cases("secret-stream").filter { $0["group"] as? String == group }
    XCTAssertFalse(found.isEmpty, "no cases of group \(group)")
    return found
  }

  private func text(_ object: Case, _ name: String) throws -> String {
    try XCTUnwrap(object[name] as? String, "\(object["id"] ?? "?"): no \(name)")
  }

  private func inner(_ object: Case, _ name: String) throws -> Case { try XCTUnwrap(object[name] as? Case, name) }

  private func pair(_ object: Case, _ name: String) throws -> KeyPair {
    KeyPair(seed: bytes32(try text(try inner(object, name), "seed")))
  }

  private func keys(_ object: Case, initiator: Bool) throws -> SessionKeys {
    let tx = bytes32(try text(object, "initiatorTx"))
    let rx = bytes32(try text(object, "initiatorRx"))
    return SessionKeys(
      sendKey: initiator ? tx : rx, receiveKey: initiator ? rx : tx,
      handshakeHash: bytes64(try text(object, "handshakeHash")), isInitiator: initiator,
      publicKey: try pair(object, initiator ? "initiatorStatic" : "responderStatic").publicKey,
      remotePublicKey: try pair(object, initiator ? "responderStatic" : "initiatorStatic").publicKey)
  }

  /// Plays one role: feeds what the other side sent, writes what this side wrote, compares what this side put on the
  /// wire and what it delivered.
  private func play(_ object: Case, initiator: Bool, chunk: Int?) throws {
    let id = "\(try text(object, "id")) \(initiator ? "initiator" : "responder")"
    let ours = try inner(object, initiator ? "initiatorToResponder" : "responderToInitiator")
    let theirs = try inner(object, initiator ? "responderToInitiator" : "initiatorToResponder")
    let isInBand = try text(object, "handshake") == "XX"
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    environment.scriptedRandom = [
      hex(try text(try inner(object, "headers"), initiator ? "initiator" : "responder"))
    ]
    let stream = EncryptedStream(environment: environment, isInitiator: initiator)
    stream.sendsConfirmation = false
    let record = Recorder(stream)
    let wire = WireTransport(environment)
    if isInBand {
      try stream.startInBand(
        transport: wire, keyPair: try pair(object, initiator ? "initiatorStatic" : "responderStatic"),
        ephemeral: try pair(object, initiator ? "initiatorEphemeral" : "responderEphemeral"))
    } else {
      stream.start(transport: wire, keys: try keys(object, initiator: initiator))
    }
    let plain = try XCTUnwrap(ours["frames"] as? [Case]).compactMap { $0["plain"] as? String }
    // Half before the keys exist, half after.
    for message in plain.prefix(plain.count / 2) { stream.write(hex(message)) }
    network.advance(by: 1)
    let bytes = hex(try text(theirs, "bytes"))
    var offset = 0
    while offset < bytes.count {
      let size = min(chunk ?? bytes.count, bytes.count - offset)
      wire.feed(Array(bytes[offset..<offset + size]))
      offset += size
    }
    for message in plain.dropFirst(plain.count / 2) { stream.write(hex(message)) }
    network.advance(by: 1)

    XCTAssertEqual(Hex.encode(wire.written), try text(ours, "bytes"), id)
    let expected = try XCTUnwrap(theirs["frames"] as? [Case]).compactMap { $0["plain"] as? String }
    XCTAssertEqual(record.messages.map { Hex.encode($0) }, expected, id)
    XCTAssertEqual(stream.handshakeHash?.hex, try text(object, "handshakeHash"), id)
    XCTAssertEqual(
      stream.remotePublicKey, try pair(object, initiator ? "responderStatic" : "initiatorStatic").publicKey, id)
    XCTAssertFalse(stream.isDestroying, id)
    let frameSizes = try XCTUnwrap(theirs["frames"] as? [Case]).filter { $0["plain"] != nil }
      .map { try XCTUnwrap($0["length"] as? Int) }
    XCTAssertEqual(stream.rawBytesRead, UInt64(frameSizes.reduce(0, +)), id)
    XCTAssertEqual(stream.rawBytesWritten, UInt64(plain.reduce(0) { $0 + $1.count / 2 + 20 }), id)
  }

  func testSessions() throws {
    var count = 0
    for object in try cases("session") {
      let all = try keys(object, initiator: true)
      let ids = try inner(object, "streamIds")
      XCTAssertEqual(all.streamID(ofInitiator: true).hex, try text(ids, "initiator"))
      XCTAssertEqual(all.streamID(ofInitiator: false).hex, try text(ids, "responder"))
      let sendKeys = try inner(object, "sendKeys")
      XCTAssertEqual(all.datagramSendKey.hex, try text(try inner(sendKeys, "initiator"), "key"))
      XCTAssertEqual(all.datagramReceiveKey.hex, try text(try inner(sendKeys, "responder"), "key"))
      try checkNoise(object)
      // Byte by byte only for the short ones, to keep the test quick.
      let isShort = try text(try inner(object, "initiatorToResponder"), "bytes").count < 20_000
      for chunk in [nil, isShort ? 1 : 61, 997, 4_099] {
        try play(object, initiator: true, chunk: chunk)
        try play(object, initiator: false, chunk: chunk)
      }
      count += 1
    }
    print("secret-stream.json session: \(count) cases, both roles, four ways to cut the bytes")
    XCTAssertEqual(count, 6)
  }

  /// The keys of the case follow from its Noise messages, in both roles.
  private func checkNoise(_ object: Case) throws {
    let pattern: NoisePattern = try text(object, "handshake") == "XX" ? .xx : .ik
    let prologue = hex(try text(object, "prologue"))
    var a = try NoiseHandshake(
      pattern: pattern, isInitiator: true, keyPair: try pair(object, "initiatorStatic"),
      remotePublicKey: try pair(object, "responderStatic").publicKey, prologue: prologue,
      ephemeral: try pair(object, "initiatorEphemeral"))
    var b = try NoiseHandshake(
      pattern: pattern, isInitiator: false, keyPair: try pair(object, "responderStatic"), prologue: prologue,
      ephemeral: try pair(object, "responderEphemeral"))
    for (index, message) in try XCTUnwrap(object["noiseMessages"] as? [String]).enumerated() {
      let bytes = hex(message)
      // The payload is only known to the receiver; sending it again must give the same bytes.
      if index % 2 == 0 {
        XCTAssertEqual(Hex.encode(try a.send(payload: try b.receive(bytes))), message)
      } else {
        XCTAssertEqual(Hex.encode(try b.send(payload: try a.receive(bytes))), message)
      }
    }
    XCTAssertEqual(a.sessionKeys()?.sendKey.hex, try text(object, "initiatorTx"))
    XCTAssertEqual(b.sessionKeys()?.sendKey.hex, try text(object, "initiatorRx"))
    XCTAssertEqual(a.sessionKeys()?.handshakeHash.hex, try text(object, "handshakeHash"))
  }

  func testReceive() throws {
    let errors: [String: EncryptedStreamError] = [
      "invalid-header-id": .invalidHeader, "invalid-header-length": .invalidHeaderLength,
      "message-too-short": .invalidMessage, "decryption-failed": .decryptionFailed,
    ]
    var count = 0
    for object in try cases("receive") {
      let id = try text(object, "id")
      let network = VirtualNetwork(seed: 1)
      let environment = network.makeHost()
      let isInitiator = try text(object, "role") == "initiator"
      let stream = EncryptedStream(environment: environment, isInitiator: isInitiator)
      if object["keepAliveOn"] as? Bool == true { stream.keepAlive = 5_000 }
      let record = Recorder(stream)
      let wire = WireTransport(environment)
      stream.start(
        transport: wire,
        keys: SessionKeys(
          sendKey: bytes32(try text(object, "tx")), receiveKey: bytes32(try text(object, "rx")),
          handshakeHash: bytes64(try text(object, "handshakeHash")), isInitiator: isInitiator,
          publicKey: Bytes32(), remotePublicKey: Bytes32()))
      network.advance(by: 1)
      let bytes = hex(try text(object, "bytes"))
      var offset = 0
      for size in try XCTUnwrap(object["chunks"] as? [Int]) {
        wire.feed(Array(bytes[offset..<offset + size]))
        offset += size
      }
      XCTAssertEqual(offset, bytes.count, id)
      XCTAssertEqual(record.messages.map { Hex.encode($0) }, try XCTUnwrap(object["delivered"] as? [String]), id)
      XCTAssertEqual(stream.isDestroying, object["destroyed"] as? Bool, id)
      network.advance(by: 1)
      if let name = object["error"] as? String {
        XCTAssertEqual(record.error, try XCTUnwrap(errors[name], name), id)
        XCTAssertEqual(record.closeCount, 1, id)
        XCTAssertTrue(wire.wasDestroyed, id)
      } else {
        XCTAssertEqual(record.closeCount, 0, id)
      }
      count += 1
    }
    print("secret-stream.json receive: \(count) cases")
    XCTAssertEqual(count, 33)
  }

  func testDatagrams() throws {
    var count = 0
    for object in try cases("datagram") {
      let id = try text(object, "id")
      let isInitiator = try text(object, "sender") == "initiator"
      let hash = bytes64(try text(object, "handshakeHash"))
      func keys(_ initiator: Bool) -> SessionKeys {
        SessionKeys(
          sendKey: Bytes32(), receiveKey: Bytes32(), handshakeHash: hash, isInitiator: initiator, publicKey: Bytes32(),
          remotePublicKey: Bytes32())
      }
      XCTAssertEqual(keys(isInitiator).datagramSendKey.hex, try text(object, "key"), id)
      let namespaces = try inner(object, "namespaces")
      XCTAssertEqual(StreamNamespace.initiator.hex, try text(namespaces, "initiator"))
      XCTAssertEqual(StreamNamespace.responder.hex, try text(namespaces, "responder"))
      XCTAssertEqual(StreamNamespace.send.hex, try text(namespaces, "send"))
      let start = hex(try text(object, "initialCounter")).reversed().reduce(UInt64(0)) {
        $0 << 8 | UInt64($1)
      }
      var sender = DatagramCipher(keys: keys(isInitiator), start: start)
      var receiver = DatagramCipher(keys: keys(!isInitiator), start: 0)
      for message in try XCTUnwrap(object["messages"] as? [Case]) {
        let plain = hex(try text(message, "plain"))
        let sealed = try XCTUnwrap(sender.seal(plain))
        XCTAssertEqual(Hex.encode(sealed), try text(message, "hex"), id)
        XCTAssertEqual(open(sealed, &receiver), plain, id)
      }
      for attempt in try XCTUnwrap(object["receiverCases"] as? [Case]) {
        let note = try text(attempt, "note")
        let opened = open(hex(try text(attempt, "hex")), &receiver)
        // The reference delivers replays; we do not (secret-stream.md 18, number 13).
        XCTAssertNil(opened, "\(id) \(note)")
        if let delivered = attempt["delivered"] as? String {
          XCTAssertTrue(note.hasPrefix("replay"), note)
          var fresh = DatagramCipher(keys: keys(!isInitiator), start: 0)
          XCTAssertEqual(open(hex(try text(attempt, "hex")), &fresh).map { Hex.encode($0) }, delivered)
        }
      }
      count += 1
    }
    print("secret-stream.json datagram: \(count) cases")
    XCTAssertEqual(count, 6)
  }

  private func open(_ bytes: [UInt8], _ cipher: inout DatagramCipher) -> [UInt8]? {
    var out = [UInt8](repeating: 0, count: max(bytes.count, 1))
    let received = out.withUnsafeMutableBytes { target in
      bytes.withUnsafeBytes { source in target.baseAddress.map { cipher.open(source, to: $0) } }
    }
    guard case .message(let count) = received else { return nil }
    return Array(out[..<count])
  }
}
