import CHyperCipher
import HyperCrypto
import HyperTestVectors
import XCTest

@testable import HyperSecretStream

/// The two implementations of the frame cipher and libsodium's secretstream make the same bytes. `Tests/CCipher` goes
/// through forgeries, tags and lengths under sanitizers.
final class FrameCipherTests: XCTestCase {
  override class func setUp() { Sodium.initialize() }

  /// A cipher outside a stream.
  private final class Cipher {
    private let state = UnsafeMutablePointer<hyper_cipher_t>.allocate(capacity: 1)

    init(_ header: [UInt8], _ key: [UInt8], usesSodium: Bool) {
      hyper_cipher_init(state, header, key)
      if usesSodium { hyper_cipher_use_sodium(state) }
    }

    deinit {
      hyper_cipher_wipe(state)
      state.deallocate()
    }

    func seal(_ message: [UInt8], tag: UInt8 = 0) -> [UInt8] {
      var body = [UInt8](repeating: 0, count: message.count + Limits.Stream.messageOverhead)
      XCTAssertEqual(hyper_cipher_seal(state, &body, message, message.count, tag), 0)
      return body
    }

    func open(_ body: [UInt8]) -> [UInt8]? {
      var message = [UInt8](repeating: 0, count: body.count - Limits.Stream.messageOverhead)
      var tag: UInt8 = 0
      return hyper_cipher_open(state, &message, &tag, body, body.count) == 0 ? message : nil
    }
  }

  func testTheTraitDecides() {
    #if LibCrypto
      XCTAssertEqual(hyper_cipher_has_libcrypto(), 1, "older than OpenSSL 3, or does not agree with libsodium")
    #else
      XCTAssertEqual(hyper_cipher_has_libcrypto(), 0)
    #endif
  }

  /// Every frame of the recorded sessions, by either implementation.
  func testGoldenFrames() throws {
    var count = 0
    for session in try Vectors.cases("secret-stream") where session["group"] as? String == "session" {
      let headers = try XCTUnwrap(session["headers"] as? [String: String])
      for (role, way, keyName) in [
        ("initiator", "initiatorToResponder", "initiatorTx"), ("responder", "responderToInitiator", "initiatorRx"),
      ] {
        let header = hex(try XCTUnwrap(headers[role]))
        let key = hex(try XCTUnwrap(session[keyName] as? String))
        let direction = try XCTUnwrap(session[way] as? [String: Any])
        let plain = try XCTUnwrap(direction["frames"] as? [[String: Any]]).compactMap { $0["plain"] as? String }.map(
          hex)
        let bodies = frames(hex(try XCTUnwrap(direction["bytes"] as? String))).suffix(plain.count)
        for usesSodium in [false, true] {
          let sealer = Cipher(header, key, usesSodium: usesSodium)
          let opener = Cipher(header, key, usesSodium: usesSodium)
          for (message, body) in zip(plain, bodies) {
            XCTAssertEqual(sealer.seal(message), body)
            XCTAssertEqual(opener.open(body), message)
            count += 1
          }
        }
      }
    }
    XCTAssertGreaterThan(count, 0)
  }

  /// Streams of random messages: each frame is made by one implementation and read by the other.
  func testImplementationsReadEachOther() {
    var random = SystemRandomNumberGenerator()
    let header = (0..<Limits.Stream.streamHeader).map { _ in UInt8.random(in: 0...255, using: &random) }
    let key = (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }
    for usesSodium in [false, true] {
      let sealer = Cipher(header, key, usesSodium: usesSodium)
      let opener = Cipher(header, key, usesSodium: !usesSodium)
      for round in 0..<300 {
        let count = Int.random(in: 0...(round % 10 == 0 ? 70_000 : 2_000), using: &random)
        let message = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ round) }
        let body = sealer.seal(message, tag: UInt8.random(in: 0...3, using: &random))
        guard opener.open(body) == message else { return XCTFail("message \(round) of \(count) bytes") }
      }
    }
  }
}
