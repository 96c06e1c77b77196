import CHyperCipher
import HyperCrypto
import HyperEncoding

/// The tag of a message in libsodium's secretstream. Streams send `message` only (plus `final` on request); all four
/// are accepted, `rekey` and `final` change the key of what follows.
enum FrameTag: UInt8 {
  case message = 0
  case push = 1
  case rekey = 2
  case final = 3
}

/// One direction of the ordered stream: XChaCha20-Poly1305 secretstream (secret-stream.md 9).
///
/// The state is wiped on release. Sealing and opening have no allocation of their own, apart from the first message
/// that libcrypto takes, and no copy of large messages.
final class FrameCipher {
  // Part of the object: its memory does not move, and no copy of the secret is made.
  @exclusivity(unchecked) private var cipher = hyper_cipher_t()

  /// `header` is 24 random bytes, chosen by the sender: randomness comes from the environment.
  init(key: UnsafePointer<UInt8>, header: UnsafePointer<UInt8>) {
    hyper_cipher_init(&cipher, header, key)
  }

  deinit { hyper_cipher_wipe(&cipher) }

  /// Gives back what only messages on their way need.
  func trim() { hyper_cipher_trim(&cipher) }

  /// Writes prefix, tag, ciphertext and MAC: `message.count + Limits.Stream.frameOverhead` bytes at `target`. `message`
  /// may lie exactly where its ciphertext goes, 4 bytes behind `target`.
  @inline(__always)
  func seal(_ message: UnsafeRawBufferPointer, tag: FrameTag, to target: UnsafeMutableRawPointer) {
    let body = message.count &+ Limits.Stream.messageOverhead
    target.storeBytes(of: UInt8(truncatingIfNeeded: body), as: UInt8.self)
    target.storeBytes(of: UInt8(truncatingIfNeeded: body >> 8), toByteOffset: 1, as: UInt8.self)
    target.storeBytes(of: UInt8(truncatingIfNeeded: body >> 16), toByteOffset: 2, as: UInt8.self)
    let status = hyper_cipher_seal(
      &cipher, (target + Limits.Stream.prefixCount).assumingMemoryBound(to: UInt8.self),
      message.baseAddress?.assumingMemoryBound(to: UInt8.self), message.count, tag.rawValue)
    Sodium.require(status, "secretstream frame")
  }

  /// Whether `open` would take this body next. Nothing but the body changes.
  func wouldOpen(_ body: UnsafeMutableRawBufferPointer) -> Bool {
    hyper_cipher_would_open(&cipher, body.baseAddress?.assumingMemoryBound(to: UInt8.self), body.count) != 0
  }

  /// Verifies and decrypts a frame body of at least 17 bytes; `target` takes `body.count - 17` bytes and may be exactly
  /// one byte behind `body`'s start. `nil` if it does not authenticate; the state is then unchanged.
  @inline(__always)
  func open(_ body: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer?) -> UInt8? {
    var tag: UInt8 = 0
    let status = hyper_cipher_open(
      &cipher, target?.assumingMemoryBound(to: UInt8.self), &tag,
      body.baseAddress?.assumingMemoryBound(to: UInt8.self), body.count)
    return status == 0 ? tag : nil
  }
}
