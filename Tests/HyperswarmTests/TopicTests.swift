import HyperDHT
import Hyperswarm
import XCTest

/// Topics made from text are those that programs in JavaScript make.
final class TopicTests: XCTestCase {
  /// `Buffer.alloc(32, text).toString('hex')` of Node 20.
  func testPaddedTextsAreThoseOfNode() {
    let facts = [
      ("abc", "6162636162636162636162636162636162636162636162636162636162636162"),
      ("", "0000000000000000000000000000000000000000000000000000000000000000"),
      ("my-app-topic", "6d792d6170702d746f7069636d792d6170702d746f7069636d792d6170702d74"),
      ("héllo", "68c3a96c6c6f68c3a96c6c6f68c3a96c6c6f68c3a96c6c6f68c3a96c6c6f68c3"),
      ("🎉", "f09f8e89f09f8e89f09f8e89f09f8e89f09f8e89f09f8e89f09f8e89f09f8e89"),
      (String(repeating: "a", count: 32) + "é", String(repeating: "61", count: 32)),
      (String(repeating: "a", count: 31) + "é", String(repeating: "61", count: 31) + "c3"),
    ]
    for (text, hex) in facts { XCTAssertEqual(Bytes32.padded(text).hex, hex, text) }
  }

  func testHashedTexts() {
    // BLAKE2b-256 of "abc".
    let hex = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
    XCTAssertEqual(Bytes32.hash(of: "abc").hex, hex)
    XCTAssertEqual(Bytes32.hash(of: [0x61, 0x62, 0x63]).hex, hex)
    XCTAssertEqual(Hyperswarm.topic("abc"), Bytes32.hash(of: "abc"))
    XCTAssertNotEqual(Bytes32.hash(of: "ab"), Bytes32.hash(of: "abab"))
    XCTAssertEqual(Bytes32.padded("ab"), Bytes32.padded("abab"))
  }
}
