import HyperEncoding

/// Writes a datagram into memory that is there already; the compact encoding of dht-rpc.md 3.
struct DatagramWriter {
  private let memory: UnsafeMutableRawBufferPointer
  private(set) var count = 0

  init(_ memory: UnsafeMutableRawBufferPointer) { self.memory = memory }

  /// Whether a datagram of at most `count` bytes fits. What is written afterwards must not be longer.
  mutating func begin(_ count: Int) -> Bool {
    self.count = 0
    return count <= memory.count
  }

  @inline(__always)
  private mutating func store<Value: FixedWidthInteger>(_ value: Value) {
    memory.storeBytes(of: value.littleEndian, toByteOffset: count, as: Value.self)
    count &+= MemoryLayout<Value>.size
  }

  mutating func uint8(_ value: UInt8) { store(value) }
  mutating func uint16(_ value: UInt16) { store(value) }

  /// 4 octets and the port.
  mutating func endpoint(_ endpoint: Endpoint) {
    store(endpoint.host.value.byteSwapped)
    store(endpoint.port)
  }

  /// The shortest of 1, 3, 5 or 9 bytes.
  mutating func uint(_ value: UInt64) {
    switch value {
    case ...0xfc: store(UInt8(truncatingIfNeeded: value))
    case ...0xffff:
      store(UInt8(0xfd))
      store(UInt16(truncatingIfNeeded: value))
    case ...0xffff_ffff:
      store(UInt8(0xfe))
      store(UInt32(truncatingIfNeeded: value))
    default:
      store(UInt8(0xff))
      store(value)
    }
  }

  mutating func fixed32(_ value: Bytes32) { value.withUnsafeBytes { raw($0) } }

  /// Length, then the bytes.
  mutating func buffer(_ value: [UInt8]) {
    uint(UInt64(value.count))
    value.withUnsafeBytes { raw($0) }
  }

  private mutating func raw(_ bytes: UnsafeRawBufferPointer) {
    guard let base = memory.baseAddress, let source = bytes.baseAddress, count + bytes.count <= memory.count else {
      return
    }
    (base + count).copyMemory(from: source, byteCount: bytes.count)
    count &+= bytes.count
  }
}
