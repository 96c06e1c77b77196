import HyperDHT
import HyperEnvironment
import HyperProtomuxEngine

/// Why a channel, or a call on it, failed. `code` is stable across releases and languages.
public enum ProtomuxError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The channel, or the connection under it, is closed. Also what `open` throws on a channel that was opened before.
  case closed
  /// The peer does not want the channel: it has no such protocol, or not with this id.
  case rejected
  /// The task that waited was cancelled. The channel goes on.
  case cancelled
  /// This side has not opened the channel: call `open` first.
  case notOpened
  /// A channel with this protocol and id, or this alias, is there already.
  case duplicateChannel
  /// The connection has as many channels as it may have: `maximumChannels`, 16,384 unless set.
  case tooManyChannels
  /// A message, or the opening of a channel, of so many bytes does not fit the connection. Nothing was sent.
  case messageTooLarge(Int)
  /// The codec could not encode a value. Nothing was sent.
  case encodingFailed(String)
  /// The codec of the channel could not decode what the peer has sent. The connection is destroyed.
  case decodingFailed(String)
  /// The peer does not speak the protocol. The connection is destroyed.
  case protocolViolation(String)
  /// The connection failed.
  case connection(ConnectionError)

  /// The same in all releases and languages.
  public var code: String {
    switch self {
    case .closed: "CLOSED"
    case .rejected: "CHANNEL_REJECTED"
    case .cancelled: "CANCELLED"
    case .notOpened: "CHANNEL_NOT_OPENED"
    case .duplicateChannel: "DUPLICATE_CHANNEL"
    case .tooManyChannels: "TOO_MANY_CHANNELS"
    case .messageTooLarge: "MESSAGE_TOO_LARGE"
    case .encodingFailed: "ENCODING_FAILED"
    case .decodingFailed: "DECODING_FAILED"
    case .protocolViolation: "PROTOCOL_ERROR"
    case .connection(let error): error.code
    }
  }

  /// The code and a sentence for people.
  public var description: String {
    switch self {
    case .closed: "\(code): the channel is closed"
    case .rejected: "\(code): the peer does not want the channel"
    case .cancelled: "\(code): the call was cancelled"
    case .notOpened: "\(code): this side has not opened the channel"
    case .duplicateChannel: "\(code): there is a channel with this protocol and id"
    case .tooManyChannels: "\(code): the connection has as many channels as it may have"
    case .messageTooLarge(let count): "\(code): a message of \(count) bytes is above the limit"
    case .encodingFailed(let reason): "\(code): the value cannot be encoded: \(reason)"
    case .decodingFailed(let reason): "\(code): what the peer has sent cannot be decoded: \(reason)"
    case .protocolViolation(let reason): "\(code): \(reason)"
    case .connection(let error): error.description
    }
  }

  init(_ refusal: MuxRefusal) {
    switch refusal {
    case .closed: self = .closed
    case .notOpened: self = .notOpened
    case .duplicate: self = .duplicateChannel
    case .tooManyChannels: self = .tooManyChannels
    case .tooLarge(let count): self = .messageTooLarge(count)
    }
  }

  init(_ violation: MuxViolation) {
    switch violation {
    case .malformed: self = .protocolViolation("the peer has sent a frame that is none")
    case .invalidOpen: self = .protocolViolation("the peer has opened a channel under an id that it may not use")
    case .invalidReject: self = .protocolViolation("the peer has rejected a channel that was not opened")
    }
  }

  init(_ error: ConnectionError) {
    switch error {
    case .closed: self = .closed
    case .cancelled: self = .cancelled
    case .messageTooLarge(let count): self = .messageTooLarge(count)
    default: self = .connection(error)
    }
  }
}

extension ProtomuxError: CodedError {}
