import HyperEnvironment

/// Why an encrypted stream ended (secret-stream.md 14). `description` keeps the reference's texts where callers
/// of deployed software match on them.
package enum EncryptedStreamError: CodedError {
  case handshakeFailed(NoiseError)
  /// The peer proved another key than the caller asked for.
  case remoteKeyMismatch
  /// The transport ended or closed before the handshake and the peer's stream header were complete.
  case endedDuringHandshake
  /// No verified stream header within `handshakeTimeout`.
  case handshakeTimedOut
  /// The first frame is not 56 bytes long.
  case invalidHeaderLength
  /// The stream id in the header is not the peer's.
  case invalidHeader
  /// A message frame below 17 bytes.
  case invalidMessage
  /// A message frame above `maximumFrame`.
  case frameTooLarge
  /// Changed, replayed, reordered or foreign bytes.
  case decryptionFailed
  /// A message to send above 16,777,198 bytes.
  case messageTooLarge
  /// The transport ended inside a frame.
  case truncated
  /// A message of a peer that had not said anything before did not arrive in time.
  case messageTimedOut
  /// The peer had not said anything, and other streams needed the memory.
  case evicted
  /// Nothing arrived for `timeout` milliseconds.
  case timedOut
  case datagramNonceExhausted
  /// A bound of ``Limits`` was passed by a writer or a transport that ignores back-pressure.
  case queueOverflow
  case transport(TransportStreamError)
  /// The error of the layer above, which destroyed the stream.
  case failed(AnyCodedError)

  package init(reason: some CodedError) { self = .failed(AnyCodedError(reason)) }

  /// Stable and short, for logs and other languages.
  package var code: String {
    switch self {
    case .handshakeFailed: "HANDSHAKE_FAILED"
    case .remoteKeyMismatch: "REMOTE_KEY_MISMATCH"
    case .endedDuringHandshake: "HANDSHAKE_ENDED"
    case .handshakeTimedOut: "HANDSHAKE_TIMEOUT"
    case .invalidHeaderLength, .invalidHeader: "INVALID_HEADER"
    case .invalidMessage: "INVALID_MESSAGE"
    case .frameTooLarge: "FRAME_TOO_LARGE"
    case .decryptionFailed: "DECRYPTION_FAILED"
    case .messageTooLarge: "MESSAGE_TOO_LARGE"
    case .truncated: "TRUNCATED"
    case .messageTimedOut: "MESSAGE_TIMEOUT"
    case .evicted: "EVICTED"
    case .timedOut, .transport(.timedOut): "ETIMEDOUT"
    case .datagramNonceExhausted: "NONCE_EXHAUSTED"
    case .queueOverflow: "QUEUE_OVERFLOW"
    case .transport(.reset): "ECONNRESET"
    case .transport(.packetsTooLarge): "EMSGSIZE"
    case .transport(.other): "TRANSPORT_ERROR"
    case .failed(let reason): reason.code
    }
  }

  package var description: String {
    switch self {
    case .handshakeFailed(let reason): "Noise handshake failed: \(reason)"
    case .remoteKeyMismatch: "the peer has another public key than expected"
    case .endedDuringHandshake: "the connection ended before the handshake was complete"
    case .handshakeTimedOut: "the handshake took too long"
    case .invalidHeaderLength: "Invalid header message received"
    case .invalidHeader: "Invalid header received"
    case .invalidMessage: "Invalid message received"
    case .frameTooLarge: "a message above the size limit was announced"
    case .decryptionFailed: "pull failed: a message does not authenticate"
    case .messageTooLarge: "Message is too large for an atomic write. Max size is 16777215 bytes."
    case .truncated: "the connection ended inside a message"
    case .messageTimedOut: "the peer's first message took too long"
    case .evicted: "the peer had not said anything yet, and others needed the memory"
    case .timedOut: "Stream timed out"
    case .datagramNonceExhausted: "udp send nonce exchausted"
    case .queueOverflow: "too many bytes are queued"
    case .transport(.reset): "connection reset by peer"
    case .transport(.timedOut): "connection timed out"
    case .transport(.packetsTooLarge(let pathMTU)): TransportStreamError.tooLarge(pathMTU)
    case .transport(.other(let errno)): "transport error \(errno)"
    case .failed(let reason): reason.description
    }
  }
}
