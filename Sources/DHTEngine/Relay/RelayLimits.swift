/// Bounds and times of blind relaying (hyperdht.md 10 and 17; security notes hyperdht.md B-4, B-18).
package enum RelayLimits {
  // MARK: Times, milliseconds

  /// From the request to the relay's answer, the control connection included (hyperdht.md 10.3).
  package static let pairing: UInt64 = 15_000
  /// Empty frames on control connections after this long without a write (hyperdht.md 9.4).
  package static let keepAlive: UInt64 = 5000
  /// A stream whose relay has gone may still find a direct path for this long.
  package static let lossGrace: UInt64 = 5000
  /// The relay stays for the last acknowledgements of a stream that ended regularly.
  package static let linger: UInt64 = 2000
  /// Relayed and direct packets come over one socket and cannot be told apart: the relay stays this long after a move.
  package static let sharedSocketGrace: UInt64 = 10_000
  /// A control connection that was ended is given up after this long.
  package static let closing: UInt64 = 5000
  /// How long a server works on a direct path for a connection that already runs over a relay: three waits for another
  /// random punch, and the punch.
  package static let upgradeWindow: UInt64 = 120_000
  /// A relay forgets a token that only one side has named; twice what a side waits (hyperdht.md B-18).
  package static let pendingToken: UInt64 = 30_000
  /// A relay ends a session that neither waits nor relays.
  package static let idleSession: UInt64 = 60_000

  // MARK: Counts of end points

  /// Relays named by clients that a node dials at once and has not paired with (hyperdht.md B-4).
  package static let unpairedClientRelays = 32
  /// Unpaired requests at the node's own choice of relay: as many as handshakes at once.
  package static let unpairedOwnRelays = 256
  /// Pairings over one control connection; the next one makes another.
  package static let pairingsPerControl = 256
  /// Keys looked at when several relays are offered.
  package static let relayChoices = 64

  // MARK: Counts of the relay

  package static let sessions = 1024
  package static let sessionsPerKey = 16
  /// Tokens named by one side only, of all sessions and of one (hyperdht.md B-18).
  package static let pendingTokens = 1024
  package static let pendingTokensPerSession = 256
  /// Pairs of streams, of all sessions and of one.
  package static let links = 8192
  package static let linksPerSession = 256

  // MARK: Protomux

  /// Channels that are or were open at once on one connection; also the highest channel id.
  package static let channels = 16
  /// Protocol names and channel ids that are compared, bytes.
  package static let channelName = 256
  /// Largest frame taken on a control connection, bytes: a batch of hundreds of messages.
  package static let controlFrame = 64 * 1024
}
