import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperEnvironment

/// Constructor options (hyperswarm.md 3).
package struct SwarmOptions {
  /// The swarm's identity; random when `nil`.
  package var keyPair: KeyPair?
  package var maxPeers = Limits.maxPeers
  package var maxParallel = Limits.maxParallel
  package var maxClientConnections = Int.max
  /// Enforced before a handshake is answered, explicit peers excepted (hyperswarm.md 15, row 1).
  package var maxServerConnections = Int.max
  /// Connections of both roles together, explicit peers excepted.
  package var maxConnections = Limits.maxConnections
  package var firewall: SwarmFirewall?
  package var relayThrough: SwarmRelay?
  /// Times of the retry timers S, M, L, X; drawn per swarm as hyperswarm.md 2 says when `nil`.
  package var backoffs: [UInt64]?
  package var jitter: UInt32 = Limits.jitter
  package var handshakeClearWait = Limits.handshakeClearWait
  /// Whether `destroy` also destroys the DHT node, as the reference always does.
  package var ownsDHT = true

  package init() {}
}

/// Roles and limit of one session on a topic.
package struct JoinOptions: Hashable, Sendable {
  /// Announce and accept.
  package var server: Bool
  /// Look up and dial.
  package var client: Bool
  /// Peers of this topic to keep connected or dialled at most; `nil` is no limit. The topic's limit is the largest of
  /// its sessions'.
  package var limit: Int?

  package init(server: Bool = true, client: Bool = true, limit: Int? = nil) {
    self.server = server
    self.client = client
    self.limit = limit
  }
}

/// The peer that asks to connect, or that is about to be dialled.
package struct SwarmFirewallRequest {
  package var publicKey: Bytes32
  /// `nil` before a dial.
  package var address: Endpoint?
  /// What the peer says about itself in its handshake; `nil` before a dial.
  package var payload: NoisePayload?

  package init(publicKey: Bytes32, address: Endpoint? = nil, payload: NoisePayload? = nil) {
    self.publicKey = publicKey
    self.address = address
    self.payload = payload
  }
}

package enum SwarmFirewallVerdict: Hashable, Sendable {
  case accept
  /// Not now: the handshake stays unanswered, the peer may come again.
  case refuse
  /// Refuses and bans the peer until `PeerInfo.ban(false)`; what every rejection does in the reference.
  case ban
}

/// May answer later; exactly one call of the closure counts. No answer within `Limits.firewallDeadline` refuses.
package typealias SwarmFirewall = (SwarmFirewallRequest, @escaping (SwarmFirewallVerdict) -> Void) -> Void

/// Blind relays to dial through (hyperswarm.md 11.3).
package enum SwarmRelay {
  /// Used when direct connections failed or our NAT is random. One is drawn per dial.
  case keys([Bytes32])
  /// Asked for every dial (`force`: direct connections to this peer failed) and every incoming handshake.
  case choose((_ force: Bool) -> [Bytes32])
}

package enum SwarmError: Error, Hashable, Sendable, CustomStringConvertible {
  case destroyed
  case sessionDestroyed
  case noRoles
  case tooManyTopics
  case tooManyFlushes
  case timedOut
  case cancelled
  /// The DHT server could not start; the next `listen` tries again.
  case listen(SwarmStreamFailure)
  /// The sockets could not be opened again; the swarm goes on trying.
  case resume(SwarmStreamFailure)

  package var description: String {
    switch self {
    case .destroyed: "Swarm destroyed"
    case .sessionDestroyed: "Session destroyed"
    case .noRoles: "The session is neither server nor client"
    case .tooManyTopics: "More than \(Limits.maxTopics) topics joined"
    case .tooManyFlushes: "More than \(Limits.maxPendingFlushes) flushes pending"
    case .timedOut: "Timed out"
    case .cancelled: "Cancelled"
    case .listen(let failure): "Listening failed: \(failure.description)"
    case .resume(let failure): "Resuming failed: \(failure.description)"
    }
  }
}

/// What happened to a dial (hyperswarm.md 15, row 13).
package struct PeerAttempt {
  package enum Stage: Hashable, Sendable {
    case started
    case opened
    /// The dial ended before it opened.
    case failed(SwarmStreamFailure?)
    /// The dialled connection ended.
    case closed(SwarmStreamFailure?)
    /// Banned, refused by the firewall, or connected meanwhile.
    case skipped
  }
  package var peer: PeerInfo
  package var stage: Stage
  /// Milliseconds until the peer is queued again; `nil` if it will not be retried by a timer.
  package var nextRetry: UInt64?
}
