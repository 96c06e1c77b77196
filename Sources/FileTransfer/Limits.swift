import CHyperSodium

/// Bounds of the protocol of files (file-transfer.md); both sides enforce them.
package enum Limits {
  /// Bytes of a message: a message of data and its type; far below what a stream would take.
  package static let message = data + 1
  /// Bytes of file content in one message: large enough that the cost of a message does not count.
  package static let data = 262_144
  /// Entries of an offer: files and folders; the receiver keeps a record of each in memory.
  package static let entries = 1 << 20
  /// Bytes of the names of an offer, all together, which the receiver keeps in memory.
  package static let names = 64 << 20
  /// Bytes of one name in a path: what file systems take.
  package static let name = 255
  /// Bytes of a path: what system calls take.
  package static let path = 4095
  /// Names in a path: deeper trees make file systems slow.
  package static let depth = 256
  /// Bytes of entries in one message, about: a page that is in memory while it is written and read.
  package static let page = 65_536
  /// Bytes of all files of an offer together: 64 TiB, so that no digest takes days.
  package static let total: UInt64 = 1 << 46
  /// Files asked for and not yet answered: small files follow one another without waiting for the other side.
  package static let wants = 64
  /// Bytes of a text that goes with an error.
  package static let text = 256
  /// Bytes of a leaf of a file's digest: what a hole costs is a hash for this much.
  package static let leaf = 1 << 20
  /// Digits of a nameplate: 100,000 senders at once rarely share one.
  package static let nameplateDigits = 5
  /// Words of a code, of 256 each: a guess is right once in 16,777,216 times, and there is one.
  package static let words = 3

  /// What the constants must be to each other, and to libsodium.
  static func check() { _ = checked }

  private static let checked: Void = {
    precondition(path >= name && depth <= path && page + path < message, "a page of entries fits into a message")
    precondition(crypto_core_ristretto255_bytes() == 32 && crypto_core_ristretto255_scalarbytes() == 32)
    precondition(crypto_core_ristretto255_hashbytes() == 64 && crypto_hash_sha512_bytes() == 64)
  }()
}
