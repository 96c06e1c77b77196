import XCTest

@testable import HyperEncoding

/// The first and the last address of every special block, and their neighbours (hyperdht.md 14.6, dht-rpc.md C-7).
final class SpecialAddressTests: XCTestCase {
  private enum Kind {
    case none
    case local
    case assigned
    case notUnicast
  }

  /// Every stretch of the address space, in order and without gaps: its last address, and what its addresses are.
  private let stretches: [(last: String, kind: Kind)] = [
    ("0.255.255.255", .notUnicast), ("9.255.255.255", .none), ("10.255.255.255", .local), ("100.63.255.255", .none),
    ("100.127.255.255", .local), ("126.255.255.255", .none), ("127.255.255.255", .local), ("169.253.255.255", .none),
    ("169.254.255.255", .local), ("172.15.255.255", .none), ("172.31.255.255", .local), ("191.255.255.255", .none),
    ("192.0.0.255", .assigned), ("192.0.1.255", .none), ("192.0.2.255", .assigned), ("192.167.255.255", .none),
    ("192.168.255.255", .local), ("198.17.255.255", .none), ("198.19.255.255", .assigned), ("198.51.99.255", .none),
    ("198.51.100.255", .assigned), ("203.0.112.255", .none), ("203.0.113.255", .assigned), ("223.255.255.255", .none),
    ("239.255.255.255", .notUnicast), ("255.255.255.255", .notUnicast),
  ]

  private func check(_ address: IPv4Address, _ kind: Kind, line: UInt = #line) {
    let text = address.description
    XCTAssertEqual(address.isPrivate, kind == .local, text, line: line)
    XCTAssertEqual(address.isReserved, kind == .assigned || kind == .notUnicast, text, line: line)
    XCTAssertEqual(address.isBogon, kind != .none, text, line: line)
    XCTAssertEqual(address.isUnicast, kind != .notUnicast, text, line: line)
    XCTAssertEqual(Endpoint(host: address, port: 1).isUsable, kind != .notUnicast, text, line: line)
    XCTAssertFalse(Endpoint(host: address, port: 0).isUsable, text, line: line)
    XCTAssertEqual(address.isLoopback, text.hasPrefix("127."), text, line: line)
  }

  func testEveryBorder() throws {
    var first: UInt32 = 0
    for (text, kind) in stretches {
      let last = try XCTUnwrap(IPv4Address(text)).value
      check(IPv4Address(value: first), kind)
      check(IPv4Address(value: first + (last - first) / 2), kind)
      check(IPv4Address(value: last), kind)
      first = last &+ 1
    }
    XCTAssertEqual(first, 0, "the whole space")
  }

  func testTheTableIsSortedAndItsBlocksDoNotOverlap() {
    var end: UInt64 = 0
    for block in SpecialAddresses.ipv4 {
      XCTAssertTrue((1...32).contains(block.prefix))
      XCTAssertGreaterThanOrEqual(UInt64(block.network.value), end)
      XCTAssertEqual(
        UInt64(block.network.value) % (1 << UInt64(32 - block.prefix)), 0, "a block begins at its own mask")
      end = UInt64(block.network.value) + (1 as UInt64) << UInt64(32 - block.prefix)
    }
  }

  func testEveryIPv6Border() throws {
    let blocks: [(first: String, last: String)] = [
      ("::", "::ffff:ffff"), ("::ffff:0:0", "::ffff:ffff:ffff"), ("100::", "100::ffff:ffff:ffff:ffff"),
      ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff"), ("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff"),
      ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
      ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
      ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ]
    XCTAssertEqual(blocks.count, SpecialAddresses.ipv6.count)
    for (first, last) in blocks {
      let low = try XCTUnwrap(IPv6Address(first), first)
      let high = try XCTUnwrap(IPv6Address(last), last)
      for address in [low, high] {
        XCTAssertTrue(address.isReserved, address.description)
        XCTAssertTrue(address.isBogon, address.description)
        XCTAssertFalse(address.isPrivate, address.description)
      }
      // The ORCHID blocks touch each other, and the mapped ones lie between ordinary addresses.
      if first != "::", first != "2001:20::" { XCTAssertFalse(before(low).isBogon, "before \(first)") }
      if last.hasPrefix("ffff:"), first == "ff00::" { continue }
      if first != "2001:10::" { XCTAssertFalse(after(high).isBogon, "after \(last)") }
    }
  }

  private func before(_ address: IPv6Address) -> IPv6Address {
    IPv6Address(high: address.low == 0 ? address.high &- 1 : address.high, low: address.low &- 1)
  }

  private func after(_ address: IPv6Address) -> IPv6Address {
    IPv6Address(high: address.low == .max ? address.high &+ 1 : address.high, low: address.low &+ 1)
  }
}
