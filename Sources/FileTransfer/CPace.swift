import CHyperSodium
import HyperEncoding

/// One side of CPace, a balanced password-authenticated key exchange, with ristretto255 and SHA-512, in roles of
/// initiator and responder (draft-irtf-cfrg-cpace).
package struct CPace: Sendable {
  static let group = Array("CPaceRistretto255".utf8)
  /// Bytes that SHA-512 takes at once.
  private static let block = 128

  /// What the other side gets.
  package let share: Bytes32
  private let scalar: Bytes32
  private let session: [UInt8]

  /// - Parameters:
  ///   - password: what both sides know.
  ///   - channel: names both sides and what they do; the same for both.
  ///   - session: the same for both, and for no other run.
  ///   - scalar: a secret number below the order of the group; random by default.
  package init(password: [UInt8], channel: [UInt8], session: [UInt8], scalar: Bytes32 = CPace.randomScalar()) {
    Limits.check()
    self.session = session
    self.scalar = scalar
    let generator = CPace.generator(password: password, channel: channel, session: session)
    // Fails only for a multiple of the order, and the generator is none but with negligible probability.
    guard let share = CPace.multiply(scalar, generator) else { preconditionFailure("a scalar is not zero") }
    self.share = share
  }

  package static func randomScalar() -> Bytes32 {
    Bytes32(filledBy: { crypto_core_ristretto255_scalar_random($0) })
  }

  /// The key of both sides, 64 bytes; `nil` when the share is no element of the group, or its neutral one: then the
  /// other side is not honest.
  package func key(
    with remote: Bytes32, isInitiator: Bool, ownData: [UInt8] = [], remoteData: [UInt8] = []
  ) -> [UInt8]? {
    guard let secret = CPace.multiply(scalar, remote) else { return nil }
    let own = CPace.joined([share.bytes, ownData])
    let other = CPace.joined([remote.bytes, remoteData])
    return CPace.hash(
      CPace.joined([CPace.group + Array("_ISK".utf8), session, secret.bytes])
        + (isInitiator ? own + other : other + own))
  }

  static func generatorString(password: [UInt8], channel: [UInt8], session: [UInt8]) -> [UInt8] {
    let padding = max(0, block - joined([password]).count - joined([group]).count - 1)
    return joined([group, password, [UInt8](repeating: 0, count: padding), channel, session])
  }

  static func generator(password: [UInt8], channel: [UInt8], session: [UInt8]) -> Bytes32 {
    let hash = hash(generatorString(password: password, channel: channel, session: session))
    return Bytes32(filledBy: { _ = crypto_core_ristretto255_from_hash($0, hash) })
  }

  /// The product, or `nil` if the element is none, or the product is the neutral element.
  static func multiply(_ scalar: Bytes32, _ element: Bytes32) -> Bytes32? {
    var status: Int32 = -1
    let product = Bytes32(filledBy: { out in
      scalar.withUnsafePointer { scalar in
        element.withUnsafePointer { status = crypto_scalarmult_ristretto255(out, scalar, $0) }
      }
    })
    return status == 0 ? product : nil
  }

  private static func hash(_ bytes: [UInt8]) -> [UInt8] {
    Bytes64(filledBy: { _ = crypto_hash_sha512($0, bytes, UInt64(bytes.count)) }).bytes
  }

  /// Each part behind its length, in LEB128.
  package static func joined(_ parts: [[UInt8]]) -> [UInt8] {
    var out: [UInt8] = []
    for part in parts {
      var count = part.count
      while count >= 0x80 {
        out.append(UInt8(truncatingIfNeeded: count) | 0x80)
        count >>= 7
      }
      out.append(UInt8(count))
      out += part
    }
    return out
  }
}
