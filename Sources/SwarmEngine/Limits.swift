import HyperDHTEngine

/// Constants and bounds of the swarm (hyperswarm.md 2). Times are milliseconds unless a name says otherwise.
package enum Limits {
  // MARK: Protocol constants

  /// Connections and dials up to which topic peers are dialled.
  package static let maxPeers = 64
  /// Dials in progress at once.
  package static let maxParallel = 3
  /// Explicit peers with this many failures are left to the retry timers.
  package static let explicitAttempts = 5
  /// Pause before an explicit peer is dialled directly again, per failure.
  package static let explicitPause: UInt64 = 1_000
  /// A connection that lasted this long starts again at the shortest backoff.
  package static let stableConnection: UInt64 = 15_000
  /// Retry timers S, M, L, X: base and the width of the uniform addition.
  package static let backoffs: [(base: UInt64, spread: UInt32)] = [
    (1_000, 500), (5_000, 1_000), (15_000, 2_000), (600_000, 120_000),
  ]
  /// Added once per swarm to each backoff, uniform.
  package static let jitter: UInt32 = 500
  /// Topic refresh after each finished query, and the width of the uniform addition.
  package static let refreshInterval: UInt64 = 600_000
  package static let refreshSpread: UInt32 = 120_000
  /// Refreshes of a topic on which no other peer was found yet: after this, and after three times as long as before
  /// each further time, until that reaches `refreshInterval`.
  package static let emptyTopicRefresh: UInt64 = 5_000
  package static let emptyTopicRefreshFactor: UInt64 = 3
  /// A topic that is new here is looked up once more this long after its first announcement, plus a uniform addition:
  /// peers that join within one second have all announced themselves by then.
  package static let secondLook: UInt64 = 1_000
  package static let secondLookSpread: UInt32 = 1_000
  /// A refresh that failed is repeated after this at the latest, so that a topic is announced within a minute from when
  /// the network is there.
  package static let failedTopicRefresh: UInt64 = 45_000
  /// The first pause before a resume that failed is tried again; doubles up to the other.
  package static let resumeRetry: UInt64 = 1_000
  package static let longestResumeRetry: UInt64 = 8_000
  /// A refresh timer later than this means that the machine slept.
  package static let sleepGrace: UInt64 = 30_000
  /// How long the DHT server remembers a finished or rejected handshake.
  package static let handshakeClearWait = HyperDHTEngine.Limits.Server.handshakeClearWait

  // MARK: Bounds of this implementation

  /// Connections of both roles, explicit peers excepted: more are refused before their handshake is answered. A
  /// connection costs a few kilobytes; this keeps strangers below some megabytes.
  package static let maxConnections = 4_096
  /// An incoming connection without a message for this long gives way at a limit of incoming connections.
  package static let idleBeforeEviction: UInt64 = 30_000
  /// At most one connection gives way in this time, and one search is made: it looks at all of them.
  package static let roomInterval: UInt64 = 100
  /// Peer entries. Lookups name strangers, so a popular topic must not fill memory; later sightings are dropped and
  /// counted, and come back with the next refresh.
  package static let maxKnownPeers = 8_192
  /// Peers banned by a firewall verdict; the oldest is forgotten first. Strangers choose these keys.
  package static let maxFirewallBans = 2_048
  /// Keys refused without a ban, and how long a refusal is remembered.
  package static let maxRefusals = 1_024
  package static let refusalMemory: UInt64 = 10_000
  /// Firewall verdicts that are awaited at once, and how long: the dialler retransmits for about four seconds.
  package static let maxPendingVerdicts = 256
  package static let firewallDeadline: UInt64 = 3_000
  /// Joined topics; each costs a query every ten minutes.
  package static let maxTopics = 16_384
  /// Waiting callers of `flush`.
  package static let maxPendingFlushes = 1_024
  /// Incoming connections of one key that wait for an older one to close or to fail.
  package static let maxChallengers = 4
  /// An established connection that does not acknowledge a probe for this long gives way to a newcomer.
  package static let probeDeadline: UInt64 = 1_000
  /// A connection that does not acknowledge a probe for this long after a change of the network ends and is dialled
  /// again: more than a round trip with one retransmission, and connected again within two seconds.
  package static let changeProbeDeadline: UInt64 = 1_500
  /// How often such a connection is looked at as long as the transport moves it to another path.
  package static let changeProbeInterval: UInt64 = 250
  /// A newcomer that says nothing for this long beside an established connection is dropped: more than two keepalives.
  package static let challengerDeadline: UInt64 = 12_000
  /// How long the report of our dial is held back when the peer's own dial is about to replace it.
  package static let crossingGrace: UInt64 = 500
  /// The same for this long after a change of the network, without a sign of the peer's dial: a reset that follows the
  /// peer's header is here by then, on most paths.
  package static let changeGrace: UInt64 = 200
  package static let changeMemory: UInt64 = 10_000
  /// Teardown over the network (un-announcing) is given up after this; local state is freed either way.
  package static let teardownDeadline: UInt64 = 5_000

  /// Asserts the relations between the limits, once per process.
  package static func check() { _ = checked }

  private static let checked: Void = {
    HyperDHTEngine.Limits.check()
    precondition(maxParallel <= maxPeers && maxPeers <= maxConnections && maxConnections <= maxKnownPeers)
    precondition(maxFirewallBans <= maxKnownPeers, "bans are peer entries")
    precondition(zip(backoffs, backoffs.dropFirst()).allSatisfy { $0.base + UInt64($0.spread) <= $1.base })
    precondition(emptyTopicRefresh < refreshInterval && emptyTopicRefreshFactor > 1)
    precondition(emptyTopicRefresh <= failedTopicRefresh && failedTopicRefresh < refreshInterval)
    precondition(
      firewallDeadline < handshakeClearWait, "a verdict comes while the server still remembers the handshake")
    precondition(refusalMemory <= handshakeClearWait)
    precondition(probeDeadline < challengerDeadline)
    precondition(changeGrace <= crossingGrace && changeProbeDeadline < changeMemory)
    precondition(
      challengerDeadline > 2 * HyperDHTEngine.Limits.connectionKeepAlive, "a living newcomer has sent two keepalives")
  }()
}
