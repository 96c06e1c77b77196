/// 32 bytes held in place: public keys, targets, node ids, tokens, topics.
///
/// A value type without heap storage; equality, hashing and ordering look at the bytes from the first to the last
/// (unsigned, as the protocols compare keys and XOR distances).
public struct Bytes32: Hashable, Comparable, Sendable {
  // Big-endian words, so that comparing words compares bytes.
  @usableFromInline var w0: UInt64
  @usableFromInline var w1: UInt64
  @usableFromInline var w2: UInt64
  @usableFromInline var w3: UInt64

  /// Always 32.
  public static let count = 32

  /// 32 zero bytes.
  @inlinable public init() {
    w0 = 0
    w1 = 0
    w2 = 0
    w3 = 0
  }

  @usableFromInline init(words w0: UInt64, _ w1: UInt64, _ w2: UInt64, _ w3: UInt64) {
    self.w0 = w0
    self.w1 = w1
    self.w2 = w2
    self.w3 = w3
  }

  /// Copies exactly 32 bytes; `nil` for any other size.
  @inlinable public init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 32 else { return nil }
    w0 = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
    w1 = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    w2 = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    w3 = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
  }

  /// Copies exactly 32 bytes; `nil` for any other size.
  @inlinable public init?(_ bytes: some Sequence<UInt8>) {
    let array = Array(bytes)
    guard let value = array.withUnsafeBytes({ Bytes32($0) }) else { return nil }
    self = value
  }

  /// The 32 bytes that `fill` writes.
  @inlinable package init(filledBy fill: (UnsafeMutablePointer<UInt8>) -> Void) {
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    Swift.withUnsafeMutablePointer(to: &words) {
      fill(UnsafeMutableRawPointer($0).assumingMemoryBound(to: UInt8.self))
    }
    self.init(
      words: UInt64(bigEndian: words.0), UInt64(bigEndian: words.1), UInt64(bigEndian: words.2),
      UInt64(bigEndian: words.3))
  }

  /// Copies the 32 bytes at `bytes`.
  @inlinable package init(copying bytes: UnsafePointer<UInt8>) {
    self.init(filledBy: { $0.update(from: bytes, count: 32) })
  }

  /// 32 times the same byte.
  public init(repeating byte: UInt8) {
    let word = UInt64(byte) &* 0x0101_0101_0101_0101
    self.init(words: word, word, word, word)
  }

  /// 64 hexadecimal digits in either case; `nil` for anything else.
  public init?(hex: some StringProtocol) {
    guard let bytes = Hex.decode(hex) else { return nil }
    self.init(bytes)
  }

  /// Lower-case hexadecimal text, 64 digits.
  public var hex: String { Hex.encode(bytes) }

  /// The 32 bytes as an array.
  public var bytes: [UInt8] { withUnsafeBytes { Array($0) } }

  /// The bytes in wire order, valid during the call.
  @inlinable public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    let words = (w0.bigEndian, w1.bigEndian, w2.bigEndian, w3.bigEndian)
    return try Swift.withUnsafeBytes(of: words, body)
  }

  /// The bytes in wire order for a C function, valid during the call.
  @inlinable public func withUnsafePointer<R>(_ body: (UnsafePointer<UInt8>) -> R) -> R {
    let words = (w0.bigEndian, w1.bigEndian, w2.bigEndian, w3.bigEndian)
    return Swift.withUnsafePointer(to: words) { body(UnsafeRawPointer($0).assumingMemoryBound(to: UInt8.self)) }
  }

  /// XOR distance (Kademlia), itself comparable as a big-endian number.
  @inlinable public func distance(to other: Bytes32) -> Bytes32 {
    Bytes32(words: w0 ^ other.w0, w1 ^ other.w1, w2 ^ other.w2, w3 ^ other.w3)
  }

  /// Whether a bit is set, 0...255 from the first byte's highest; `false` beyond.
  @inlinable @inline(__always) package func hasBit(_ index: Int) -> Bool {
    if index < 64 { return w0 >> UInt64(truncatingIfNeeded: 63 &- index) & 1 != 0 }
    let word = index < 128 ? w1 : index < 192 ? w2 : index < 256 ? w3 : 0
    return word >> UInt64(truncatingIfNeeded: 63 &- index & 63) & 1 != 0
  }

  /// Number of leading zero bits, 0...256.
  @inlinable public var leadingZeroBitCount: Int {
    if w0 != 0 { return w0.leadingZeroBitCount }
    if w1 != 0 { return 64 + w1.leadingZeroBitCount }
    if w2 != 0 { return 128 + w2.leadingZeroBitCount }
    return 192 + w3.leadingZeroBitCount
  }

  @inlinable public static func < (a: Bytes32, b: Bytes32) -> Bool {
    if a.w0 != b.w0 { return a.w0 < b.w0 }
    if a.w1 != b.w1 { return a.w1 < b.w1 }
    if a.w2 != b.w2 { return a.w2 < b.w2 }
    return a.w3 < b.w3
  }
}

