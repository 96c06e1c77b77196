import HyperCrypto
import HyperEncoding
import XCTest

@testable import hyperswarm_cli

/// Codes are those of another encoder (segno 1.6.6), module for module.
final class QRCodeTests: XCTestCase {
  func testQR_matricesOfAllVersionsAndMasks() {
    let vectors = [
      ("HELLO WORLD", "4d2725721d5fbc91561082b01e8282887849915516276398d066c26834b95d6f"),
      ("48213-OLIVE-CACTUS-PIANO", "51ceb61f19140dfdf09b582dc7e18e8e9037c9daf5c8ec5ade7473cb4f6407e1"),
      (String(repeating: "A", count: 61), "bcd8b317ba73e6fa5021fcdc444341889bf1a55acaef08a8dd8b68d05dc782f3"),
      (String(repeating: "9F", count: 32), "e1501430ed965eeab76859ad3605b81d55c428d8a4a187d5ea89e9ea9896cf79"),
      (String(repeating: "A", count: 122), "20e9d516914d19aa71d2468a0bc9f5eec50849051b0ababc2b43cd2749fd7ab8"),
      (String(repeating: "A", count: 154), "abbe5604b1bffb3fd5bfe045bac62fab5af82e197a23224ec52d5ba705f972c7"),
    ]
    for (index, (text, expected)) in vectors.enumerated() {
      let modules = (0..<8).flatMap { mask -> [UInt8] in
        QRCode(text, mask: mask)?.isDark.flatMap { $0.map { $0 ? 0x31 : 0x30 } } ?? []
      }
      XCTAssertEqual(modules.count, 8 * (21 + 4 * index) * (21 + 4 * index))
      XCTAssertEqual(Blake2b.hash32(modules).hex, expected, text)
    }
    XCTAssertNil(QRCode(String(repeating: "A", count: 155)), "too long")
    XCTAssertNil(QRCode("small"), "no letter of the alphabet")
  }

  func testQR_theLinesShowTheModules() throws {
    let code = try XCTUnwrap(QRCode("HELLO WORLD", mask: 0))
    let lines = code.lines(inColour: false)
    XCTAssertEqual(lines.count, 13)
    XCTAssertEqual(Set(lines.map(\.count)), [25])
    XCTAssertEqual(lines[0], String(repeating: "█", count: 25))
    // The finder in the corner: dark above dark, then the ring.
    XCTAssertTrue(lines[1].hasPrefix("██ ▄▄▄▄▄ "), lines[1])
    XCTAssertEqual(lines[12], String(repeating: "▀", count: 25))
    XCTAssertTrue(code.lines(inColour: true).allSatisfy { $0.hasPrefix("\u{1b}[97;40m") && $0.hasSuffix("\u{1b}[0m") })
  }
}
