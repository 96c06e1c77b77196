import HyperEnvironment
import HyperRuntime

/// Why a UDX connection, or a call on it, failed. `code` is stable across releases and languages.
public enum UDXConnectionError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The peer destroyed the connection.
  case reset
  /// The peer stopped answering.
  case timedOut
  /// The connection is closed, or its writing half has ended.
  case closed
  /// The task that waited was cancelled. The connection goes on.
  case cancelled
  /// The system refused to go on.
  case transport(TransportError)

  public var code: String {
    switch self {
    case .reset: "ECONNRESET"
    case .timedOut: "ETIMEDOUT"
    case .closed: "CLOSED"
    case .cancelled: "CANCELLED"
    case .transport: "TRANSPORT_ERROR"
    }
  }

  public var description: String {
    switch self {
    case .reset: "\(code): the peer closed the connection abruptly"
    case .timedOut: "\(code): the peer stopped answering"
    case .closed: "\(code): the connection is closed"
    case .cancelled: "\(code): the call was cancelled"
    case .transport(let error): "\(code): \(error.description)"
    }
  }

  init(_ error: TransportStreamError) {
    switch error {
    case .reset: self = .reset
    case .timedOut: self = .timedOut
    case .other(let code): self = .transport(TransportError(uv: code))
    }
  }
}

extension ClosingFlag<UDXConnectionError> {
  /// The reason behind what the helpers of the runtime say.
  func error(_ failure: CallFailure) -> UDXConnectionError {
    switch failure {
    case .closed: reason ?? .closed
    case .cancelled: .cancelled
    }
  }
}
