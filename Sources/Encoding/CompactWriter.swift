/// Appends compact-encoded values to a byte array (dht-rpc.md 3).
///
/// All integers are little-endian. `uint` always takes the shortest form.
public struct CompactWriter {
  public private(set) var bytes: [UInt8]

  public init(reservingCapacity capacity: Int = 0) {
    bytes = []
    bytes.reserveCapacity(capacity)
  }

  public var count: Int { bytes.count }

  @inline(__always)
  private mutating func appendLittleEndian(_ value: UInt64, byteCount: Int) {
    var rest = value
    for _ in 0..<byteCount {
      bytes.append(UInt8(truncatingIfNeeded: rest))
      rest >>= 8
    }
  }

  public mutating func uint8(_ value: UInt8) { bytes.append(value) }
  public mutating func uint16(_ value: UInt16) { appendLittleEndian(UInt64(value), byteCount: 2) }
  public mutating func uint32(_ value: UInt32) { appendLittleEndian(UInt64(value), byteCount: 4) }
  public mutating func uint64(_ value: UInt64) { appendLittleEndian(value, byteCount: 8) }

  /// An unsigned integer of a whole number of bytes, 1...8 (`uint24`, `uint40`, `uint48`, `uint56`, ...).
  public mutating func uint(_ value: UInt64, byteCount: Int) throws(CompactError) {
    guard (1...8).contains(byteCount) else { throw .wrongSize }
    guard byteCount == 8 || value >> UInt64(byteCount * 8) == 0 else { throw .notAnUnsignedInteger }
    appendLittleEndian(value, byteCount: byteCount)
  }

  /// Variable-length unsigned integer: 1, 3, 5 or 9 bytes.
  public mutating func uint(_ value: UInt64) {
    if value <= 0xfc {
      bytes.append(UInt8(value))
    } else if value <= 0xffff {
      bytes.append(0xfd)
      appendLittleEndian(value, byteCount: 2)
    } else if value <= 0xffff_ffff {
      bytes.append(0xfe)
      appendLittleEndian(value, byteCount: 4)
    } else {
      bytes.append(0xff)
      appendLittleEndian(value, byteCount: 8)
    }
  }

  /// A variable-length integer that JavaScript peers can hold too (at most 2^53 - 1).
  public mutating func safeUint(_ value: UInt64) throws(CompactError) {
    guard value <= Limits.maximumSafeInteger else { throw .unsafeInteger }
    uint(value)
  }

  /// Zig-zag signed integer.
  public mutating func int(_ value: Int64) { uint(ZigZag.encode(value)) }

  public mutating func bool(_ value: Bool) { bytes.append(value ? 1 : 0) }

  /// Length, then the bytes.
  public mutating func buffer(_ value: some Collection<UInt8>) {
    uint(UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  /// An absent buffer is written as length 0, so absent and empty look the same on the wire.
  public mutating func optionalBuffer(_ value: [UInt8]?) { buffer(value ?? []) }

  /// The bytes as they are.
  public mutating func raw(_ value: some Sequence<UInt8>) { bytes.append(contentsOf: value) }
  public mutating func raw(_ value: UnsafeRawBufferPointer) { bytes.append(contentsOf: value) }

  public mutating func string(_ value: String) { buffer(Array(value.utf8)) }

  public mutating func fixed32(_ value: Bytes32) { value.withUnsafeBytes { bytes.append(contentsOf: $0) } }
  public mutating func fixed64(_ value: Bytes64) { value.withUnsafeBytes { bytes.append(contentsOf: $0) } }

  /// Count, then the elements.
  public mutating func array<Element>(_ elements: [Element], _ encode: (inout CompactWriter, Element) -> Void) {
    uint(UInt64(elements.count))
    for element in elements { encode(&self, element) }
  }

  public mutating func array<Element: CompactEncodable>(_ elements: [Element]) {
    uint(UInt64(elements.count))
    for element in elements { element.encode(into: &self) }
  }

  /// A bit field of `bitCount` bits, 1...64: one byte below 8 bits, else shaped like a `uint` of 2, 4 or 8 bytes.
  public mutating func bitfield(_ value: UInt64, bitCount: Int) throws(CompactError) {
    switch bitCount {
    case 1..<8: try uint(value & 0xff, byteCount: 1)
    case 8...16:
      bytes.append(0xfd)
      try uint(value, byteCount: 2)
    case 17...32:
      bytes.append(0xfe)
      try uint(value, byteCount: 4)
    case 33...64:
      bytes.append(0xff)
      uint64(value)
    default: throw .wrongSize
    }
  }

  /// Encodes one value into a fresh array.
  public static func encode(_ value: some CompactEncodable) -> [UInt8] {
    var writer = CompactWriter()
    value.encode(into: &writer)
    return writer.bytes
  }
}

/// A value with a compact encoding that cannot fail.
public protocol CompactEncodable {
  func encode(into writer: inout CompactWriter)
}

extension CompactEncodable {
  /// The encoding as a fresh array.
  public var encoded: [UInt8] { CompactWriter.encode(self) }
}

enum ZigZag {
  static func encode(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }
  static func decode(_ value: UInt64) -> Int64 { Int64(bitPattern: (value >> 1)) ^ -Int64(bitPattern: value & 1) }
}
