import CHyperSodium
import HyperCrypto
import HyperEncoding

/// A static or ephemeral key for Diffie-Hellman on Ed25519 in Edwards form (secret-stream.md 3.4).
///
/// Normally the scalar comes from an ordinary Ed25519 key pair. A "tweaked" key brings a raw scalar, which is used
/// unclamped. The scalar is wiped when the last copy goes away.
package struct NoiseKey: Sendable {
  package let publicKey: Bytes32
  let scalar: WipedMemory

  /// Scalar = SHA-512(seed)[0..<32] with the usual clamping.
  package init(_ keyPair: KeyPair) {
    Sodium.initialize()
    publicKey = keyPair.publicKey
    let memory = WipedMemory(count: 32)
    keyPair.withSecretKey { secret in
      withSecretScratch(64) { digest in
        let seed = secret.baseAddress?.assumingMemoryBound(to: UInt8.self)
        Sodium.require(crypto_hash_sha512(digest, seed, 32), "SHA-512")
        memory.base.update(from: digest, count: 32)
      }
    }
    scalar = NoiseKey.clamped(memory)
  }

  /// A key for one handshake: no guarded pages, which take a dozen system calls.
  package init(seed: Bytes32) {
    Sodium.initialize()
    let memory = WipedMemory(count: 32)
    publicKey = Bytes32(filledBy: { key in
      withSecretScratch(64) { secret in
        seed.withUnsafePointer { seed in
          Sodium.require(crypto_sign_seed_keypair(key, secret, seed), "Ed25519 key pair")
          Sodium.require(crypto_hash_sha512(secret, seed, 32), "SHA-512")
        }
        memory.base.update(from: secret, count: 32)
      }
    })
    scalar = NoiseKey.clamped(memory)
  }

  private static func clamped(_ memory: WipedMemory) -> WipedMemory {
    memory.base[0] &= 0xf8
    memory.base[31] &= 0x7f
    memory.base[31] |= 0x40
    return memory
  }

  /// A tweaked key: 32 bytes of scalar, little-endian, not clamped; `nil` for any other size.
  package init?(publicKey: Bytes32, scalar bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 32, let source = bytes.baseAddress else { return nil }
    Sodium.initialize()
    self.publicKey = publicKey
    let memory = WipedMemory(count: 32)
    UnsafeMutableRawPointer(memory.base).copyMemory(from: source, byteCount: 32)
    scalar = memory
  }
}

enum EdwardsDH {
  static let count = 32

  /// `out = scalar · point`, compressed. False for every point that secret-stream.md 3.4 rejects: non-canonical, not on
  /// the curve, of small order, outside the prime-order subgroup; also for an all-zero scalar and an identity result.
  static func multiply(scalar: UnsafePointer<UInt8>, point: Bytes32, into out: UnsafeMutablePointer<UInt8>) -> Bool {
    point.withUnsafePointer { crypto_scalarmult_ed25519_noclamp(out, scalar, $0) == 0 }
  }
}
