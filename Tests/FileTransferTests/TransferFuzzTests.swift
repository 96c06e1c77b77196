import HyperEncoding
import HyperTestVectors
import XCTest

@testable import HyperFileTransfer

/// Bytes of the other side for every decoder of `send` and `receive`.
final class TransferFuzzTests: XCTestCase {
  /// Each input is messages with two bytes of length each. Codes are typed by the user, not sent.
  func testMessagesOfFiles() throws {
    let entries = [
      FileEntry(kind: .folder, path: Array("a".utf8)), FileEntry(kind: .file, path: Array("a/b".utf8), size: 7),
      FileEntry(kind: .file, path: Array("c".utf8), size: 70_000, permissions: 0o600, seconds: -5, nanoseconds: 9),
    ]
    let messages: [Message] = [
      .hello(version: 1, share: nil), .hello(version: 1, share: Bytes32(repeating: 7)), .hello(version: 9, share: nil),
      .confirm(Bytes32(repeating: 1)), .offer(entries: 3, bytes: 70_007), .entries(entries),
      .want(index: 1, offset: 3), .data([1, 2, 3]), .hole(1 << 45), .done(Bytes32(repeating: 9)),
      .unavailable(Array("gone".utf8)), .complete(failures: 0), .refuse(.wrongCode, Array("why".utf8)),
    ]
    func framed(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count & 0xff), UInt8(bytes.count >> 8)] + bytes }
    let seeds =
      messages.map { framed($0.encoded) } + [framed(messages[4].encoded) + framed(messages[5].encoded)]
    try Fuzzer(name: "files", mutations: 4000, allocates: (256 << 10, 512), seeds: seeds) { bytes in
      var manifest = try? Manifest(entries: 64, bytes: 1 << 30)
      var kind: [Int] = []
      var rest = bytes[...]
      while rest.count >= 2, kind.count < 8 {
        let count = Int(rest.removeFirst()) | Int(rest.removeFirst()) << 8
        let message = try? Message(Array(rest.prefix(count)))
        rest = rest.dropFirst(count)
        guard let message else {
          kind.append(0)
          continue
        }
        let again = message.encoded
        XCTAssertLessThanOrEqual(again.count, min(count, bytes.count) + 16, "what is read is no larger than what came")
        XCTAssertEqual((try? Message(again))?.encoded, again)
        kind.append(1 + Int(again.first ?? 0))
        if case .entries(let page) = message {
          kind.append((try? manifest?.add(page)) == nil ? 0 : 1)
        }
      }
      for entry in manifest?.entries ?? [] {
        XCTAssertTrue(entry.names.allSatisfy { FileName.isAllowed($0) }, "\(entry.path)")
        XCTAssertFalse(entry.names.contains { FileName.sanitized($0).unicodeScalars.contains { $0.value < 0x20 } })
      }
      return kind
    }.test()
  }
}
