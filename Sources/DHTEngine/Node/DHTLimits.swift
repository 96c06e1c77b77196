/// Bounds and times of the node, client and server side (hyperdht.md 17).
enum DHTLimits {
  // MARK: Times, milliseconds

  /// Empty encrypted frames after this long without a write (hyperdht.md 9.4).
  static let connectionKeepAlive: UInt64 = 5000
  /// How long a server remembers a finished, failed or refused handshake (hyperdht.md 7.6).
  static let handshakeClearWait: UInt64 = 10_000
  /// How long a server waits for the client's next step after message 2 (hyperdht.md 7.2).
  static let prepunchTimeout: UInt64 = 10_000
  /// How long an OPEN client waits for the server's stream packets (hyperdht.md 6.4).
  static let passiveConnectTimeout: UInt64 = 10_000
  /// How long a server keeps a stream whose client has not shown itself on it (hyperdht.md B-21); longer than a
  /// retransmitted first flight needs.
  static let phantomTimeout: UInt64 = 15_000
  /// Self-test of a local address (hyperdht.md 14.5).
  static let localAddressTimeout: UInt64 = 500
  /// Announcer: pause between ping rounds, rounds between cycles, least time between drift re-announces, and when a
  /// cycle counts as lost (hyperdht.md 11, C-5, C-6).
  static let announcePingPause: UInt64 = 3000
  static let announcePingRounds = 100
  static let announceDriftInterval: UInt64 = 10_000
  static let announceWatchdog: UInt64 = 60_000

  // MARK: Hole punching (hyperdht.md 8.1 to 8.6), milliseconds unless noted

  /// Hops of a probe that only opens our own NAT.
  static let openSessionTTL: UInt8 = 5
  /// NAT sampling leaves out the nodes heard last when enough are known: nodes.
  static let sampleSkip = 5
  static let sampleSkipWhenKnown = 8
  static let samplePasses = 2
  static let socketReopens = 3
  /// Other relays of the server that are tried when the first does not answer: one, because the server waits no longer
  /// than two timeouts (`prepunchTimeout`).
  static let spareRelays = 1
  /// Wait in the probe round for a peer that does not know its NAT yet.
  static let remoteUnknownWait: UInt64 = 1000
  static let consistentRounds = 10
  static let consistentInterval: UInt64 = 1000
  /// Rounds (from 1) in which unverified addresses get a probe, too.
  static let unverifiedRounds: Set<Int> = [4, 8]
  /// The server's fast-mode probe has just been sent.
  static let responderLeadIn: UInt64 = 1000
  /// While a relay carries the connection, a random punch waits for its turn: how long, and how often.
  static let punchWait: UInt64 = 10_000
  static let punchWaitSpread: UInt64 = 10_000
  static let punchWaits = 3
  static let randomProbes = 1750
  static let randomProbeInterval: UInt64 = 20
  static let birthdaySockets = 256
  static let birthdayWait: UInt64 = 100
  /// Random punches of one node at once.
  static let randomPunches = 1

  // MARK: Counts

  /// Nodes a server announces to.
  static let announceRelays = 3
  /// Handshakes that a server works on at once (hyperdht.md B-1); each costs a table entry, a stream and perhaps a
  /// socket.
  static let concurrentHandshakes = 256
  /// Of these, by one client host.
  static let handshakesPerHost = 128
  /// New first messages of one client host, at once and per second, and of all together: each costs about half a
  /// millisecond of Diffie-Hellman.
  static let handshakeBurst: UInt64 = 256
  static let handshakesPerSecond: UInt64 = 64
  static let totalHandshakeBurst: UInt64 = 1024
  static let totalHandshakesPerSecond: UInt64 = 256
  static let trackedClientHosts = 4096
  /// Ended handshakes that are remembered until their clearing time; beyond it the oldest are forgotten early.
  static let rememberedHandshakes = 4096
  /// Refused or unreadable first messages that are remembered so that copies cost nothing.
  static let refusedHandshakes = 512
  /// Copies of one first message that wait for the same answer (one per relay).
  static let handshakeCopies = 16
  /// Longest first message that is looked at, bytes: 96 of Noise plus a payload of many addresses.
  static let handshakeMessageSize = 1200
  /// Addresses of a peer's payload that are looked at (hyperdht.md B-5).
  static let peerAddresses = 8
  /// Handshake attempts at once in one connect (hyperdht.md 6.2).
  static let connectAttempts = 2
  /// Nodes tried in one connect, and nodes waiting for their turn.
  static let connectCandidates = 64
  /// Relay hints taken from one caller.
  static let relayHints = 16
  /// Relay address sets remembered per generation (hyperdht.md 12.1).
  static let relayHintCache = 512
  /// Bytes that a peer may send on a stream before our handshake is finished: a first flight.
  static let earlyBytes = 64 * 1024
  /// Steps of one connection attempt that are kept for people: twice those of an attempt that tries every path.
  static let timelineEntries = 48
  /// Live raw streams of one node.
  static let rawStreams = 65_536
  /// Values that are stored in the network, bytes (hyperdht.md C-13): what fits one datagram beside 20 closer nodes.
  static let storedValue = 1024
  /// A LOOKUP reply with this many records may have left the caller's out (hyperdht.md 13).
  static let lookupReplyRecords = 20
}
