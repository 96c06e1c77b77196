/// An IPv4 address, held as the four octets in textual order.
public struct IPv4Address: Hashable, Comparable, Sendable {
  /// The octets as one number, first octet in the top byte.
  public let value: UInt32

  /// The address with this number, first octet highest.
  public init(value: UInt32) { self.value = value }

  /// The address of four octets.
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    value = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
  }

  /// Dotted decimal with four parts of 0...255 and no leading zeros; `nil` for anything else, names included.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var value: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        let octet = UInt8(part), part.utf8.count == 1 || part.utf8.first != 0x30
      else { return nil }
      value = value << 8 | UInt32(octet)
    }
    self.value = value
  }

  /// The four octets, first one first.
  public var octets: [UInt8] {
    [
      UInt8(truncatingIfNeeded: value >> 24), UInt8(truncatingIfNeeded: value >> 16),
      UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value),
    ]
  }

  /// 0.0.0.0: every address of the host.
  public static let any = IPv4Address(value: 0)
  /// 127.0.0.1.
  public static let loopback = IPv4Address(127, 0, 0, 1)

  public static func < (a: IPv4Address, b: IPv4Address) -> Bool { a.value < b.value }
}

extension IPv4Address: CustomStringConvertible {
  public var description: String { octets.map(String.init).joined(separator: ".") }

  /// The bytes of `description`, valid during the call, without memory from the heap.
  package func withText<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
    withUnsafeTemporaryAllocation(byteCount: IPv4Address.maximumText, alignment: 1) { memory in
      var count = 0
      func put(_ byte: UInt8) {
        memory[count] = byte
        count += 1
      }
      for index in 0..<4 {
        let octet = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index))
        if count > 0 { put(0x2e) }
        if octet >= 100 { put(0x30 + octet / 100) }
        if octet >= 10 { put(0x30 + octet / 10 % 10) }
        put(0x30 + octet % 10)
      }
      return body(UnsafeRawBufferPointer(rebasing: memory[..<count]))
    }
  }

  /// Bytes of 255.255.255.255.
  private static let maximumText = 15
}

extension IPv4Address: CompactEncodable, CompactDecodable {
  /// The form of the wire: four bytes in network order.
  public func encode(into writer: inout CompactWriter) { writer.uint32(value.byteSwapped) }
  /// Reads the form of the wire.
  public init(from reader: inout CompactReader) throws(CompactError) { value = try reader.uint32().byteSwapped }
}

/// An IPv4 address and a UDP port: 4 octets and the port in little-endian, 6 bytes on the wire.
public struct Endpoint: Hashable, Sendable {
  /// The host's address.
  public var host: IPv4Address
  /// The UDP port.
  public var port: UInt16

  /// An address and a port.
  public init(host: IPv4Address, port: UInt16) {
    self.host = host
    self.port = port
  }

  /// Both parts at once: packets are looked up by it.
  public func hash(into hasher: inout Hasher) { hasher.combine(UInt64(host.value) << 16 | UInt64(port)) }

  /// From `a.b.c.d:port`, the port 0 to 65,535; `nil` for anything else, names included.
  public init?(_ text: some StringProtocol) {
    guard let colon = text.lastIndex(of: ":"), let host = IPv4Address(text[..<colon]),
      let port = Endpoint.port(text[text.index(after: colon)...])
    else { return nil }
    self.init(host: host, port: port)
  }

  /// Decimal digits alone: the standard library's reading takes a sign, too.
  package static func port(_ text: some StringProtocol) -> UInt16? {
    text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt16(text) : nil
  }
}

extension Endpoint: CustomStringConvertible {
  public var description: String { "\(host):\(port)" }
}

extension Endpoint: CompactEncodable, CompactDecodable {
  /// Bytes of the encoded form: 6.
  public static let encodedCount = 6

  /// The form of the wire: four bytes of the address in network order, two of the port in little-endian order.
  public func encode(into writer: inout CompactWriter) {
    host.encode(into: &writer)
    writer.uint16(port)
  }

  /// Reads the form of the wire.
  public init(from reader: inout CompactReader) throws(CompactError) {
    host = try IPv4Address(from: &reader)
    port = try reader.uint16()
  }
}
