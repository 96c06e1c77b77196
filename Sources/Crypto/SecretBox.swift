import CHyperSodium
import HyperEncoding

/// XSalsa20-Poly1305 (libsodium `crypto_secretbox_easy`): the 16-byte MAC first, then the ciphertext.
public enum SecretBox {
  public static let nonceCount = Limits.secretBoxNonce
  public static let macCount = Limits.mac

  /// `nonce` must be 24 bytes, else `nil`.
  public static func seal(_ plaintext: [UInt8], nonce: [UInt8], key: Bytes32) -> [UInt8]? {
    guard nonce.count == nonceCount else { return nil }
    var box = [UInt8](repeating: 0, count: plaintext.count + macCount)
    let status = key.withUnsafePointer {
      crypto_secretbox_easy(&box, plaintext, UInt64(plaintext.count), nonce, $0)
    }
    return status == 0 ? box : nil
  }

  /// `nil` when the MAC does not fit, the box is shorter than a MAC or the nonce is not 24 bytes.
  public static func open(_ box: some Collection<UInt8>, nonce: some Collection<UInt8>, key: Bytes32) -> [UInt8]? {
    guard nonce.count == nonceCount, box.count >= macCount else { return nil }
    let boxBytes = Array(box)
    let nonceBytes = Array(nonce)
    var plaintext = [UInt8](repeating: 0, count: boxBytes.count - macCount)
    let status = key.withUnsafePointer {
      crypto_secretbox_open_easy(&plaintext, boxBytes, UInt64(boxBytes.count), nonceBytes, $0)
    }
    return status == 0 ? plaintext : nil
  }
}
