import HyperCrypto
import HyperEncoding
import HyperTestVectors
import XCTest

@testable import HyperSecretStream

/// Every case of noise.json.
final class NoiseVectorTests: XCTestCase {
  private typealias Case = [String: Any]

  private func cases(_ group: String) throws -> [Case] {
    let found = try Vectors.cases("noise").filter { $0["group"] as? String == group }
    XCTAssertFalse(found.isEmpty, "no cases of group \(group)")
    return found
  }

  private func text(_ object: Case, _ name: String) throws -> String {
    try XCTUnwrap(object[name] as? String, "\(object["id"] ?? "?"): no \(name)")
  }

  private func keyPair(_ object: Case, _ name: String) throws -> KeyPair {
    let pair = try XCTUnwrap(object[name] as? Case)
    let made = KeyPair(seed: bytes32(try text(pair, "seed")))
    XCTAssertEqual(made.publicKey.hex, try text(pair, "publicKey"))
    return made
  }

  private func publicKey(_ object: Case, _ name: String) throws -> Bytes32 {
    bytes32(try text(try XCTUnwrap(object[name] as? Case), "publicKey"))
  }

  private func pattern(_ object: Case) throws -> NoisePattern {
    switch try text(object, "pattern") {
    case "IK": .ik
    case "XX": .xx
    default: throw NoiseError.preSharedKeyMismatch
    }
  }

  private func initiator(_ object: Case, remote: Bytes32) throws -> NoiseHandshake {
    try NoiseHandshake(
      pattern: try pattern(object), isInitiator: true, keyPair: try keyPair(object, "initiatorStatic"),
      remotePublicKey: remote, prologue: hex(try text(object, "prologue")),
      ephemeral: try keyPair(object, "initiatorEphemeral"))
  }

  private func responder(_ object: Case) throws -> NoiseHandshake {
    try NoiseHandshake(
      pattern: try pattern(object), isInitiator: false, keyPair: try keyPair(object, "responderStatic"),
      prologue: hex(object["responderPrologue"] as? String ?? (try text(object, "prologue"))),
      ephemeral: try keyPair(object, "responderEphemeral"))
  }

  /// Compares with the state fields of a vector; a final message has no cipher key.
  private func check(_ state: SymmetricState, _ expected: Case, _ id: String) {
    let snapshot = state.snapshot
    XCTAssertEqual(Hex.encode(snapshot.chainingKey), expected["ck"] as? String, id)
    XCTAssertEqual(Hex.encode(snapshot.hash), expected["h"] as? String, id)
    if expected.keys.contains("k") {
      XCTAssertEqual(snapshot.key.map { Hex.encode($0) }, expected["k"] as? String, id)
      XCTAssertEqual(snapshot.nonce, (expected["n"] as? NSNumber)?.uint64Value, id)
    }
  }

  func testHandshakes() throws {
    var count = 0
    for object in try cases("handshake") {
      let id = try text(object, "id")
      XCTAssertEqual(
        try text(object, "protocol"), "Noise_\(try pattern(object).name)_Ed25519_ChaChaPoly_BLAKE2b", id)
      var a = try initiator(object, remote: try publicKey(object, "responderStatic"))
      var b = try responder(object)
      let initial = try XCTUnwrap(object["stateAfterInit"] as? Case)
      check(a.symmetricState, initial, id)
      check(b.symmetricState, initial, id)
      for message in try XCTUnwrap(object["messages"] as? [Case]) {
        let payload = hex(try text(message, "payload"))
        let bytes = hex(try text(message, "hex"))
        let after = try XCTUnwrap(message["after"] as? Case)
        a.trace = { [self] token, state in if token == nil { check(state, after, id) } }
        b.trace = a.trace
        if try text(message, "from") == "initiator" {
          XCTAssertEqual(try a.send(payload: payload), bytes, id)
          XCTAssertEqual(try b.receive(bytes), payload, id)
        } else {
          XCTAssertEqual(try b.send(payload: payload), bytes, id)
          XCTAssertEqual(try a.receive(bytes), payload, id)
        }
      }
      let keysA = try XCTUnwrap(a.sessionKeys())
      let keysB = try XCTUnwrap(b.sessionKeys())
      XCTAssertEqual(keysA.sendKey.hex, try text(object, "initiatorTx"), id)
      XCTAssertEqual(keysA.receiveKey.hex, try text(object, "initiatorRx"), id)
      XCTAssertEqual(keysB.sendKey, keysA.receiveKey, id)
      XCTAssertEqual(keysB.receiveKey, keysA.sendKey, id)
      XCTAssertEqual(keysA.handshakeHash.hex, try text(object, "handshakeHash"), id)
      XCTAssertEqual(keysB.handshakeHash, keysA.handshakeHash, id)
      XCTAssertEqual(a.remotePublicKey?.hex, try text(object, "initiatorLearns"), id)
      XCTAssertEqual(b.remotePublicKey?.hex, try text(object, "responderLearns"), id)
      XCTAssertNil(a.symmetricState.snapshot.key)
      XCTAssertEqual(a.symmetricState.snapshot.chainingKey, [UInt8](repeating: 0, count: 64), "wiped after completion")
      count += 1
    }
    print("noise.json handshake: \(count) cases")
    XCTAssertEqual(count, 23)
  }

