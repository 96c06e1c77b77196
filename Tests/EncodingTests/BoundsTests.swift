import XCTest

@testable import HyperEncoding

/// Hostile lengths, truncation, value types.
final class BoundsTests: XCTestCase {
  /// RPC-9: an array header is never trusted to size memory; a million announced elements fail on the first missing
  /// one.
  func testRPC_9_arrayCountIsBounded() {
    XCTAssertThrowsError(try decodeArray([0xfe, 0x01, 0x00, 0x10, 0x00])) {
      XCTAssertEqual($0 as? CompactError, .arrayTooBig)
    }
    XCTAssertThrowsError(try decodeArray([0xfe, 0x00, 0x00, 0x10, 0x00])) {
      XCTAssertEqual($0 as? CompactError, .outOfBounds)
    }
    XCTAssertThrowsError(try decodeArray([UInt8](repeating: 0xff, count: 9))) {
      XCTAssertEqual($0 as? CompactError, .arrayTooBig)
    }
  }

  func testHugeBufferLengthsFail() throws {
    for bytes: [UInt8] in [
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
      [0xfe, 0xff, 0xff, 0xff, 0xff, 0],
    ] {
      try bytes.withUnsafeBytes { buffer in
        var reader = CompactReader(buffer)
        XCTAssertThrowsError(try reader.buffer()) { XCTAssertEqual($0 as? CompactError, .outOfBounds) }
      }
    }
  }

  /// RPC-1: every truncation of every width is an error and consumes nothing beyond the input.
  func testRPC_1_truncatedIntegers() throws {
    for value: UInt64 in [0xfd, 0xffff, 0x10000, 0xffff_ffff, 0x1_0000_0000, .max] {
      var writer = CompactWriter()
      writer.uint(value)
      let whole = writer.bytes
      for count in 0..<whole.count {
        try whole[..<count].withUnsafeBytes { buffer in
          var reader = CompactReader(buffer)
          XCTAssertThrowsError(try reader.uint()) { XCTAssertEqual($0 as? CompactError, .outOfBounds) }
        }
      }
    }
  }

  func testBytes32OrderDistanceAndText() throws {
    let low = try XCTUnwrap(Bytes32(hex: "00" + String(repeating: "ff", count: 31)))
    let high = try XCTUnwrap(Bytes32(hex: "01" + String(repeating: "00", count: 31)))
    XCTAssertLessThan(low, high)
    XCTAssertEqual(low.distance(to: high).hex, "01" + String(repeating: "ff", count: 31))
    XCTAssertEqual(Bytes32().leadingZeroBitCount, 256)
    XCTAssertEqual(high.leadingZeroBitCount, 7)
    XCTAssertNil(Bytes32(hex: "00"))
    XCTAssertNil(Bytes32(hex: String(repeating: "zz", count: 32)))
    XCTAssertNil(Bytes32([UInt8](repeating: 0, count: 33)))
    XCTAssertEqual(Bytes32(high.bytes), high)
  }

  func testTextOfAnAddressWithoutTheHeap() {
    for octets in [[0, 0, 0, 0], [255, 255, 255, 255], [10, 9, 100, 99], [127, 0, 0, 1], [1, 200, 19, 105]] as [[UInt8]]
    {
      let address = IPv4Address(octets[0], octets[1], octets[2], octets[3])
      XCTAssertEqual(address.withText { String(decoding: $0, as: UTF8.self) }, address.description)
    }
  }

  func testAddressText() {
    XCTAssertNil(IPv4Address("1.2.3"))
    XCTAssertNil(IPv4Address("1.2.3.256"))
    XCTAssertNil(IPv4Address("01.2.3.4"))
    XCTAssertNil(IPv4Address("localhost"))
    XCTAssertEqual(Endpoint("10.1.2.3:49737")?.description, "10.1.2.3:49737")
    XCTAssertNil(Endpoint("10.1.2.3:65536"))
    XCTAssertNil(Endpoint("10.1.2.3:+80"))
    XCTAssertNil(IPv6Address("+1::"))
    XCTAssertNil(IPv6Address("::-0"))
    XCTAssertNil(IPv6Address("1:2:3:4:5:6:7:8:9"))
    XCTAssertNil(IPv6Address("1::2::3"))
    XCTAssertEqual(IPv6Address("2001:db8::1")?.description, "2001:db8:0:0:0:0:0:1")
    XCTAssertEqual(IPv6Address("::ffff:1.2.3.4")?.groups, [0, 0, 0, 0, 0, 0xffff, 0x102, 0x304])
  }

  private func decodeArray(_ bytes: [UInt8]) throws -> [UInt64] {
    try bytes.withUnsafeBytes { buffer in
      var reader = CompactReader(buffer)
      return try reader.array { reader throws(CompactError) in try reader.uint() }
    }
  }
}
