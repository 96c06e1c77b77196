import HyperEncoding
import HyperEnvironment

/// Why an RPC operation failed (dht-rpc.md 8).
///
/// An answer with an error code is not a failure at this level: it arrives as a ``Response`` with `error` set.
package enum RPCError: Error, Hashable, Sendable {
  /// No transmission was answered (`REQUEST_TIMEOUT`).
  case requestTimeout
  /// The request, its session or its query was destroyed (`REQUEST_DESTROYED`).
  case requestDestroyed
  /// The node is suspended or went to sleep while the request was in flight (`IO_SUSPENDED`).
  case suspended
  /// The node is destroyed, or was destroyed before the operation finished.
  case nodeDestroyed
  /// A query found no node to commit to.
  case tooFewNodes
  /// A reply to commit to carried no token.
  case missingToken
  /// Host 0.0.0.0, port 0, a host name where an IPv4 literal is needed, or the like.
  case invalidAddress
  /// The delay of a delayed ping exceeds the configured cap.
  case delayTooLong
  /// Too many requests are in flight or wait for the congestion window.
  case queueFull
  /// The message does not fit into a datagram.
  case messageTooLarge
  /// The sockets could not be bound.
  case bind(TransportError)
  /// The peer answered with this code where the operation needs success.
  case remote(UInt64)
}

extension RPCError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .requestTimeout: return "request timed out: no answer to any transmission"
    case .requestDestroyed: return "request was cancelled"
    case .suspended: return "the node is suspended"
    case .nodeDestroyed: return "the node is destroyed"
    case .tooFewNodes: return "too few nodes responded"
    case .missingToken: return "the node gave no token to commit with"
    case .invalidAddress: return "not a usable IPv4 address and port"
    case .delayTooLong: return "the delay exceeds the largest ping delay"
    case .queueFull: return "too many requests are in flight"
    case .messageTooLarge: return "the message does not fit into a datagram"
    case .bind(let error): return "cannot bind the UDP sockets: \(error.description)"
    case .remote(let code): return "the node answered with error \(code)"
    }
  }
}

/// Error codes on the wire (dht-rpc.md 8); those of applications start at 16.
package enum RPCErrorCode {
  package static let ok: UInt64 = 0
  package static let unknownCommand: UInt64 = 1
  package static let invalidToken: UInt64 = 2
}