  func testFailures() throws {
    var count = 0
    for object in try cases("failure") {
      let id = try text(object, "id")
      let rejectedAt = try text(object, "rejectedAt")
      let replaced = try XCTUnwrap(object["replaced"] as? Int)
      var remote = try publicKey(object, "responderStatic")
      if let expected = object["expectedByInitiator"] as? String { remote = bytes32(expected) }
      var a = try initiator(object, remote: remote)
      var b = replaced == 0 ? nil : try responder(object)
      let honest = try XCTUnwrap(object["honestMessages"] as? [Case])
      var failedAt: String?
      for number in 1...3 where failedAt == nil {
        let isFromInitiator = number % 2 == 1
        if number == 3, a.pattern == .ik { break }
        let payload = number <= honest.count ? hex(try text(honest[number - 1], "payload")) : []
        var message: [UInt8] = []
        do {
          if isFromInitiator {
            message = try a.send(payload: payload)
          } else {
            message = try b?.send(payload: payload) ?? []
          }
        } catch {
          failedAt = "\(isFromInitiator ? "initiator" : "responder").send(\(number))"
          break
        }
        if number <= honest.count, replaced == 0 || number <= replaced {
          XCTAssertEqual(Hex.encode(message), try text(honest[number - 1], "hex"), id)
        }
        if number == replaced { message = hex(try text(object, "hex")) }
        do {
          if isFromInitiator { _ = try b?.receive(message) } else { _ = try a.receive(message) }
        } catch {
          failedAt = "\(isFromInitiator ? "responder" : "initiator").recv(\(number))"
        }
      }
      XCTAssertEqual(failedAt, rejectedAt, id)
      count += 1
    }
    print("noise.json failure: \(count) cases")
    XCTAssertEqual(count, 126)
  }

  func testDiffieHellman() throws {
    var count = 0
    for object in try cases("dh") {
      let a = NoiseKey(try keyPair(object, "a"))
      let b = NoiseKey(try keyPair(object, "b"))
      XCTAssertEqual(Hex.encode(UnsafeBufferPointer(start: a.scalar.base, count: 32)), try text(object, "scalarOfA"))
      XCTAssertEqual(multiply(a, b.publicKey).map { Hex.encode($0) }, try text(object, "shared"))
      XCTAssertEqual(multiply(b, a.publicKey).map { Hex.encode($0) }, try text(object, "shared"))
      count += 1
    }
    for object in try cases("dh-invalid") {
      let result = multiply(NoiseKey(try keyPair(object, "a")), bytes32(try text(object, "point")))
      XCTAssertEqual(result != nil, object["accepted"] as? Bool, String(describing: object["name"]))
      count += 1
    }
    print("noise.json dh, dh-invalid: \(count) cases")
    XCTAssertEqual(count, 18)
  }

  func testHashes() throws {
    var count = 0
    for object in try cases("hmac") {
      let mac = hmac(hex(try text(object, "key")), hex(try text(object, "data")))
      XCTAssertEqual(Hex.encode(mac), try text(object, "mac"))
      count += 1
    }
    for object in try cases("hkdf") {
      let out = hkdf(hex(try text(object, "chainingKey")), hex(try text(object, "input")), 2)
      XCTAssertEqual(Hex.encode(out[0]), try text(object, "out1"))
      XCTAssertEqual(Hex.encode(out[1]), try text(object, "out2"))
      count += 1
    }
    print("noise.json hmac, hkdf: \(count) cases")
    XCTAssertEqual(count, 8)
  }
}

func multiply(_ key: NoiseKey, _ point: Bytes32) -> [UInt8]? {
  var out = [UInt8](repeating: 0, count: 32)
  return EdwardsDH.multiply(scalar: key.scalar.base, point: point, into: &out) ? out : nil
}

func hmac(_ key: [UInt8], _ data: [UInt8]) -> [UInt8] {
  var out = [UInt8](repeating: 0, count: 64)
  key.withUnsafeBytes { key in data.withUnsafeBytes { data in NoiseHash.hmac(key: key, data, into: &out) } }
  return out
}

func hkdf(_ chainingKey: [UInt8], _ input: [UInt8], _ outputs: Int) -> [[UInt8]] {
  var out = [UInt8](repeating: 0, count: 64 * outputs)
  chainingKey.withUnsafeBytes { key in
    input.withUnsafeBytes { NoiseHash.hkdf(chainingKey: key, input: $0, outputs: outputs, into: &out) }
  }
  return (0..<outputs).map { Array(out[$0 * 64..<$0 * 64 + 64]) }
}
