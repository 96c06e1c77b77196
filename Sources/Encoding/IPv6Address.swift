/// An IPv6 address: eight 16-bit groups, big-endian on the wire.
public struct IPv6Address: Hashable, Sendable {
  /// The first four groups as one number.
  public let high: UInt64
  /// The last four groups as one number.
  public let low: UInt64

  /// The address with these two halves.
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// `::`: every address of the host.
  public static let any = IPv6Address(high: 0, low: 0)
  /// `::1`.
  public static let loopback = IPv6Address(high: 0, low: 1)

  /// Fails unless there are eight groups.
  package init(groups: [UInt16]) throws(CompactError) {
    guard groups.count == 8 else { throw .wrongSize }
    high = groups[..<4].reduce(0) { $0 << 16 | UInt64($1) }
    low = groups[4...].reduce(0) { $0 << 16 | UInt64($1) }
  }

  /// Text with or without `::`, and with a dotted IPv4 tail (RFC 4291 section 2.2); `nil` for anything else.
  public init?(_ text: some StringProtocol) {
    let halves = String(text).splitOnce("::")
    guard let head = IPv6Address.groups(halves.0) else { return nil }
    guard let tailText = halves.1 else {
      guard head.count == 8, let value = try? IPv6Address(groups: head) else { return nil }
      self = value
      return
    }
    guard let tail = IPv6Address.groups(tailText), head.count + tail.count < 8 else { return nil }
    let zeros = [UInt16](repeating: 0, count: 8 - head.count - tail.count)
    guard let value = try? IPv6Address(groups: head + zeros + tail) else { return nil }
    self = value
  }

  private static func groups(_ text: String) -> [UInt16]? {
    if text.isEmpty { return [] }
    var groups: [UInt16] = []
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    for (index, part) in parts.enumerated() {
      if part.contains(".") {
        guard index == parts.count - 1, let v4 = IPv4Address(part) else { return nil }
        groups.append(UInt16(truncatingIfNeeded: v4.value >> 16))
        groups.append(UInt16(truncatingIfNeeded: v4.value))
      } else {
        guard (1...4).contains(part.utf8.count), part.allSatisfy(\.isHexDigit), let group = UInt16(part, radix: 16)
        else { return nil }
        groups.append(group)
      }
    }
    return groups.count <= 8 ? groups : nil
  }

  /// The eight groups, first one first.
  public var groups: [UInt16] {
    [high, low].flatMap { word in
      [48, 32, 16, 0].map { UInt16(truncatingIfNeeded: word >> UInt64($0)) }
    }
  }
}

extension IPv6Address: CustomStringConvertible {
  /// Eight groups without leading zeros, no `::` (the form that the JavaScript peers print).
  public var description: String { groups.map { String($0, radix: 16) }.joined(separator: ":") }
}

extension IPv6Address: CompactEncodable, CompactDecodable {
  /// The form of the wire: 16 bytes in network order.
  public func encode(into writer: inout CompactWriter) {
    writer.uint64(high.byteSwapped)
    writer.uint64(low.byteSwapped)
  }

  /// Reads the form of the wire.
  public init(from reader: inout CompactReader) throws(CompactError) {
    high = try reader.uint64().byteSwapped
    low = try reader.uint64().byteSwapped
  }
}

/// An IPv6 address and a UDP port, 18 bytes on the wire.
public struct IPv6Endpoint: Hashable, Sendable {
  public var host: IPv6Address
  public var port: UInt16

  public init(host: IPv6Address, port: UInt16) {
    self.host = host
    self.port = port
  }
}

extension IPv6Endpoint: CompactEncodable, CompactDecodable {
  public func encode(into writer: inout CompactWriter) {
    host.encode(into: &writer)
    writer.uint16(port)
  }

  public init(from reader: inout CompactReader) throws(CompactError) {
    host = try IPv6Address(from: &reader)
    port = try reader.uint16()
  }
}

/// An address of either family, with a family byte (4 or 6) in front on the wire.
public enum IPAddress: Hashable, Sendable {
  /// An IPv4 address.
  case v4(IPv4Address)
  /// An IPv6 address.
  case v6(IPv6Address)

  /// The text of an address of either family; `nil` for anything else, names included.
  public init?(_ text: some StringProtocol) {
    if let v4 = IPv4Address(text) {
      self = .v4(v4)
    } else if let v6 = IPv6Address(text) {
      self = .v6(v6)
    } else {
      return nil
    }
  }
}

extension IPAddress: CustomStringConvertible {
  public var description: String {
    switch self {
    case .v4(let address): address.description
    case .v6(let address): address.description
    }
  }
}

extension IPAddress: CompactEncodable, CompactDecodable {
  /// The form of the wire: a byte 4 or 6, and the address.
  public func encode(into writer: inout CompactWriter) {
    switch self {
    case .v4(let address):
      writer.uint8(4)
      address.encode(into: &writer)
    case .v6(let address):
      writer.uint8(6)
      address.encode(into: &writer)
    }
  }

  /// Reads the form of the wire.
  public init(from reader: inout CompactReader) throws(CompactError) {
    // Any family byte but 4 reads as IPv6, as the deployed decoder does.
    self = try reader.uint8() == 4 ? .v4(IPv4Address(from: &reader)) : .v6(IPv6Address(from: &reader))
  }
}

extension String {
  /// The parts before and after the first `separator`; the second is `nil` when it does not occur.
  fileprivate func splitOnce(_ separator: String) -> (String, String?) {
    let text = Array(utf8)
    let mark = Array(separator.utf8)
    var index = 0
    while index + mark.count <= text.count {
      if Array(text[index..<index + mark.count]) == mark {
        let tail = text[(index + mark.count)...]
        return (String(decoding: text[..<index], as: UTF8.self), String(decoding: tail, as: UTF8.self))
      }
      index += 1
    }
    return (self, nil)
  }
}
