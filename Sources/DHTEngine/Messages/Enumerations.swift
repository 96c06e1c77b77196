/// The user commands of the DHT (hyperdht.md 2).
package enum Command: UInt64, Sendable {
  case peerHandshake = 0
  case peerHolepunch = 1
  case findPeer = 2
  case lookup = 3
  case announce = 4
  case unannounce = 5
  case mutablePut = 6
  case mutableGet = 7
  case immutablePut = 8
  case immutableGet = 9
  case plugin = 10
}

/// What a node knows about the NAT in front of it (hyperdht.md 1.2).
///
/// Open for values of later versions: everything from `random` up is treated as random.
package struct Firewall: RawRepresentable, Hashable, Comparable, Sendable {
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Not analysed yet.
  package static let unknown = Firewall(rawValue: 0)
  /// Reachable without punching.
  package static let open = Firewall(rawValue: 1)
  /// One external address for all destinations (endpoint-independent mapping).
  package static let consistent = Firewall(rawValue: 2)
  /// The external port differs per destination.
  package static let random = Firewall(rawValue: 3)

  package var isRandom: Bool { self >= .random }

  package static func < (a: Firewall, b: Firewall) -> Bool { a.rawValue < b.rawValue }
}

extension Firewall: CustomStringConvertible {
  package var description: String {
    switch rawValue {
    case 0: "unknown"
    case 1: "open"
    case 2: "consistent"
    case 3: "random"
    default: "random(\(rawValue))"
    }
  }
}

/// The error field of noise and hole-punch payloads (hyperdht.md 1.2).
package struct PayloadError: RawRepresentable, Hashable, Sendable {
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }

  package static let none = PayloadError(rawValue: 0)
  package static let aborted = PayloadError(rawValue: 1)
  /// Noise payload only.
  package static let versionMismatch = PayloadError(rawValue: 2)
  /// In noise payloads only of ours, where deployed clients take it for an error like the others.
  package static let tryLater = PayloadError(rawValue: 3)
}

/// Error codes that storing nodes put into RPC responses (hyperdht.md 1.2).
package enum StorageErrorCode {
  /// MUTABLE_PUT of another value under the stored sequence number.
  package static let seqReused: UInt64 = 16
  /// MUTABLE_PUT below the stored sequence number.
  package static let seqTooLow: UInt64 = 17
}

/// Sender and receiver of a PEER_HANDSHAKE or PEER_HOLEPUNCH (hyperdht.md 1.2). Unknown modes decode and are dropped
/// by the router.
package struct RoutingMode: RawRepresentable, Hashable, Sendable {
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Client to relay, or client to server directly.
  package static let fromClient = RoutingMode(rawValue: 0)
  /// Server to relay; sent as an RPC request.
  package static let fromServer = RoutingMode(rawValue: 1)
  /// Relay to server.
  package static let fromRelay = RoutingMode(rawValue: 2)
  /// Second relay to server; handshakes only.
  package static let fromSecondRelay = RoutingMode(rawValue: 3)
  /// The RPC response that the client gets in the end.
  package static let reply = RoutingMode(rawValue: 4)
}