extension Bytes32: CustomStringConvertible {
  public var description: String { hex }
}

/// 64 bytes held in place: Ed25519 signatures, Noise handshake hashes.
public struct Bytes64: Hashable, Sendable {
  /// The first half.
  public var first: Bytes32
  /// The second half.
  public var second: Bytes32

  /// Always 64.
  public static let count = 64

  /// 64 zero bytes.
  public init() {
    first = Bytes32()
    second = Bytes32()
  }

  /// Copies exactly 64 bytes; `nil` for any other size.
  public init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 64, let first = Bytes32(UnsafeRawBufferPointer(rebasing: bytes[..<32])),
      let second = Bytes32(UnsafeRawBufferPointer(rebasing: bytes[32...]))
    else { return nil }
    self.first = first
    self.second = second
  }

  /// Copies exactly 64 bytes; `nil` for any other size.
  public init?(_ bytes: some Sequence<UInt8>) {
    let array = Array(bytes)
    guard let value = array.withUnsafeBytes({ Bytes64($0) }) else { return nil }
    self = value
  }

  /// The 64 bytes that `fill` writes.
  package init(filledBy fill: (UnsafeMutablePointer<UInt8>) -> Void) {
    self = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Bytes64.count) { memory in
      guard let base = memory.baseAddress else { preconditionFailure("an allocation of 64 bytes has an address") }
      memory.initialize(repeating: 0)
      fill(base)
      return Bytes64(copying: base)
    }
  }

  /// Copies the 64 bytes at `bytes`.
  package init(copying bytes: UnsafePointer<UInt8>) {
    first = Bytes32(copying: bytes)
    second = Bytes32(copying: bytes + 32)
  }

  /// 128 hexadecimal digits in either case; `nil` for anything else.
  public init?(hex: some StringProtocol) {
    guard let bytes = Hex.decode(hex) else { return nil }
    self.init(bytes)
  }

  /// Lower-case hexadecimal text, 128 digits.
  public var hex: String { first.hex + second.hex }

  /// The 64 bytes as an array.
  public var bytes: [UInt8] { first.bytes + second.bytes }

  /// The bytes in wire order, valid during the call.
  public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    let words = (
      first.w0.bigEndian, first.w1.bigEndian, first.w2.bigEndian, first.w3.bigEndian,
      second.w0.bigEndian, second.w1.bigEndian, second.w2.bigEndian, second.w3.bigEndian
    )
    return try Swift.withUnsafeBytes(of: words, body)
  }

  /// The bytes in wire order for a C function, valid during the call.
  public func withUnsafePointer<R>(_ body: (UnsafePointer<UInt8>) -> R) -> R {
    let words = (
      first.w0.bigEndian, first.w1.bigEndian, first.w2.bigEndian, first.w3.bigEndian,
      second.w0.bigEndian, second.w1.bigEndian, second.w2.bigEndian, second.w3.bigEndian
    )
    return Swift.withUnsafePointer(to: words) { body(UnsafeRawPointer($0).assumingMemoryBound(to: UInt8.self)) }
  }
}

extension Bytes64: CustomStringConvertible {
  public var description: String { hex }
}
