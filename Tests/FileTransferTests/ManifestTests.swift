import HyperEncoding
import XCTest

@testable import HyperFileTransfer

final class ManifestTests: XCTestCase {
  private func file(_ path: String, _ size: UInt64 = 0) -> FileEntry {
    FileEntry(kind: .file, path: Array(path.utf8), size: size)
  }

  private func folder(_ path: String) -> FileEntry { FileEntry(kind: .folder, path: Array(path.utf8)) }

  private func assertRefused(
    _ entries: [FileEntry], bytes: UInt64? = nil, _ text: String, file: StaticString = #filePath, line: UInt = #line
  ) {
    let bytes = bytes ?? entries.reduce(0) { $0 + $1.size }
    XCTAssertThrowsError(
      try {
        var manifest = try Manifest(entries: UInt64(entries.count), bytes: bytes)
        try manifest.add(entries)
      }(), file: file, line: line
    ) {
      guard case .violation(let found)? = $0 as? TransferError else {
        return XCTFail("\($0)", file: file, line: line)
      }
      XCTAssertTrue(found.contains(text), found, file: file, line: line)
    }
  }

  func testManifest_takesATree() throws {
    let entries = [
      file("a", 1), folder("b"), folder("b/a"), file("b/a/x", 2), file("b/c"), folder("b.d"), file("z", 3),
    ]
    var manifest = try Manifest(entries: 7, bytes: 6)
    for page in [entries[..<3], entries[3...]] { try manifest.add(Array(page)) }
    XCTAssertTrue(manifest.isComplete)
    XCTAssertEqual(manifest.entries, entries)
    var other = try Manifest(entries: 7, bytes: 6)
    try other.add(entries)
    XCTAssertEqual(other.identifier, manifest.identifier)
    let empty = try Manifest(entries: 0, bytes: 0)
    XCTAssertTrue(empty.isComplete)
    XCTAssertNotEqual(empty.identifier, manifest.identifier)
  }

  func testManifest_refusesWaysOut() {
    for path in [
      "", "/", "/etc/passwd", "..", "../x", "a/../b", ".", "./a", "a/", "a//b", "a/.", "x\0y", ".hyperswarm-receive-1",
      "a/.hyperswarm-receive-", String(repeating: "n", count: 256),
    ] {
      assertRefused([folder("a"), file(path)], "the path")
    }
    assertRefused([file(Array(repeating: "a", count: 300).joined(separator: "/"))], "the path")
    assertRefused([file((0..<17).map { _ in String(repeating: "n", count: 250) }.joined(separator: "/"))], "the path")
  }

  func testManifest_refusesDisorder() {
    assertRefused([file("b"), file("a")], "do not ascend")
    assertRefused([file("a"), file("a")], "do not ascend")
    assertRefused([folder("a"), file("a/b"), file("a/b")], "do not ascend")
    assertRefused([folder("a"), file("a/b"), folder("a")], "do not ascend")
    // A file is no folder, and no folder is left out.
    assertRefused([file("a"), file("a/b")], "without its folder")
    assertRefused([file("a/b")], "without its folder")
    assertRefused([folder("a"), file("b/c")], "without its folder")
    assertRefused([folder("a"), file("a/b/c")], "without its folder")
    // By names, not by bytes of paths: "b.d" comes after what is in "b".
    assertRefused([folder("b"), file("b.d"), file("b/a")], "do not ascend")
  }

  func testManifest_refusesCountsThatLie() throws {
    XCTAssertThrowsError(try Manifest(entries: UInt64(Limits.entries) + 1, bytes: 0))
    XCTAssertThrowsError(try Manifest(entries: .max, bytes: 0))
    XCTAssertThrowsError(try Manifest(entries: 1, bytes: Limits.total + 1))
    XCTAssertThrowsError(try Manifest(entries: 1, bytes: .max))
    assertRefused([file("a", 5)], bytes: 4, "above what was announced")
    assertRefused([file("a", 1 << 52), file("b", 1 << 52)], bytes: 3, "above")
    assertRefused([file("a", 3)], bytes: 4, "do not sum up")
    var manifest = try Manifest(entries: 1, bytes: 0)
    XCTAssertThrowsError(try manifest.add([]))
    XCTAssertThrowsError(try manifest.add([file("a"), file("b")]))
  }

  func testManifest_endlessNamesEnd() throws {
    let limit = 1 << 18
    var manifest = try Manifest(entries: UInt64(Limits.entries), bytes: 0, nameLimit: limit)
    let long = String(repeating: "n", count: 200)
    var accepted = 0
    XCTAssertThrowsError(
      try {
        while true {
          try manifest.add([file(String(format: "%08d", accepted) + long)])
          accepted += 1
        }
      }())
    XCTAssertEqual(accepted, limit / 208)
  }

  func testManifest_pagesFitIntoMessages() throws {
    let long = String(repeating: "n", count: 240)
    let entries = (0..<2_000).map { file(String(format: "%08d", $0) + long) }
    let pages = Manifest.pages(entries)
    XCTAssertGreaterThan(pages.count, 1)
    XCTAssertEqual(pages.flatMap(Array.init), entries)
    for page in pages { XCTAssertLessThanOrEqual(Message.entries(Array(page)).encoded.count, Limits.page) }
    XCTAssertEqual(Manifest.pages([]).count, 0)
    let deep = file(String(repeating: "a/", count: 200) + "a")
    XCTAssertEqual(Manifest.pages([deep]).count, 1)
  }

  func testFileName_isMadeHarmless() {
    XCTAssertEqual(FileName.sanitized("plain, ümlaut 🐚".utf8), "plain, ümlaut 🐚")
    XCTAssertEqual(FileName.sanitized("a\u{1b}[2J\n\u{7f}\u{9b}\u{202e}\u{61c}".utf8), "a_[2J_____")
    XCTAssertEqual(FileName.sanitized([0x61, 0xff, 0xc3]), "a__")
    XCTAssertFalse(FileName.printable("\u{1b}]0;x\u{7}\u{2066}".utf8).unicodeScalars.contains("\u{1b}"))
  }
}
