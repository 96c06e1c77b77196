import HyperCrypto
import HyperEncoding
import XCTest

@testable import HyperFileTransfer

final class CodeTests: XCTestCase {
  func testCode_wordsAreFarApart() {
    let words = TransferCode.words
    XCTAssertEqual(words.count, 256)
    for (index, word) in words.enumerated() {
      XCTAssertTrue((4...8).contains(word.count) && word.allSatisfy { $0.isASCII && $0.isLowercase }, word)
      for other in words[(index + 1)...] {
        XCTAssertGreaterThanOrEqual(TransferCode.distance(Array(word.utf8), Array(other.utf8)), 3, "\(word) \(other)")
      }
    }
  }

  func testCode_isReadInAnyShape() throws {
    let code = TransferCode.random()
    XCTAssertEqual(try TransferCode(code.text), code)
    XCTAssertEqual(try TransferCode("  " + code.text.uppercased().replacingOccurrences(of: "-", with: "  ")), code)
    XCTAssertNotEqual(TransferCode.random(), code)
    XCTAssertEqual(code.topic, try TransferCode("\(code.nameplate)-acorn-acorn-acorn").topic)
  }

  func testCode_slipsAreFound() {
    let word = TransferCode.words[17]
    let slip = String(word.dropLast()) + "q"
    XCTAssertThrowsError(try TransferCode("12345-\(word)-\(slip)-\(word)")) {
      XCTAssertEqual($0 as? TransferCode.Flaw, .unknownWord(slip, closest: word))
    }
    for text in [
      "", "12345", "12345-acorn-acorn", "1234-acorn-acorn-acorn", "12345-acorn-acorn-acorn-acorn",
      "١٢٣٤٥-acorn-acorn-acorn", "acorn-acorn-acorn-12345",
    ] {
      XCTAssertThrowsError(try TransferCode(text), text) { XCTAssertEqual($0 as? TransferCode.Flaw, .shape) }
    }
    XCTAssertThrowsError(try TransferCode("12345-acorn-acorn-\(String(repeating: "x", count: 100_000))"))
  }

  private func confirmations(
    _ code: TransferCode, _ other: TransferCode, hash: UInt8 = 1, sender: UInt8 = 3
  ) throws -> (Pairing.Confirmations, Pairing.Confirmations) {
    func channel(_ hash: UInt8, _ sender: UInt8) -> Pairing.Channel {
      Pairing.Channel(
        handshakeHash: Bytes64([UInt8](repeating: hash, count: 64)) ?? Bytes64(), receiver: Bytes32(repeating: 2),
        sender: Bytes32(repeating: sender))
    }
    let a = Pairing(code: code, channel: channel(1, 3), isReceiver: true)
    let b = Pairing(code: other, channel: channel(hash, sender), isReceiver: false)
    return (try a.confirmations(with: b.share), try b.confirmations(with: a.share))
  }

  func testPairing_isForOneCodeAndOneConnection() throws {
    let code = try TransferCode("12345-acorn-cactus-piano")
    let (a, b) = try confirmations(code, code)
    XCTAssertEqual(a.ofReceiver, b.ofReceiver)
    XCTAssertEqual(a.ofSender, b.ofSender)
    XCTAssertNotEqual(a.ofReceiver, a.ofSender)
    let others = [
      try confirmations(code, try TransferCode("12345-acorn-cactus-puzzle")),
      try confirmations(code, try TransferCode("12346-acorn-cactus-piano")),
      // A connection in the middle has another hash, or other keys.
      try confirmations(code, code, hash: 9), try confirmations(code, code, sender: 9),
    ]
    for (a, b) in others { XCTAssertNotEqual(a.ofReceiver, b.ofReceiver) }
    let pairing = Pairing(
      code: code,
      channel: Pairing.Channel(handshakeHash: Bytes64(), receiver: Bytes32(), sender: Bytes32()), isReceiver: true)
    XCTAssertThrowsError(try pairing.confirmations(with: Bytes32()))
    XCTAssertThrowsError(try pairing.confirmations(with: Bytes32(repeating: 0xff)))
  }

  // MARK: Digest

  private func digest(_ parts: [[UInt8]]) -> Bytes32 {
    let digest = FileDigest()
    for part in parts { part.withUnsafeBytes { digest.update($0) } }
    return digest.finalize()
  }

  func testDigest_isThatOfTheDocument() {
    let size0 = [UInt8](repeating: 0, count: 8)
    XCTAssertEqual(digest([]), Blake2b.hash32(size0))
    let abc = Array("abc".utf8)
    XCTAssertEqual(digest([abc]), Blake2b.hash32(Blake2b.hash32(abc).bytes, [3] + size0.dropLast()))
    let long = (0..<Limits.leaf + 5).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let expected = Blake2b.hash32(
      Blake2b.hash32(Array(long[..<Limits.leaf])).bytes, Blake2b.hash32(Array(long[Limits.leaf...])).bytes,
      [5, 0, 16, 0, 0, 0, 0, 0])
    XCTAssertEqual(digest([long]), expected)
    XCTAssertEqual(digest([Array(long[..<7]), [], Array(long[7..<1_048_570]), Array(long[1_048_570...])]), expected)
  }

  func testDigest_aHoleIsZeros() {
    for (before, hole, after) in [(0, 5, 3), (7, 3 << 20, 9), (0, 2 << 20, 0), (Limits.leaf, 1, 0), (1, 1 << 20, 1)] {
      let front = [UInt8](repeating: 3, count: before)
      let back = [UInt8](repeating: 4, count: after)
      let digest = FileDigest()
      front.withUnsafeBytes { digest.update($0) }
      digest.update(zeros: UInt64(hole))
      back.withUnsafeBytes { digest.update($0) }
      XCTAssertEqual(digest.count, UInt64(before + hole + after))
      XCTAssertEqual(digest.finalize(), self.digest([front, [UInt8](repeating: 0, count: hole), back]))
    }
  }
}
