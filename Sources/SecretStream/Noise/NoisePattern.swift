import HyperCrypto

/// The handshake patterns of this stack (secret-stream.md 4.3). `nn` and the pre-shared-key variants exist to test the
/// core; streams use `ik` and `xx`.
package enum NoisePattern: Sendable, Hashable {
  case ik
  case xx
  case nn
  case nnPSK0
  case xxPSK0

  enum Token {
    case psk, e, s, ee, es, se, ss
  }

  var name: String {
    switch self {
    case .ik: "IK"
    case .xx: "XX"
    case .nn: "NN"
    case .nnPSK0: "NNpsk0"
    case .xxPSK0: "XXpsk0"
    }
  }

  /// Messages alternate, the initiator's first.
  var messages: [[Token]] {
    switch self {
    case .ik: [[.e, .es, .s, .ss], [.e, .ee, .se]]
    case .xx: [[.e], [.e, .ee, .s, .es], [.s, .se]]
    case .nn: [[.e], [.e, .ee]]
    case .nnPSK0: [[.psk, .e], [.e, .ee]]
    case .xxPSK0: [[.psk, .e], [.e, .ee, .s, .es], [.s, .se]]
    }
  }

  var usesPreSharedKey: Bool { self == .nnPSK0 || self == .xxPSK0 }

  /// The responder's static key is known to the initiator beforehand.
  var hasPreMessage: Bool { self == .ik }

  /// Bytes of message number `index` with an empty payload (secret-stream.md 4.3).
  func minimumSize(ofMessage index: Int) -> Int {
    var size = 0
    var hasKey = false
    for token in messages[index] {
      switch token {
      case .e:
        size += 32
        if usesPreSharedKey { hasKey = true }
      case .s: size += hasKey || index > 0 ? 48 : 32
      case .psk, .ee, .es, .se, .ss: hasKey = true
      }
    }
    return size + (hasKey || index > 0 ? HyperCrypto.Limits.mac : 0)
  }
}

/// Why a handshake cannot go on. The state before the failing call is untouched.
package enum NoiseError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The pattern needs the responder's static key (`ik` as initiator).
  case missingRemoteKey
  /// The pattern needs a pre-shared key, or must not have one.
  case preSharedKeyMismatch
  /// A message was sent or received out of turn or after completion.
  case outOfTurn
  case messageTooShort
  /// More than 65,535 bytes in one encrypted item.
  case payloadTooLarge
  /// A tag does not fit: changed bytes, other keys, another prologue.
  case decryptionFailed
  /// The peer's key is not a point of the prime-order group.
  case invalidKey

  package var description: String {
    switch self {
    case .missingRemoteKey: "Remote pubkey required"
    case .preSharedKeyMismatch: "a pre-shared key is needed exactly for the psk patterns"
    case .outOfTurn: "handshake message out of turn"
    case .messageTooShort: "handshake message too short"
    case .payloadTooLarge: "handshake message too large"
    case .decryptionFailed: "handshake message does not authenticate"
    case .invalidKey: "public key is not a valid curve point"
    }
  }
}
