import CHyperSodium

/// Sizes of the primitives, bytes; they are libsodium's and the wire's (secret-stream.md 2).
package enum Limits {
  /// Poly1305 tag of every authenticated cipher in use.
  @inlinable package static var mac: Int { 16 }
  /// Nonce of XSalsa20.
  package static let secretBoxNonce = 24
  /// Longest key of BLAKE2b.
  package static let hashKey = 64

  /// The sizes fit the library that this process has loaded.
  package static func check() { _ = checked }

  private static let checked: Void = {
    precondition(mac == crypto_secretbox_macbytes() && mac == crypto_aead_chacha20poly1305_ietf_abytes())
    precondition(secretBoxNonce == crypto_secretbox_noncebytes())
    precondition(hashKey == crypto_generichash_keybytes_max())
    precondition(crypto_sign_secretkeybytes() == 64 && crypto_sign_publickeybytes() == 32)
    precondition(crypto_sign_bytes() == 64 && crypto_sign_seedbytes() == 32)
  }()
}
