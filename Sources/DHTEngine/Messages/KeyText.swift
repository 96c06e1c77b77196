import HyperEncoding

/// Text forms of public keys: 64 hexadecimal characters, 52 z-base-32 characters, or `pear://` and either of them
/// (hyperdht.md 3.1).
public enum KeyText {
  /// Not a key in any accepted form. The text is that of the JavaScript implementation.
  public struct InvalidKey: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String { "Invalid Hypercore key" }
  }

  private static let scheme = "pear://"

  /// The key that `text` names: hexadecimal digits in either case, z-base-32 in lower case. After `pear://KEY/`
  /// everything is ignored.
  /// - Throws: `InvalidKey` for anything else, spaces at the ends included.
  public static func parse(_ text: String) throws(InvalidKey) -> Bytes32 {
    var body = Substring(text)
    if body.hasPrefix(scheme) { body = body.dropFirst(scheme.count).prefix { $0 != "/" } }
    switch body.utf8.count {
    case 64:
      if let key = Bytes32(hex: body) { return key }
    case 52:
      if let bytes = ZBase32.decode(body), let key = Bytes32(bytes) { return key }
    default: break
    }
    throw InvalidKey()
  }

  /// The key as 52 z-base-32 characters, without `pear://`.
  public static func zBase32(_ key: Bytes32) -> String { ZBase32.encode(key.bytes) }
}

/// z-base-32 without padding, most significant bits first.
public enum ZBase32 {
  private static let alphabet = Array("ybndrfg8ejkmcpqxot1uwisza345h769".utf8)

  public static func encode(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    var buffer: UInt16 = 0
    var bits = 0
    for byte in bytes {
      buffer = buffer << 8 | UInt16(byte)
      bits += 8
      while bits >= 5 {
        bits -= 5
        text.append(alphabet[Int(buffer >> UInt16(bits) & 31)])
      }
      buffer &= 0x1f
    }
    if bits > 0 { text.append(alphabet[Int(buffer << UInt16(5 - bits) & 31)]) }
    return String(decoding: text, as: UTF8.self)
  }

  /// Whole bytes only: bits that fill no byte are dropped. `nil` for a character outside the alphabet (upper case is).
  public static func decode(_ text: some StringProtocol) -> [UInt8]? {
    var bytes: [UInt8] = []
    var buffer: UInt16 = 0
    var bits = 0
    for character in text.utf8 {
      guard let value = alphabet.firstIndex(of: character) else { return nil }
      buffer = buffer << 5 | UInt16(value)
      bits += 5
      if bits >= 8 {
        bits -= 8
        bytes.append(UInt8(truncatingIfNeeded: buffer >> UInt16(bits)))
        buffer &= 0xff
      }
    }
    return bytes
  }
}
