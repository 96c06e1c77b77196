import HyperEncoding

/// A running 64-bit hash of what happens on the network (FNV-1a over 64-bit words). Equal runs have equal digests; it
/// does not protect against forgery.
struct TraceDigest {
  private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  mutating func add(_ word: UInt64) {
    value = (value ^ word) &* 0x0000_0100_0000_01b3
    // FNV carries only upwards: the high half comes back into the low one.
    value ^= value >> 32
  }

  mutating func add(_ endpoint: Endpoint) { add(UInt64(endpoint.host.value) << 16 | UInt64(endpoint.port)) }

  mutating func add(_ bytes: [UInt8]) {
    add(UInt64(bytes.count))
    bytes.withUnsafeBytes { bytes in
      var offset = 0
      while offset + 8 <= bytes.count {
        add(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
        offset += 8
      }
      var rest: UInt64 = 0
      while offset < bytes.count {
        rest = rest << 8 | UInt64(bytes[offset])
        offset += 1
      }
      add(rest)
    }
  }
}
