/// Reads compact-encoded values from borrowed bytes (dht-rpc.md 3).
///
/// The reader never allocates from a length it has read: lengths are checked against what is left first.
/// The bytes belong to the caller and must outlive the reader.
public struct CompactReader {
  private let bytes: UnsafeRawBufferPointer
  public private(set) var offset = 0

  public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  public var remaining: Int { bytes.count - offset }

  /// Takes `count` bytes; the slice is valid as long as the caller's bytes are.
  public mutating func take(_ count: Int) throws(CompactError) -> UnsafeRawBufferPointer {
    guard count >= 0, count <= remaining else { throw .outOfBounds }
    let slice = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    offset += count
    return slice
  }

  /// An unsigned little-endian integer of `byteCount` bytes, 1...8.
  public mutating func uint(byteCount: Int) throws(CompactError) -> UInt64 {
    guard (1...8).contains(byteCount) else { throw .wrongSize }
    guard byteCount <= remaining else { throw .outOfBounds }
    var value: UInt64 = 0
    for index in 0..<byteCount { value |= UInt64(bytes[offset + index]) << UInt64(8 * index) }
    offset += byteCount
    return value
  }

  public mutating func uint8() throws(CompactError) -> UInt8 { UInt8(try uint(byteCount: 1)) }
  public mutating func uint16() throws(CompactError) -> UInt16 { UInt16(try uint(byteCount: 2)) }
  public mutating func uint32() throws(CompactError) -> UInt32 { UInt32(try uint(byteCount: 4)) }
  public mutating func uint64() throws(CompactError) -> UInt64 { try uint(byteCount: 8) }

  /// Variable-length unsigned integer. Longer forms than needed are accepted.
  public mutating func uint() throws(CompactError) -> UInt64 {
    let first = try uint8()
    switch first {
    case 0xfd: return try uint(byteCount: 2)
    case 0xfe: return try uint(byteCount: 4)
    case 0xff: return try uint(byteCount: 8)
    default: return UInt64(first)
    }
  }

  /// A variable-length integer that JavaScript peers can hold too (at most 2^53 - 1).
  public mutating func safeUint() throws(CompactError) -> UInt64 {
    let value = try uint()
    guard value <= Limits.maximumSafeInteger else { throw .unsafeInteger }
    return value
  }

  /// Zig-zag signed integer.
  public mutating func int() throws(CompactError) -> Int64 { ZigZag.decode(try uint()) }

  /// 1 is true, every other byte false.
  public mutating func bool() throws(CompactError) -> Bool { try uint8() == 1 }

  /// Length-prefixed bytes, borrowed.
  public mutating func borrowedBuffer() throws(CompactError) -> UnsafeRawBufferPointer {
    let count = try uint()
    guard count <= UInt64(remaining) else { throw .outOfBounds }
    return try take(Int(count))
  }

  /// Length-prefixed bytes, copied.
  public mutating func buffer() throws(CompactError) -> [UInt8] { Array(try borrowedBuffer()) }

  /// Length-prefixed bytes; length 0 reads as absent.
  public mutating func optionalBuffer() throws(CompactError) -> [UInt8]? {
    let value = try borrowedBuffer()
    return value.isEmpty ? nil : Array(value)
  }

  /// All that is left, copied.
  public mutating func raw() -> [UInt8] {
    let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
    offset = bytes.count
    return Array(rest)
  }

  /// UTF-8 text; invalid sequences become U+FFFD.
  public mutating func string() throws(CompactError) -> String {
    String(decoding: try borrowedBuffer(), as: UTF8.self)
  }

  public mutating func fixed32() throws(CompactError) -> Bytes32 {
    guard let value = Bytes32(try take(32)) else { throw .outOfBounds }
    return value
  }

  public mutating func fixed64() throws(CompactError) -> Bytes64 {
    guard let value = Bytes64(try take(64)) else { throw .outOfBounds }
    return value
  }

  @usableFromInline
  mutating func arrayCount() throws(CompactError) -> Int {
    let count = try uint()
    guard count <= UInt64(Limits.maximumArrayCount) else { throw .arrayTooBig }
    return Int(count)
  }

  // Inlinable: made for each element at run time these took a fourteenth of the time of a query.

  /// Reads an element count and then the elements.
  @inlinable
  public mutating func array<Element>(
    _ decode: (inout CompactReader) throws(CompactError) -> Element
  ) throws(CompactError) -> [Element] {
    let count = try arrayCount()
    // No reservation: the count is the peer's word, the elements are not there yet.
    var elements: [Element] = []
    for _ in 0..<count { elements.append(try decode(&self)) }
    return elements
  }

  @inlinable
  public mutating func array<Element: CompactDecodable>(
    of type: Element.Type = Element.self
  ) throws(CompactError) -> [Element] {
    try array { reader throws(CompactError) in try Element(from: &reader) }
  }

  /// A bit field in any of its forms (one byte, or `fd`, `fe`, `ff` and 2, 4, 8 bytes).
  public mutating func bitfield() throws(CompactError) -> UInt64 { try uint() }

  /// Decodes one value from an array; trailing bytes are ignored, as the protocols demand.
  public static func decode<Value: CompactDecodable>(
    _ type: Value.Type = Value.self, from bytes: [UInt8]
  ) throws(CompactError) -> Value {
    let result: Result<Value, CompactError> = bytes.withUnsafeBytes { buffer in
      var reader = CompactReader(buffer)
      do throws(CompactError) { return .success(try Value(from: &reader)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}

/// A value that can be read from its compact encoding.
public protocol CompactDecodable {
  init(from reader: inout CompactReader) throws(CompactError)
}

public typealias CompactCodable = CompactEncodable & CompactDecodable
