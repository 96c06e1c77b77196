import CHyperSodium
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
/// The state is wiped on release. Sealing and opening have no allocation and no copy of their own.
final class FrameCipher {
  private let state: UnsafeMutablePointer<crypto_secretstream_xchacha20poly1305_state>

  /// `header` is 24 random bytes, chosen by the sender. Both directions start alike: the sender's header is handed in
  /// instead of being drawn by libsodium, so that randomness comes from the environment.
  init(key: UnsafePointer<UInt8>, header: UnsafePointer<UInt8>) {
    state = .allocate(capacity: 1)
    Sodium.require(crypto_secretstream_xchacha20poly1305_init_pull(state, header, key), "secretstream key")
  }

  deinit {
    sodium_memzero(state, MemoryLayout<crypto_secretstream_xchacha20poly1305_state>.size)
    state.deallocate()
  }

  /// Writes prefix, tag, ciphertext and MAC: `message.count + Limits.Stream.frameOverhead` bytes at `target`. `message`
  /// may lie exactly where its ciphertext goes, 4 bytes behind `target`.
  @inline(__always)
  func seal(_ message: UnsafeRawBufferPointer, tag: FrameTag, to target: UnsafeMutableRawPointer) {
    let body = message.count &+ Limits.Stream.messageOverhead
    target.storeBytes(of: UInt8(truncatingIfNeeded: body), as: UInt8.self)
    target.storeBytes(of: UInt8(truncatingIfNeeded: body >> 8), toByteOffset: 1, as: UInt8.self)
    target.storeBytes(of: UInt8(truncatingIfNeeded: body >> 16), toByteOffset: 2, as: UInt8.self)
    let status = crypto_secretstream_xchacha20poly1305_push(
      state, (target + Limits.Stream.prefixCount).assumingMemoryBound(to: UInt8.self), nil,
      message.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(message.count), nil, 0, tag.rawValue)
    Sodium.require(status, "secretstream frame")
  }

  /// Verifies and decrypts a frame body of at least 17 bytes; `target` takes `body.count - 17` bytes and may be exactly
  /// one byte behind `body`'s start. `nil` if it does not authenticate; the state is then unchanged.
  @inline(__always)
  func open(_ body: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer?) -> UInt8? {
    var tag: UInt8 = 0
    let status = crypto_secretstream_xchacha20poly1305_pull(
      state, target?.assumingMemoryBound(to: UInt8.self), nil, &tag,
      body.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(body.count), nil, 0)
    return status == 0 ? tag : nil
  }
}
