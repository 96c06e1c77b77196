import HyperEnvironment
import HyperRuntime
import HyperSecretStream

/// Why a connection, or a call on it, failed. `code` is stable across releases and languages.
public enum ConnectionError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The peer destroyed the connection.
  case reset
  /// The peer stopped answering: it has not acknowledged for 13 seconds, or nothing came for the time that
  /// `HyperDHT.Connection.setTimeout` has set.
  case timedOut
  /// The peer's packets are larger than the path's MTU, may not be fragmented, and so do not arrive. Peers of other
  /// implementations need a path for packets of 1,200 bytes; `pathMTU` is the size of the largest IP packet that is
  /// known to get through, bytes.
  case packetsTooLarge(pathMTU: Int)
  /// The peer had not said anything before, and its first message, once begun, did not get on: nothing of it came for
  /// 30 seconds, or less than 720 KiB in 45.
  case messageTimedOut
  /// The peer had not said anything, and other streams needed the memory: more strangers have connected than fit.
  case evicted
  /// The connection is closed, or its writing half has ended.
  case closed
  /// The task that waited was cancelled. The connection goes on.
  case cancelled
  /// One message may have at most `HyperDHT.Connection.maximumMessageSize` bytes; the size of this one. Nothing was
  /// sent.
  case messageTooLarge(Int)
  /// The bytes that arrived are not the peer's: changed on the way, or a broken peer.
  case decryptionFailed
  /// Anything else, with the engine's stable code and a sentence for people: `FRAME_TOO_LARGE` for a message above
  /// `HyperDHT.Options.maximumMessageSize`, `DUPLICATE_CONNECTION`, codes of `DHTError` and others.
  case failed(code: String, description: String)

  /// The stable name of the reason, the same in all languages.
  public var code: String {
    switch self {
    case .reset: "ECONNRESET"
    case .timedOut: "ETIMEDOUT"
    case .packetsTooLarge: "EMSGSIZE"
    case .messageTimedOut: "MESSAGE_TIMEOUT"
    case .evicted: "EVICTED"
    case .closed: "CLOSED"
    case .cancelled: "CANCELLED"
    case .messageTooLarge: "MESSAGE_TOO_LARGE"
    case .decryptionFailed: "DECRYPTION_FAILED"
    case .failed(let code, _): code
    }
  }

  public var description: String {
    switch self {
    case .reset: "\(code): the peer closed the connection abruptly"
    case .timedOut: "\(code): the peer stopped answering"
    case .packetsTooLarge(let pathMTU): "\(code): \(TransportStreamError.tooLarge(pathMTU))"
    case .messageTimedOut: "\(code): the peer's first message took too long"
    case .evicted: "\(code): the peer had not said anything yet, and others needed the memory"
    case .closed: "\(code): the connection is closed"
    case .cancelled: "\(code): the call was cancelled"
    case .messageTooLarge(let count):
      "\(code): a message of \(count) bytes is above the limit"
    case .decryptionFailed: "\(code): the received data does not decrypt"
    case .failed(let code, let description): "\(code): \(description)"
    }
  }

  /// No `default`: a new reason of the engine has to be placed here.
  init(_ error: EncryptedStreamError) {
    switch error {
    case .transport(.reset): self = .reset
    case .transport(.timedOut), .timedOut: self = .timedOut
    case .transport(.packetsTooLarge(let pathMTU)): self = .packetsTooLarge(pathMTU: pathMTU)
    case .messageTimedOut: self = .messageTimedOut
    case .evicted: self = .evicted
    case .decryptionFailed: self = .decryptionFailed
    case .handshakeFailed, .remoteKeyMismatch, .endedDuringHandshake, .handshakeTimedOut, .invalidHeaderLength,
      .invalidHeader, .invalidMessage, .frameTooLarge, .messageTooLarge, .truncated, .datagramNonceExhausted,
      .queueOverflow, .transport(.other), .failed:
      self = .failed(code: error.code, description: error.description)
    }
  }
}

extension ClosingFlag<ConnectionError> {
  /// The reason behind what the helpers of the runtime say.
  func error(_ failure: CallFailure) -> ConnectionError {
    switch failure {
    case .closed: reason ?? .closed
    case .cancelled: .cancelled
    }
  }
}
