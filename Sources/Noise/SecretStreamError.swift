import HyperEnvironment
import HyperRuntime
import HyperSecretStream

/// Why a secret stream, or a call on it, failed. `code` is stable across releases and languages.
public enum SecretStreamError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The peer's handshake message is not one, or not meant for this side's key.
  case handshakeFailed(String)
  /// The peer has proved another key than `SecretStream.Options.remotePublicKey`.
  case remoteKeyMismatch
  /// The pattern IK needs `SecretStream.Options.remotePublicKey` on the side that begins.
  case missingRemoteKey
  /// The handshake was not complete within `SecretStream.Options.handshakeTimeout`.
  case handshakeTimedOut
  /// The transport ended before the handshake was complete.
  case endedDuringHandshake
  /// What came after the handshake is not the beginning of the peer's stream.
  case invalidHeader
  /// The bytes that arrived are not the peer's: changed on the way, or a broken peer.
  case decryptionFailed
  /// The peer announced a message above `SecretStream.Options.maximumMessageSize`, or one too short to be one.
  case invalidMessage
  /// The transport ended inside a message.
  case truncated
  /// Nothing arrived for `SecretStream.Options.timeout`, or the transport says that the peer is silent.
  case timedOut
  /// The peer aborted.
  case reset
  /// The transport failed, with what it says.
  case transport(String)
  /// One message may have at most `SecretStream.maximumMessageSize` bytes; the size of this one. Nothing was sent.
  case messageTooLarge(Int)
  /// The stream is closed, or its writing half has ended.
  case closed
  /// The task that waited was cancelled. The stream goes on.
  case cancelled
  /// No event loop could be made.
  case loop(EventLoopError)
  /// Anything else, with the engine's stable code and a sentence for people.
  case failed(code: String, description: String)

  /// The stable name of the reason, the same in all languages.
  public var code: String {
    switch self {
    case .handshakeFailed: "HANDSHAKE_FAILED"
    case .remoteKeyMismatch: "REMOTE_KEY_MISMATCH"
    case .missingRemoteKey: "REMOTE_KEY_MISSING"
    case .handshakeTimedOut: "HANDSHAKE_TIMEOUT"
    case .endedDuringHandshake: "HANDSHAKE_ENDED"
    case .invalidHeader: "INVALID_HEADER"
    case .decryptionFailed: "DECRYPTION_FAILED"
    case .invalidMessage: "INVALID_MESSAGE"
    case .truncated: "TRUNCATED"
    case .timedOut: "ETIMEDOUT"
    case .reset: "ECONNRESET"
    case .transport: "TRANSPORT_ERROR"
    case .messageTooLarge: "MESSAGE_TOO_LARGE"
    case .closed: "CLOSED"
    case .cancelled: "CANCELLED"
    case .loop: "LOOP_FAILED"
    case .failed(let code, _): code
    }
  }

  /// The code and a sentence for people.
  public var description: String {
    switch self {
    case .handshakeFailed(let reason): "\(code): the handshake failed: \(reason)"
    case .remoteKeyMismatch: "\(code): the peer has another public key than expected"
    case .missingRemoteKey: "\(code): the pattern IK needs the peer's public key beforehand"
    case .handshakeTimedOut: "\(code): the handshake took too long"
    case .endedDuringHandshake: "\(code): the transport ended before the handshake was complete"
    case .invalidHeader: "\(code): the peer's stream does not belong to the handshake"
    case .decryptionFailed: "\(code): the received data does not decrypt"
    case .invalidMessage: "\(code): the peer announced a message that is too long or too short"
    case .truncated: "\(code): the transport ended inside a message"
    case .timedOut: "\(code): the peer stopped answering"
    case .reset: "\(code): the peer closed the stream abruptly"
    case .transport(let reason): "\(code): \(reason)"
    case .messageTooLarge(let count): "\(code): a message of \(count) bytes is above the limit"
    case .closed: "\(code): the stream is closed"
    case .cancelled: "\(code): the call was cancelled"
    case .loop(let error): "\(code): \(error.description)"
    case .failed(let code, let description): "\(code): \(description)"
    }
  }

  /// No `default`: a new reason of the engine has to be placed here.
  init(_ error: EncryptedStreamError, transport: String?) {
    switch error {
    case .handshakeFailed(.missingRemoteKey): self = .missingRemoteKey
    case .handshakeFailed(let reason): self = .handshakeFailed(reason.description)
    case .remoteKeyMismatch: self = .remoteKeyMismatch
    case .endedDuringHandshake: self = .endedDuringHandshake
    case .handshakeTimedOut: self = .handshakeTimedOut
    case .invalidHeaderLength, .invalidHeader: self = .invalidHeader
    case .invalidMessage, .frameTooLarge: self = .invalidMessage
    case .decryptionFailed: self = .decryptionFailed
    case .truncated: self = .truncated
    case .timedOut, .transport(.timedOut): self = .timedOut
    case .transport(.reset): self = .reset
    case .transport(.packetsTooLarge), .transport(.other): self = .transport(transport ?? error.description)
    case .messageTooLarge, .messageTimedOut, .evicted, .datagramNonceExhausted, .queueOverflow, .failed:
      self = .failed(code: error.code, description: error.description)
    }
  }
}

extension SecretStreamError: CodedError {}

extension ClosingFlag<SecretStreamError> {
  /// The reason behind what the helpers of the runtime say.
  func error(_ failure: CallFailure) -> SecretStreamError {
    switch failure {
    case .closed: reason ?? .closed
    case .cancelled: .cancelled
    }
  }

  /// Waits until it closes, and fails with its reason.
  nonisolated(nonsending) func waitForSuccess(
    or closing: ClosingFlag<SecretStreamError>
  ) async throws(SecretStreamError) {
    var failure: SecretStreamError?
    do throws(CallFailure) {
      failure = try await wait()
    } catch {
      throw closing.error(error)
    }
    if let failure { throw failure }
  }
}
