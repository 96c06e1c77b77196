import CHyperSodium
import HyperEncoding

/// BLAKE2b through libsodium's generic hash (no salt, no personalisation).
public enum Blake2b {
  /// Unkeyed BLAKE2b with a 32-byte digest over the parts, one after another.
  public static func hash32(_ parts: [UInt8]...) -> Bytes32 { Bytes32(digest(parts, key: [], count: 32)) ?? Bytes32() }

  /// Unkeyed BLAKE2b with a 32-byte digest, without heap allocation.
  public static func hash32(_ bytes: UnsafeRawBufferPointer) -> Bytes32 {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { out in
      if let digest = out.baseAddress {
        crypto_generichash(
          digest, 32, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(bytes.count), nil, 0)
      }
      return Bytes32(UnsafeRawBufferPointer(out)) ?? Bytes32()
    }
  }

  /// Keyed BLAKE2b with a 32-byte digest. `key` is 1...64 bytes; a longer key is cut.
  public static func hash32(_ bytes: [UInt8], key: some Collection<UInt8>) -> Bytes32 {
    Bytes32(digest([bytes], key: Array(key.prefix(64)), count: 32)) ?? Bytes32()
  }

  /// Unkeyed BLAKE2b with a 64-byte digest over the parts, one after another.
  public static func hash64(_ parts: [UInt8]...) -> Bytes64 { Bytes64(digest(parts, key: [], count: 64)) ?? Bytes64() }

  private static func digest(_ parts: [[UInt8]], key: [UInt8], count: Int) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: count)
    if parts.count == 1 {
      crypto_generichash(&out, count, parts[0], UInt64(parts[0].count), key, key.count)
    } else {
      withUnsafeTemporaryAllocation(byteCount: crypto_generichash_statebytes(), alignment: 64) { memory in
        guard let base = memory.baseAddress else { return }
        let state = OpaquePointer(base)
        crypto_generichash_init(state, key, key.count, count)
        for part in parts { crypto_generichash_update(state, part, UInt64(part.count)) }
        crypto_generichash_final(state, &out, count)
      }
    }
    return out
  }
}

/// Incremental unkeyed BLAKE2b-256, for hashing files.
public final class Blake2bHasher {
  private let memory: UnsafeMutableRawPointer
  private var state: OpaquePointer { OpaquePointer(memory) }

  public init() {
    Sodium.initialize()
    memory = .allocate(byteCount: crypto_generichash_statebytes(), alignment: 64)
    crypto_generichash_init(state, nil, 0, 32)
  }

  public func update(_ bytes: UnsafeRawBufferPointer) {
    crypto_generichash_update(state, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(bytes.count))
  }

  /// The digest; the hasher must not be used afterwards.
  public func finalize() -> Bytes32 {
    var out = [UInt8](repeating: 0, count: 32)
    crypto_generichash_final(state, &out, 32)
    return Bytes32(out) ?? Bytes32()
  }

  deinit { memory.deallocate() }
}

/// Comparison of secrets in constant time.
public func constantTimeEqual(_ a: Bytes32, _ b: Bytes32) -> Bool {
  a.withUnsafePointer { left in
    b.withUnsafePointer { right in sodium_memcmp(left, right, 32) == 0 }
  }
}

/// One-time set-up of libsodium.
public enum Sodium {
  private static let status: Int32 = sodium_init()

  /// Idempotent and thread-safe; returns false when libsodium cannot run here.
  @discardableResult
  public static func initialize() -> Bool { status >= 0 }

  /// Fills `bytes` from the system's random source. Only drivers and key generation call this: engines get their random
  /// bytes from the environment.
  public static func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
    initialize()
    if let base = bytes.baseAddress { randombytes_buf(base, bytes.count) }
  }
}
