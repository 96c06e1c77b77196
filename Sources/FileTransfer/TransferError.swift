/// Why a transfer of files ended early.
package enum TransferError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The peer's first message is not of this protocol.
  case foreign
  /// The peer speaks another version.
  case version(UInt64)
  /// The peer broke the protocol: how.
  case violation(String)
  /// The peer's code is another one, or the peer is not the one with the code.
  case wrongCode
  /// The peer has no code where one is needed, or one where there is none, or it has ended.
  case noCode(String)
  /// The receiver does not want the offer.
  case declined
  /// The peer gave up, and said why.
  case refused(Refusal, String)
  /// The connection ended before everything had been said.
  case ended

  package var code: String {
    switch self {
    case .foreign: "FOREIGN_PROTOCOL"
    case .version: "UNKNOWN_VERSION"
    case .violation: "PROTOCOL"
    case .wrongCode: "WRONG_CODE"
    case .noCode: "CODE_NEEDED"
    case .declined: "DECLINED"
    case .refused(let refusal, _): refusal.code
    case .ended: "ENDED_EARLY"
    }
  }

  package var description: String {
    switch self {
    case .foreign: "the peer does not speak the protocol of send and receive"
    case .version(let version): "the peer speaks version \(version) of the protocol, which is unknown here"
    case .violation(let what): "the peer broke the protocol: \(what)"
    case .wrongCode: "the code is wrong"
    case .noCode(let text): text
    case .declined: "nothing was received"
    case .refused(let refusal, let text): text.isEmpty ? "\(refusal)" : "\(refusal): \(text)"
    case .ended: "the connection ended early"
    }
  }

  /// What to tell the peer, if anything.
  package var refusal: Refusal? {
    switch self {
    case .foreign, .violation: .violation
    case .version: .version
    case .wrongCode: .wrongCode
    case .noCode: .noCode
    case .declined: .declined
    case .refused, .ended: nil
    }
  }
}

/// Why a side gives up, on the wire (file-transfer.md 3).
package enum Refusal: Hashable, Sendable, CustomStringConvertible {
  case violation, version, wrongCode, noCode, declined, busy, failed
  case unknown(UInt64)

  private static let known: [Refusal] = [.violation, .version, .wrongCode, .noCode, .declined, .busy, .failed]

  package init(_ number: UInt64) {
    let index = number &- 1
    self = index < UInt64(Refusal.known.count) ? Refusal.known[Int(index)] : .unknown(number)
  }

  package var number: UInt64 {
    if case .unknown(let number) = self { return number }
    return UInt64(Refusal.known.firstIndex(of: self) ?? 0) + 1
  }

  package var code: String {
    switch self {
    case .violation: "PROTOCOL"
    case .version: "UNKNOWN_VERSION"
    case .wrongCode: "WRONG_CODE"
    case .noCode: "CODE_NEEDED"
    case .declined: "DECLINED"
    case .busy: "BUSY"
    case .failed: "PEER_FAILED"
    case .unknown: "REFUSED"
    }
  }

  package var description: String {
    switch self {
    case .violation: "the peer says that this side broke the protocol"
    case .version: "the peer does not know this version of the protocol"
    case .wrongCode: "the code is wrong"
    case .noCode: "the peer needs a code, or has none"
    case .declined: "the receiver does not want it"
    case .busy: "the sender serves as many receivers as it can"
    case .failed: "the peer failed"
    case .unknown(let number): "the peer gave up with reason \(number)"
    }
  }
}
