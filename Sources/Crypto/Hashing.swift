import CHyperSodium
import HyperEncoding

/// BLAKE2b through libsodium's generic hash (no salt, no personalisation).
public enum Blake2b {
  /// Unkeyed BLAKE2b with a 32-byte digest over the parts, one after another.
  public static func hash32(_ parts: [UInt8]...) -> Bytes32 {
    Bytes32(filledBy: { digest(parts, key: [], into: $0, count: 32) })
  }

  /// Unkeyed BLAKE2b with a 32-byte digest, without heap allocation.
  public static func hash32(_ bytes: UnsafeRawBufferPointer) -> Bytes32 {
    Bytes32(filledBy: { out in
      let source = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
      Sodium.require(crypto_generichash(out, 32, source, UInt64(bytes.count), nil, 0), "BLAKE2b")
    })
  }

  /// Keyed BLAKE2b with a 32-byte digest. `key` is 1...64 bytes; a longer key is cut.
  public static func hash32(_ bytes: [UInt8], key: some Collection<UInt8>) -> Bytes32 {
    let key = Array(key.prefix(Limits.hashKey))
    return Bytes32(filledBy: { digest([bytes], key: key, into: $0, count: 32) })
  }

  /// Keyed BLAKE2b with a 32-byte digest, without heap allocation. `key` has at most 64 bytes.
  package static func hash32(_ bytes: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer) -> Bytes32 {
    Bytes32(filledBy: { out in
      let source = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
      let keyBytes = key.baseAddress?.assumingMemoryBound(to: UInt8.self)
      Sodium.require(crypto_generichash(out, 32, source, UInt64(bytes.count), keyBytes, key.count), "BLAKE2b")
    })
  }

  /// Unkeyed BLAKE2b with a 64-byte digest over the parts, one after another.
  public static func hash64(_ parts: [UInt8]...) -> Bytes64 {
    Bytes64(filledBy: { digest(parts, key: [], into: $0, count: 64) })
  }

  private static func digest(_ parts: [[UInt8]], key: [UInt8], into out: UnsafeMutablePointer<UInt8>, count: Int) {
    if parts.count == 1 {
      Sodium.require(
        crypto_generichash(out, count, parts[0], UInt64(parts[0].count), key, key.count), "BLAKE2b")
      return
    }
    withUnsafeTemporaryAllocation(byteCount: crypto_generichash_statebytes(), alignment: 64) { memory in
      guard let base = memory.baseAddress else { preconditionFailure("a state of BLAKE2b has an address") }
      let state = OpaquePointer(base)
      Sodium.require(crypto_generichash_init(state, key, key.count, count), "BLAKE2b")
      for part in parts { Sodium.require(crypto_generichash_update(state, part, UInt64(part.count)), "BLAKE2b") }
      Sodium.require(crypto_generichash_final(state, out, count), "BLAKE2b")
    }
  }
}

/// Incremental unkeyed BLAKE2b-256, for hashing files.
public final class Blake2bHasher {
  private let memory: UnsafeMutableRawPointer
  private var state: OpaquePointer { OpaquePointer(memory) }

  public init() {
    Sodium.initialize()
    memory = .allocate(byteCount: crypto_generichash_statebytes(), alignment: 64)
    Sodium.require(crypto_generichash_init(state, nil, 0, 32), "BLAKE2b")
  }

  public func update(_ bytes: UnsafeRawBufferPointer) {
    let source = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
    Sodium.require(crypto_generichash_update(state, source, UInt64(bytes.count)), "BLAKE2b")
  }

  /// The digest; the hasher must not be used afterwards.
  public func finalize() -> Bytes32 {
    Bytes32(filledBy: { Sodium.require(crypto_generichash_final(state, $0, 32), "BLAKE2b") })
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

  /// Idempotent and thread-safe. Traps when libsodium cannot run here: without it there is no key and no hash.
  public static func initialize() { precondition(status >= 0, "libsodium cannot be initialized") }

  /// Traps when a call of libsodium that cannot fail has failed: its output would be zeros or stale bytes, and must not
  /// become a key, a hash or a signature.
  @inlinable package static func require(_ status: Int32, _ operation: StaticString) {
    precondition(status == 0, "libsodium: \(operation) failed")
  }

  /// Fills `bytes` from the system's random source. Only drivers and key generation call this: engines get their random
  /// bytes from the environment.
  public static func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
    initialize()
    if let base = bytes.baseAddress { randombytes_buf(base, bytes.count) }
  }
}
