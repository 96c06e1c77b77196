import HyperEncoding
import HyperTestVectors
import XCTest

@testable import hyperswarm_cli

/// Bytes of peers, and of programs that scrape, for every decoder of the tool beside those of `send` and `receive`.
final class ToolFuzzTests: XCTestCase {
  /// The first byte names the decoder.
  func testDecodersOfTheTool() throws {
    let key = Bytes32(repeating: 7)
    let frame = PacketFrame(sender: 77, content: [1, 2, 3])
    let sealed = try XCTUnwrap(frame.sealed(key, from: .asking, number: 5))
    let decoders: [([UInt8]) -> Int] = [
      { bytes in
        guard let frame = PacketFrame(message: bytes) else { return 0 }
        XCTAssertEqual(frame.message, bytes)
        return 1 + min(frame.content.count, 2)
      },
      { bytes in
        guard let opened = PacketFrame(sealed: bytes, key, from: .asking) else { return 0 }
        XCTAssertEqual(opened, frame, "nobody else has the key")
        return 1
      },
      { bytes in PacketFrame.key(in: bytes) == nil ? 0 : 1 },
      { bytes in
        guard let name = ChatName(datagram: bytes) else { return 0 }
        XCTAssertFalse(name.text.unicodeScalars.contains { $0.value < 0x20 || (0x7f...0x9f).contains($0.value) })
        XCTAssertLessThanOrEqual(name.text.utf8.count, 3 * 64)
        return 1
      },
      { bytes in
        guard let end = HTTPRequest.endOfHead(bytes) else { return 0 }
        XCTAssertLessThanOrEqual(end, bytes.count)
        return 1
      },
      { bytes in
        var received = ReceivedBytes()
        var pieces = 0
        for piece in bytes.split(separator: 0) {
          received.append(Array(piece))
          pieces += 1
        }
        var all: [UInt8] = []
        while let piece = received.next() { all += piece }
        XCTAssertEqual(all, bytes.filter { $0 != 0 })
        return min(pieces, 3)
      },
      { bytes in (try? Scrape(parsing: String(decoding: bytes, as: UTF8.self))).map { min($0.values.count, 3) } ?? -1 },
      { bytes in LocalAddress(String(decoding: bytes, as: UTF8.self)) == nil ? 0 : 1 },
    ]
    let name = try XCTUnwrap(ChatName(argument: "me"))
    let texts = ["GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "a_total{peer=\"x\\\"}\"} 1 2\nb 2.5\n", "127.0.0.1:80"]
    let seeds =
      [
        [0] + frame.message, [1] + sealed, [2] + PacketFrame.message(with: key),
        [3] + Array("hyperswarm-chat".utf8) + [1] + Array(name.text.utf8), [5, 1, 2, 0, 3],
      ] + zip([4, 6, 7] as [UInt8], texts).map { [$0] + Array($1.utf8) }
    try Fuzzer(name: "tool", mutations: 4000, allocates: (128 << 10, 1024), seeds: seeds) { bytes in
      guard let first = bytes.first else { return [] }
      let decoder = Int(first) % decoders.count
      return [decoder, decoders[decoder](Array(bytes.dropFirst()))]
    }.test()
  }
}
