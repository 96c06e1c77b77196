import CHyperSodium
import HyperCrypto
import HyperEncoding

/// The symmetric state of Noise (secret-stream.md 4.2): chaining key, handshake hash and the current cipher key.
///
/// A class over wiped memory; `copy()` is how the handshake tries a message without risking its state.
final class SymmetricState {
  private let memory: WipedMemory
  private(set) var hasKey = false
  private(set) var nonce: UInt64 = 0

  private static let count = NoiseHash.count
  private static let macCount = HyperCrypto.Limits.mac

  private var chainingKey: UnsafeMutablePointer<UInt8> { memory.base }
  private var hash: UnsafeMutablePointer<UInt8> { memory.base + Self.count }
  private var key: UnsafeMutablePointer<UInt8> { memory.base + 2 * Self.count }

  /// Starts from the protocol name: `h = ck =` the name, zero-padded to 64 bytes or hashed if longer.
  init(protocolName: String) {
    memory = WipedMemory(count: 2 * Self.count + 32)
    let name = Array(protocolName.utf8)
    name.withUnsafeBytes { bytes in
      if bytes.count <= Self.count, let source = bytes.baseAddress {
        UnsafeMutableRawPointer(hash).copyMemory(from: source, byteCount: bytes.count)
      } else {
        NoiseHash.hash(bytes, UnsafeRawBufferPointer(start: nil, count: 0), into: hash)
      }
    }
    chainingKey.update(from: hash, count: Self.count)
  }

  private init(copying other: SymmetricState) {
    memory = other.memory.copy()
    hasKey = other.hasKey
    nonce = other.nonce
  }

  func copy() -> SymmetricState { SymmetricState(copying: self) }

  var handshakeHash: Bytes64 { Bytes64(copying: hash) }

  func mixHash(_ bytes: UnsafeRawBufferPointer) {
    NoiseHash.hash(UnsafeRawBufferPointer(start: hash, count: Self.count), bytes, into: hash)
  }

  func mixHash(_ bytes: Bytes32) { bytes.withUnsafeBytes { mixHash($0) } }

  func mixKey(_ input: UnsafeRawBufferPointer) {
    withSecretScratch(2 * Self.count) { out in
      derive(input, outputs: 2, into: out)
      chainingKey.update(from: out, count: Self.count)
      setKey(out + Self.count)
    }
  }

  func mixKeyAndHash(_ preSharedKey: UnsafeRawBufferPointer) {
    withSecretScratch(3 * Self.count) { out in
      derive(preSharedKey, outputs: 3, into: out)
      chainingKey.update(from: out, count: Self.count)
      mixHash(UnsafeRawBufferPointer(start: out + Self.count, count: Self.count))
      setKey(out + 2 * Self.count)
    }
  }

  /// Appends the encryption of `plaintext` to `out`; the plaintext itself while there is no key.
  func encryptAndHash(_ plaintext: UnsafeRawBufferPointer, into out: inout [UInt8]) throws(NoiseError) {
    let start = out.count
    guard hasKey else {
      out.append(contentsOf: plaintext)
      mixHash(plaintext)
      return
    }
    guard plaintext.count + Self.macCount <= Limits.Noise.maximumCiphertext else { throw .payloadTooLarge }
    let total = plaintext.count + Self.macCount
    out.append(contentsOf: repeatElement(0, count: total))
    out.withUnsafeMutableBytes { bytes in
      let target = (bytes.baseAddress! + start).assumingMemoryBound(to: UInt8.self)
      withNonce { nonceBytes in
        Sodium.require(
          crypto_aead_chacha20poly1305_ietf_encrypt(
            target, nil, plaintext.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(plaintext.count), hash,
            UInt64(Self.count), nil, nonceBytes, key), "ChaCha20-Poly1305")
      }
      mixHash(UnsafeRawBufferPointer(start: target, count: total))
    }
    nonce &+= 1
  }

  /// The decryption of `ciphertext`; the bytes themselves while there is no key.
  func decryptAndHash(_ ciphertext: UnsafeRawBufferPointer) throws(NoiseError) -> [UInt8] {
    guard ciphertext.count <= Limits.Noise.maximumCiphertext else { throw .payloadTooLarge }
    guard hasKey else {
      mixHash(ciphertext)
      return Array(ciphertext)
    }
    guard ciphertext.count >= Self.macCount, let source = ciphertext.baseAddress else { throw .messageTooShort }
    var plaintext = [UInt8](repeating: 0, count: ciphertext.count - Self.macCount)
    let status = withNonce { nonceBytes in
      plaintext.withUnsafeMutableBufferPointer { target in
        // libsodium wants an address even for no bytes.
        var nothing: UInt8 = 0
        return withUnsafeMutablePointer(to: &nothing) { placeholder in
          crypto_aead_chacha20poly1305_ietf_decrypt(
            target.baseAddress ?? placeholder, nil, nil, source.assumingMemoryBound(to: UInt8.self),
            UInt64(ciphertext.count), hash, UInt64(Self.count), nonceBytes, key)
        }
      }
    }
    guard status == 0 else { throw .decryptionFailed }
    mixHash(ciphertext)
    nonce &+= 1
    return plaintext
  }

  /// The two transport keys, 32 bytes each: initiator to responder, then back. Wipes everything but the hash.
  func split() -> WipedMemory {
    let keys = WipedMemory(count: 64)
    withSecretScratch(2 * Self.count) { out in
      derive(UnsafeRawBufferPointer(start: nil, count: 0), outputs: 2, into: out)
      keys.base.update(from: out, count: 32)
      (keys.base + 32).update(from: out + Self.count, count: 32)
    }
    sodium_memzero(chainingKey, Self.count)
    sodium_memzero(key, 32)
    hasKey = false
    return keys
  }

  private func derive(_ input: UnsafeRawBufferPointer, outputs: Int, into out: UnsafeMutablePointer<UInt8>) {
    NoiseHash.hkdf(
      chainingKey: UnsafeRawBufferPointer(start: chainingKey, count: Self.count), input: input, outputs: outputs,
      into: out)
  }

  private func setKey(_ source: UnsafePointer<UInt8>) {
    key.update(from: source, count: 32)
    hasKey = true
    nonce = 0
  }

  /// 4 zero bytes, then the counter, little-endian.
  private func withNonce<R>(_ body: (UnsafePointer<UInt8>) -> R) -> R {
    let words = (UInt32(0), UInt32(truncatingIfNeeded: nonce).littleEndian, UInt32(nonce >> 32).littleEndian)
    return withUnsafeBytes(of: words) { body($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
  }

  /// For tests only: chaining key, hash and cipher key as they stand.
  var snapshot: (chainingKey: [UInt8], hash: [UInt8], key: [UInt8]?, nonce: UInt64) {
    (
      Array(UnsafeBufferPointer(start: chainingKey, count: Self.count)),
      Array(UnsafeBufferPointer(start: hash, count: Self.count)),
      hasKey ? Array(UnsafeBufferPointer(start: key, count: 32)) : nil, nonce
    )
  }
}
