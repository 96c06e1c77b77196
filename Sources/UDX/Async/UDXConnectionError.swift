import HyperEnvironment
import HyperRuntime

/// Why a UDX connection, or a call on it, failed. `code` is stable across releases and languages.
public enum UDXConnectionError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The peer destroyed the connection.
  case reset
  /// The peer stopped answering: what was sent is not acknowledged for 13 seconds, up to 15 on slow paths.
  case timedOut
  /// The peer's packets are larger than the path's MTU, may not be fragmented, and so do not arrive.
  /// `pathMTU` is the size of the largest IP packet that is known to get through, bytes.
  case packetsTooLarge(pathMTU: Int)
  /// The connection is closed, by this side or regularly, or its writing half has ended.
  case closed
  /// The task that waited was cancelled. The connection goes on.
  case cancelled
  /// The system refused to go on.
  case transport(TransportError)

  /// The stable name of the reason, the same in all languages.
  public var code: String {
    switch self {
    case .reset: "ECONNRESET"
    case .timedOut: "ETIMEDOUT"
    case .packetsTooLarge: "EMSGSIZE"
    case .closed: "CLOSED"
    case .cancelled: "CANCELLED"
    case .transport: "TRANSPORT_ERROR"
    }
  }

  /// The code and a sentence for people.
  public var description: String {
    switch self {
    case .reset: "\(code): the peer closed the connection abruptly"
    case .timedOut: "\(code): the peer stopped answering"
    case .packetsTooLarge(let pathMTU): "\(code): \(TransportStreamError.tooLarge(pathMTU))"
    case .closed: "\(code): the connection is closed"
    case .cancelled: "\(code): the call was cancelled"
    case .transport(let error): "\(code): \(error.description)"
    }
  }

  init(_ error: TransportStreamError) {
    switch error {
    case .reset: self = .reset
    case .timedOut: self = .timedOut
    case .packetsTooLarge(let pathMTU): self = .packetsTooLarge(pathMTU: pathMTU)
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
