import HyperCrypto
import HyperEncoding
import XCTest

@testable import HyperFileTransfer

final class MessageTests: XCTestCase {
  private let samples: [Message] = [
    .hello(version: 1, share: nil), .hello(version: 1, share: Bytes32(repeating: 7)), .hello(version: 9, share: nil),
    .confirm(Bytes32(repeating: 1)), .offer(entries: 3, bytes: 1 << 40),
    .entries([
      FileEntry(
        kind: .file, path: Array("a/b".utf8), size: 70_000, permissions: 0o755, seconds: -5, nanoseconds: 999_999_999),
      FileEntry(kind: .folder, path: [0xff, 10], permissions: 0),
    ]),
    .want(index: 4, offset: 1 << 33), .data([1, 2, 3]), .hole(1 << 45), .done(Bytes32(repeating: 9)),
    .unavailable(Array("gone".utf8)), .complete(failures: 0), .refuse(.wrongCode, []),
    .refuse(.unknown(77), Array("why".utf8)),
  ]

  func testMessages_roundTrip() throws {
    for message in samples {
      let decoded = try Message(message.encoded)
      switch (decoded, message) {
      case (.data(let a), .data(let b)): XCTAssertEqual(Array(a), Array(b))
      default: XCTAssertEqual(decoded, message)
      }
    }
  }

  func testMessages_onTheWire() {
    // The examples of the document.
    XCTAssertEqual(
      Hex.encode(Message.hello(version: 1, share: nil).encoded), "01" + "6879706572737761726d2d66696c6573" + "0100")
    XCTAssertEqual(Hex.encode(Message.offer(entries: 2, bytes: 300).encoded), "0302fd2c01")
    XCTAssertEqual(
      Hex.encode(
        Message.entries([
          FileEntry(kind: .file, path: Array("a".utf8), size: 5, permissions: 0o644, seconds: 1, nanoseconds: 2)
        ]).encoded), "0401" + "01" + "0161" + "05" + "a401" + "02" + "02000000")
    XCTAssertEqual(Hex.encode(Message.want(index: 1, offset: 0).encoded), "050100")
    XCTAssertEqual(Hex.encode(Message.refuse(.declined, []).encoded), "0b0500")
  }

  func testMessages_malformedOnesAreRefused() {
    for message in samples {
      let bytes = message.encoded
      // A shorter one of data is one of less data, and a version of its own may end anywhere.
      if case .data = message { continue }
      for count in 0..<bytes.count where count < 18 || bytes[0] != 1 {
        XCTAssertThrowsError(try Message(Array(bytes.prefix(count))), "\(message) \(count)")
      }
    }
    XCTAssertThrowsError(try Message([Message.dataType]))
    XCTAssertThrowsError(try Message([0]))
    XCTAssertThrowsError(try Message([200]))
    XCTAssertThrowsError(try Message([UInt8](repeating: 6, count: Limits.message + 1)))
    XCTAssertNoThrow(try Message([UInt8](repeating: 6, count: Limits.message)))
    // A count above what follows, a kind that is none, permissions beyond the nine, a folder with a size.
    for hex in [
      "04ff00ffffffffffffff", "04fe00001000", "0401030161050000020000000000", "040101016105ff0f0202000000",
      "040102016105a4010202000000", "040101016105a4010200ca9a3b",
    ] {
      XCTAssertThrowsError(try Message(Hex.decode(hex) ?? []), hex)
    }
    XCTAssertThrowsError(try Message([1] + Array("something else!!".utf8) + [1, 0])) {
      XCTAssertEqual($0 as? TransferError, .foreign)
    }
  }

  func testMessages_textsAreCut() throws {
    let long = [UInt8](repeating: 97, count: 5_000)
    XCTAssertEqual(
      try Message(Message.refuse(.failed, long).encoded), .refuse(.failed, Array(long.prefix(Limits.text))))
  }

  /// Any bytes are a message or an error, and a message is what it is encoded as.
  func testMessages_anyBytes() throws {
    var generator = SplitMix(state: 12)
    var decoded = 0
    for round in 0..<60_000 {
      var bytes = samples[round % samples.count].encoded
      for _ in 0..<Int.random(in: 0...3, using: &generator) where !bytes.isEmpty {
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes.removeLast(Int.random(in: 0...min(4, bytes.count), using: &generator))
        default: bytes.append(UInt8.random(in: 0...255, using: &generator))
        }
      }
      guard let message = try? Message(bytes) else { continue }
      decoded += 1
      let again = try Message(message.encoded)
      if case .data = message { continue }
      XCTAssertEqual(again, message)
      if case .entries(let page) = message, !page.isEmpty {
        var manifest = try Manifest(entries: UInt64(page.count), bytes: Limits.total)
        try? manifest.add(page)
        for entry in manifest.entries { XCTAssertTrue(entry.names.allSatisfy { FileName.isAllowed($0) }) }
      }
    }
    XCTAssertGreaterThan(decoded, 5_000)
  }
}

struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
