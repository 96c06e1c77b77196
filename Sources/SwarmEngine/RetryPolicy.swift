/// The four retry timers.
package enum RetryTimer: Int, Sendable, CaseIterable {
  case s, m, l, x

  /// The timer of a peer whose dial or dialled connection has ended; `nil` gives it up (hyperswarm.md 8.1).
  static func choose(for peer: PeerInfo) -> RetryTimer? {
    if peer.isBanned || !peer.isReconnecting { return nil }
    switch peer.attempts {
    case 0: return .s
    case 1: return peer.isProven ? .s : .m
    case 2: return peer.isProven ? .m : .l
    case 3: return .l
    default: return peer.isExplicit ? .x : nil
    }
  }
}

/// How many topic dials are allowed beside explicit peers (hyperswarm.md 6.2).
enum PeerShare {
  /// Incoming connections that count for the decision to dial: half of the places, rounded up. Strangers choose to
  /// come, and however many they are, the other half is dialled.
  static func incoming(maxPeers: Int, explicitPeers: Int, accepted: Int) -> Int {
    min(accepted, (maxPeers / factor(explicitPeers: explicitPeers) + 1) / 2)
  }

  static func factor(explicitPeers: Int) -> Int {
    switch explicitPeers {
    case 0: 1
    case 1: 2
    case 2, 3: 3
    default: 4
    }
  }

  static func isWithin(maxPeers: Int, explicitPeers: Int, peerCount: Int) -> Bool {
    factor(explicitPeers: explicitPeers) * peerCount < maxPeers
  }
}

/// Dial failures after which the next dial of the peer goes through the configured relay (hyperswarm.md 11.3).
enum RelayFallback {
  /// The list of hyperswarm 4.17.0.
  static let deployedCodes: Set<String> = [
    "HOLEPUNCH_ABORTED", "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS", "REMOTE_NOT_HOLEPUNCHABLE",
  ]
  /// With the addition of later releases; local policy, nothing of it is on the wire.
  static let codes = deployedCodes.union(["CANNOT_HOLEPUNCH"])
}
