import CHyperSodium
import HyperEncoding

/// An Ed25519 key pair. The same pair signs DHT records and does the Noise Diffie-Hellman.
///
/// The secret half lives in guarded memory (`sodium_malloc`) and is zeroed when the last copy of the pair goes away.
public struct KeyPair: Sendable {
  /// The Ed25519 public key, 32 bytes.
  public let publicKey: Bytes32
  private let secret: SecretMemory

  /// Derives the pair from a 32-byte seed (libsodium `crypto_sign_seed_keypair`).
  public init(seed: Bytes32) {
    Sodium.initialize()
    let memory = SecretMemory(count: 64)
    publicKey = Bytes32(filledBy: { key in
      seed.withUnsafePointer { seedBytes in
        Sodium.require(
          crypto_sign_seed_keypair(key, memory.base.assumingMemoryBound(to: UInt8.self), seedBytes),
          "Ed25519 key pair")
      }
    })
    secret = memory
  }

  /// From a secret key in the libsodium layout: seed (32 bytes), then the public key (32 bytes). `nil` if the two do
  /// not belong together, and for any other size. The bytes are copied; the caller's are its own to wipe.
  public init?(secretKey: [UInt8]) {
    guard secretKey.count == 64, let seed = Bytes32(secretKey[..<32]), let publicKey = Bytes32(secretKey[32...]) else {
      return nil
    }
    self.init(seed: seed)
    guard self.publicKey == publicKey else { return nil }
  }

  /// A pair from the system's random source.
  public static func random() -> KeyPair {
    var seed = Bytes32(filledBy: { Sodium.randomBytes(UnsafeMutableRawBufferPointer(start: $0, count: 32)) })
    defer { sodium_memzero(&seed, MemoryLayout<Bytes32>.size) }
    return KeyPair(seed: seed)
  }

  /// Borrows the 64-byte secret key (seed, then public key) for the time of `body`, which is called once, within this
  /// call. Do not keep the pointer.
  public func withSecretKey<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
    body(UnsafeRawBufferPointer(start: secret.base, count: 64))
  }

  /// Ed25519 signature over `message` (RFC 8032), 64 bytes; the same each time.
  public func sign(_ message: [UInt8]) -> Bytes64 {
    Bytes64(filledBy: { signature in
      let key = secret.base.assumingMemoryBound(to: UInt8.self)
      Sodium.require(crypto_sign_detached(signature, nil, message, UInt64(message.count), key), "Ed25519 signature")
    })
  }
}

public enum Ed25519 {
  /// Whether `signature` over `message` was made with the secret key of `publicKey`.
  public static func verify(_ signature: Bytes64, _ message: [UInt8], publicKey: Bytes32) -> Bool {
    signature.withUnsafePointer { signatureBytes in
      publicKey.withUnsafePointer { keyBytes in
        crypto_sign_verify_detached(signatureBytes, message, UInt64(message.count), keyBytes) == 0
      }
    }
  }
}

/// Guarded memory, zeroed on release. Written once before it is shared, read-only afterwards.
public final class SecretMemory: @unchecked Sendable {
  public let base: UnsafeMutableRawPointer
  public let count: Int

  /// Zero-filled. Falls back to ordinary memory where the system refuses to lock pages.
  public init(count: Int) {
    Sodium.initialize()
    self.count = count
    if let guarded = sodium_malloc(count) {
      base = guarded
      isGuarded = true
    } else {
      base = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16)
      isGuarded = false
    }
    sodium_memzero(base, count)
  }

  private let isGuarded: Bool

  deinit {
    if isGuarded {
      sodium_free(base)
    } else {
      sodium_memzero(base, count)
      base.deallocate()
    }
  }
}
