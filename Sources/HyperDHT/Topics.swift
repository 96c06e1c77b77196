import HyperCrypto
import HyperEncoding

// Topics made from text. Both sides of a meeting have to use the same way.
extension Bytes32 {
  /// The BLAKE2b-256 hash of the text in UTF-8: what `DHT.hash(Buffer.from(text))` is in JavaScript. The better choice
  /// for a new program: texts of any length give different topics.
  public static func hash(of text: String) -> Bytes32 { Blake2b.hash32(Array(text.utf8)) }

  /// The BLAKE2b-256 hash of the bytes.
  public static func hash(of bytes: [UInt8]) -> Bytes32 { Blake2b.hash32(bytes) }

  /// What `Buffer.alloc(32, text)`, or `Buffer.alloc(32).fill(text)`, is in JavaScript, to meet peers that make their
  /// topic so: the text in UTF-8, again and again until 32 bytes are full. Of a longer text the first 32 bytes count,
  /// also where they end inside a character; an empty text gives 32 zeros. Not a secret, and not collision-free: texts
  /// with equal first 32 bytes, and `"ab"` and `"abab"`, are the same topic.
  public static func padded(_ text: String) -> Bytes32 {
    let bytes = Array(text.utf8.prefix(Bytes32.count))
    guard !bytes.isEmpty else { return Bytes32() }
    return Bytes32(filledBy: { for index in 0..<Bytes32.count { $0[index] = bytes[index % bytes.count] } })
  }
}
