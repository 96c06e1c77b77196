import HyperEncoding
import HyperRPC
import HyperSecretStream

/// Bounds and times of the DHT node, client and server side (hyperdht.md 17). Times are milliseconds.
package enum Limits {
  /// Empty encrypted frames after this long without a write (hyperdht.md 9.4).
  package static let connectionKeepAlive: UInt64 = 5000
  /// Self-test of a local address (hyperdht.md 14.5).
  package static let localAddressTimeout: UInt64 = 500
  /// When the test datagram is repeated within that time (milliseconds): one that is lost says nothing.
  package static let localAddressProbes: [UInt64] = [100, 250]
  /// Milliseconds until an address that has failed is tested again, doubled each time up to a limit.
  package static let localAddressRetry: UInt64 = 250
  package static let localAddressLongestRetry: UInt64 = 60_000
  /// Tests that happen by themselves (within 16 s); later ones happen when a peer asks for the addresses.
  package static let localAddressRetries = 6
  /// Milliseconds for which the list of this host's addresses is used: handshakes come by the hundred.
  package static let localAddressAge: UInt64 = 1000
  /// Live raw streams of one node.
  package static let rawStreams = 65_536
  /// A LOOKUP reply with this many records may have left the caller's out (hyperdht.md 13).
  package static let lookupReplyRecords = HyperRPC.Limits.k

  // MARK: Servers

  /// Announcing (hyperdht.md 11, C-5, C-6).
  package enum Announce {
    /// Nodes that a server announces to.
    package static let relays = 3
    /// Relay addresses that storing nodes keep of a record (hyperdht.md 2.5).
    package static let storedRelays = relays
    /// Pause between two rounds of pings to those nodes.
    package static let pingPause: UInt64 = 3000
    /// Cycles that find no node are repeated after `pingPause`, doubled each time up to this: with the time that a
    /// look-up takes, a server is announced within a minute from when the network is there.
    package static let longestPause: UInt64 = 45_000
    /// Rounds of pings between two cycles.
    package static let pingRounds = 100
    /// Least time between two announces because the public address has drifted.
    package static let driftInterval: UInt64 = 10_000
    /// A cycle that has not ended after this long counts as lost.
    package static let watchdog: UInt64 = 60_000
    /// The pause of a node that saves power. NATs keep the state of UDP for 30 s (RFC 9000, section 10.1.2).
    package static let lowPowerPause: UInt64 = 25_000
    /// And the time between two cycles: nodes keep an announcement for 800 s at least (hyperdht.md 5.1).
    package static let lowPowerCycle: UInt64 = 600_000
  }

  /// Withdrawing announcements (hyperdht.md 12.3).
  package enum Withdrawal {
    /// How long callers wait at most: more than the two round trips that it takes, with a repetition. Nodes that are
    /// silent hold nothing up for longer; what they store expires.
    package static let wait: UInt64 = 1000
    /// Requests without an answer, of all and of one node: a fifth of the request window is left to others.
    package static let underWay = 64
    package static let underWayPerNode = 16
    /// Nodes whose tokens are remembered per generation, and how long one is used: nodes accept it for 7.5 s at least
    /// (dht-rpc.md 9), less the way there and back.
    package static let tokens = 256
    package static let tokenAge: UInt64 = 6500
  }

  /// Handshakes of a listening server (hyperdht.md 7).
  package enum Server {
    /// How long a server remembers a finished, failed or refused handshake (hyperdht.md 7.6).
    package static let handshakeClearWait: UInt64 = 10_000
    /// Places of remembered handshakes that an idle server keeps; with more, after a burst, the memory of all is given
    /// back: some 250 bytes each, which would stay with the connections.
    package static let sparePlaces = 64
    /// How long a server waits for the client's next step after message 2 (hyperdht.md 7.2).
    package static let prepunchTimeout: UInt64 = 10_000
    /// How long a server keeps a stream whose client has not shown itself on it (hyperdht.md B-21); longer than a
    /// retransmitted first flight needs.
    package static let phantomTimeout: UInt64 = 15_000
    /// A client that says that it is reachable, and was not heard after this long, is not; deployed ones give up and
    /// shake hands again after 10 s.
    package static let claimTrial: UInt64 = 5_000
    /// Handshakes whose client has not shown that it has got message 2 (hyperdht.md B-1), of about ten kilobytes each.
    /// At the fastest rate of invented clients one stays for two seconds: longer than a round trip over a relay, and
    /// one retransmission.
    package static let waitingHandshakes = 2048
    /// Of these, the places that clients which come themselves, clients over nodes of the announcement, and others
    /// find, whatever the others do.
    package static let reservedHandshakes = waitingHandshakes * 3 / 8
    package static let reservedStrangerHandshakes = waitingHandshakes / 8
    /// Handshakes under way whose client has proved itself; each may have a puncher and sockets.
    package static let provenHandshakes = 256
    /// New first messages of one client host, or of one host that passes them on without being asked to, at once and
    /// per second. Hundreds of clients may share one address; copies of a message are not counted.
    package static let handshakeBurst: UInt64 = 256
    package static let handshakesPerSecond: UInt64 = 64
    /// The same of one node of the announcement: what a node of this kind forwards to one host
    /// (``Router/destinationForwardsPerSecond``).
    package static let relayBurst = Router.destinationForwardBurst
    package static let relayPerSecond = Router.destinationForwardsPerSecond
    /// The same of all nodes of the announcement together, of all clients that come themselves, and of all others:
    /// each costs about half a millisecond of Diffie-Hellman.
    package static let relayedBurst: UInt64 = 1024
    package static let relayedPerSecond: UInt64 = 768
    package static let directBurst: UInt64 = 1024
    package static let directPerSecond: UInt64 = 512
    package static let strangerBurst: UInt64 = 256
    package static let strangersPerSecond: UInt64 = 128
    /// Hosts whose rate is remembered per generation, of each kind.
    package static let trackedClientHosts = 4096
    /// Refused first messages that one client host may have looked at when they come again, at once and per second:
    /// those of a host with many clients, in the second in which they ask again.
    package static let repetitionBurst: UInt64 = 32
    package static let repetitionsPerSecond: UInt64 = 8
    /// Refused first messages of one origin that are remembered per generation: at ten times the rate of all relays
    /// together, for a request's timeout.
    package static let trackedRefusals = 8192
    /// Microseconds that new first messages of one origin may take at once and of every second. Where they take about
    /// half a millisecond each, the rates above are reached before; a slow or busy machine has fewer instead.
    package static let workBurst: UInt64 = 1_000_000
    package static let workPerSecond: UInt64 = 520_000
    /// Microseconds of work that the rates above mean by a handshake, those over nodes of the announcement apart. One
    /// that takes longer counts as so much more, up to eight of these: where the machine is slow, four hosts take no
    /// larger part of it.
    package static let handshakeWork: UInt64 = 400
    package static let maximumHandshakeWork = 8 * handshakeWork
    /// Thousandths of the burst that are for those that come again.
    package static let workForRepetitions: Int64 = 250
    /// Ended handshakes that are remembered until their clearing time; beyond it the oldest are forgotten early.
    package static let rememberedHandshakes = 4096
    /// Refused or unreadable first messages that are remembered so that copies cost nothing.
    package static let refusedHandshakes = 512
    /// Copies of one first message that wait for the same answer (one per relay).
    package static let handshakeCopies = 16
    /// Longest first message that is looked at, bytes: 96 of Noise plus a payload of many addresses.
    package static let handshakeMessageSize = 1200
  }

  // MARK: Clients

  /// Connecting (hyperdht.md 6).
  package enum Connect {
    /// Handshake attempts at once in one connect (hyperdht.md 6.2).
    package static let attempts = 2
    /// Nodes tried in one connect, and nodes waiting for their turn.
    package static let candidates = 64
    /// Relay hints taken from one caller.
    package static let relayHints = 16
    /// Relay address sets remembered per generation (hyperdht.md 12.1).
    package static let relayHintCache = 512
    /// Other relays of the server that are tried when the first does not answer: one, because the server waits no
    /// longer than two timeouts (`Server.prepunchTimeout`).
    package static let spareRelays = 1
    /// How long an OPEN client waits for the server's stream packets (hyperdht.md 6.4) before it takes part in a second
    /// handshake as one that is not: a server's first packet is repeated after a second.
    package static let passiveTimeout: UInt64 = 1_500
    /// How long the server's header is awaited on a path that nothing but a claim speaks for, before the second
    /// handshake; a round trip and more.
    package static let judgementTrial: UInt64 = 1_000
    /// The same on a path over which a probe or a packet of the server has come.
    package static let pathTrial: UInt64 = 10_000
    /// Handshakes of one attempt: one that trusts what both sides think of themselves, one that does not.
    package static let handshakes = 2
    /// Reusable routes of a node: each has an open connection, or had one within `routeLinger` milliseconds.
    package static let routes = 1024
    package static let routeLinger: UInt64 = 3_000
    /// A peer that was met at an address a moment ago answers there at once; silence must not hold up the search.
    package static let routeRetries = 1
    /// Bytes that a peer may send on a stream before this side's handshake is finished: a first flight.
    package static let earlyBytes = 64 * 1024
    /// Steps of one connection attempt that its timeline keeps: twice those of an attempt that tries every path.
    package static let timelineEntries = 48
  }

  // MARK: Hole punching

  /// NAT sampling and probes (hyperdht.md 8.1 to 8.6).
  package enum Punch {
    /// Addresses of a peer's payload that are looked at: probes go to each of them, so the list must not be the peer's
    /// to size (hyperdht.md B-5).
    package static let peerAddresses = 8
    /// Hops of a probe that only opens the sender's own NAT.
    package static let openSessionTTL: UInt8 = 5
    /// Samples from which the class of a NAT is given.
    package static let minimumSamples = 3
    /// Samples after which waiting for more is over.
    package static let wantedSamples = 4
    /// Referrers of samples that are remembered; more are ignored. An honest session has about ten.
    package static let maximumReferrers = 256
    /// NAT sampling leaves out the nodes heard last when enough are known: nodes.
    package static let sampleSkip = 5
    package static let sampleSkipWhenKnown = 8
    /// Rounds of sampling, and sockets that are opened anew when the class stays unknown.
    package static let samplePasses = 2
    package static let socketReopens = 3
    /// Wait in the probe round for a peer that does not know its NAT yet.
    package static let remoteUnknownWait: UInt64 = 1000
    /// Rounds of probes between two consistent NATs, and the time between them.
    package static let consistentRounds = 10
    package static let consistentInterval: UInt64 = 1000
    /// Rounds (from 1) in which unverified addresses get a probe, too.
    package static let unverifiedRounds: Set<Int> = [4, 8]
    /// The server's fast-mode probe has just been sent.
    package static let responderLeadIn: UInt64 = 1000
    /// While a relay carries the connection, a random punch waits for its turn: how long, and how often.
    package static let wait: UInt64 = 10_000
    package static let waitSpread: UInt64 = 10_000
    package static let waits = 3
    /// Probes to random ports, and the time between them.
    package static let randomProbes = 1750
    package static let randomProbeInterval: UInt64 = 20
    /// Sockets that wait for a probe to a random port, and the pause while they are opened.
    package static let birthdaySockets = 256
    package static let birthdayWait: UInt64 = 100
    /// Sockets that all random punches of a node may have at once: two with birthday sockets, within the descriptors
    /// that most systems allow.
    package static let randomSockets = 2 * birthdaySockets
    /// Sockets that a punch with probes to random ports counts as: it has one, and our NAT gets an entry for each
    /// probe, of which most have many thousands.
    package static let randomPortSockets = birthdaySockets / 2
    /// From the end of a random punch to the next one into the same network (a /24).
    package static let randomPunchInterval: UInt64 = 20_000
    /// A random punch that has not succeeded after this long makes room when the sockets are used up: six of seven
    /// have.
    package static let randomPunchTurn: UInt64 = 10_000
    /// Networks whose last random punch is remembered.
    package static let punchedNetworks = 1024
    /// How long a port that handshakes share is used, how long it stays without a handshake (NATs forget a mapping
    /// after 30 s), and how long it is used when no node has said how it sees it.
    package static let portLifetime: UInt64 = 60_000
    package static let portIdle: UInt64 = 20_000
    package static let portRetry: UInt64 = 5_000
  }

  // MARK: Moving streams

  /// Streams that move to another path (hyperdht-extensions.md 2).
  package enum Migration {
    /// From the first MOVE to the second; then twice as long each time, up to the longest.
    package static let firstInterval: UInt64 = 100
    package static let longestInterval: UInt64 = 1000
    /// How long a move is tried: the transport's own time for a lost peer.
    package static let giveUp: UInt64 = 13_000
    /// A stream that has moved is not judged before it had time for a round trip with one retransmission.
    package static let settling: UInt64 = 1500
    /// MOVEs whose answers are awaited: those of two seconds, over three routes.
    package static let unansweredMoves = 16
    /// How long a challenged address may take to answer.
    package static let challengeLifetime: UInt64 = 5_000
    /// How often streams with something unacknowledged are looked at, and how often in a row packets must have stayed
    /// unanswered since the look before to make one silent: a second, more than the round trips of satellites.
    package static let silenceInterval: UInt64 = 500
    package static let silentLooks = 2
    /// How long the direct way is tried alone before a rendezvous: more than most round trips.
    package static let rendezvousDelay: UInt64 = 300
    /// The same where only silence speaks for a move: most peers that fall silent are dead.
    package static let silentRendezvousDelay: UInt64 = 1000
    /// From one rendezvous that did not find the peer to the next.
    package static let rendezvousPause: UInt64 = 500
    package static let silentRendezvousPause: UInt64 = 4000
    /// A rendezvous that has had no answer for this long makes way for one of the peer.
    package static let rendezvousPriority: UInt64 = 1500
    /// Rendezvous of one node at once; others wait. Each is a look-up, a handshake and a socket.
    package static let rendezvous = 64
    /// Authentic MOVEs that one stream answers, at once and per second: a peer that moves sends ten in the first second
    /// over three routes at most.
    package static let answerBurst: UInt64 = 32
    package static let answersPerSecond: UInt64 = 8
    /// Datagrams from one host, and from all, that are verified: at once and per second. Each costs a hash, and many
    /// peers may move behind one NAT.
    package static let sourceBurst: UInt64 = 256
    package static let sourcePerSecond: UInt64 = 64
    package static let totalBurst: UInt64 = 8192
    package static let totalPerSecond: UInt64 = 4096
    /// Hosts whose rate is remembered per generation.
    package static let trackedSources = 4096
  }

  // MARK: Storing nodes

  /// What a persistent node keeps for others (hyperdht.md 12.1 and 17, B-10, B-11, C-13, C-14). Counts and sizes are
  /// per generation, of which there are two.
  package enum Storage {
    /// Announced peers of all topics.
    package static let records = 65_536
    /// Announced peers of one topic; a newcomer then replaces a random one.
    package static let recordsPerTopic = records / 4
    /// Announced peers that one host keeps when the node is full; what it has above that makes room.
    package static let recordsPerHost = records / 16
    /// The part of a reply (as a divisor) that records of one host fill while other hosts have records.
    package static let replyPartPerHost = 4
    /// A topic with so many records keeps a list of them by host; for smaller ones it is made for each reply.
    package static let indexedTopic = 64
    /// Records drawn to find a host with many in a full topic: it is missed once in a thousand times if it holds half.
    package static let evictionDraws = 10
    /// Topics with a bump.
    package static let bumps = records
    /// Renewable announces, each of about 150 bytes.
    package static let refreshes = records
    /// Age of topic records, bumps and refreshes: 20 minutes.
    package static let age: UInt64 = 20 * 60 * 1000
    /// Mutable and immutable values, each kind.
    package static let values = records / 2
    /// Bytes of all values of one kind.
    package static let valueBytes = 16 * 1024 * 1024
    /// Values of one kind that one host keeps when the node is full, and their bytes; what it has above makes room.
    package static let valuesPerHost = values / 16
    package static let valueBytesPerHost = valueBytes / 16
    /// Age of values: two days.
    package static let valueAge: UInt64 = 48 * 60 * 60 * 1000
    /// Bytes of one value: what fits one datagram beside 20 closer nodes, so that a reply with it stays below the MTU
    /// of nearly all paths. The reference has no limit.
    package static let value = 1024
    /// How far a bump may be ahead of the node's clock.
    package static let bumpDrift: UInt64 = 60_000
    /// Bytes of values per second, and in one burst, that are sent to a host whose address may be forged: a reply is up
    /// to 25 times its request. A client that looks up a topic now and then stays below.
    package static let unprovenReplyBytesPerSecond: UInt64 = 8 * 1024
    package static let unprovenReplyBurst: UInt64 = 16 * 1024
    /// The same over all such hosts: what this node adds to an attack at most.
    package static let totalUnprovenReplyBytesPerSecond: UInt64 = 256 * 1024
    package static let totalUnprovenReplyBurst: UInt64 = 1024 * 1024
    /// The same for an endpoint that has shown itself: 64 full replies a second, 512 at once.
    package static let provenReplyBytesPerSecond: UInt64 = 64 * 1024
    package static let provenReplyBurst: UInt64 = 512 * 1024
    /// Sources for which these numbers are remembered, of each kind.
    package static let trackedSources = 4096
  }

  // MARK: Routers

  /// Forwarding of handshakes and hole-punch messages (hyperdht.md 5.1, 17 and Part B). Counts are per generation.
  package enum Router {
    /// Announced servers.
    package static let entries = Storage.records
    /// Announced servers of one address that stay when the table is full; what is above makes room.
    package static let entriesPerHost = entries / 16
    /// How long an announced server is kept without use.
    package static let age = Storage.age
    /// Messages per second, and in one burst, that a source may have forwarded. A handshake with hole punching takes
    /// about five. Answers to what this node has forwarded are not charged.
    package static let forwardsPerSecond: UInt64 = 128
    package static let forwardBurst: UInt64 = 512
    /// Thousandths of a source's burst that its handshakes leave to its hole punching, while it may be forged.
    package static let reservedForHolepunching: UInt64 = 250
    /// The same towards one host: more than a server works on (``Server/handshakesPerSecond`` of each client host).
    package static let destinationForwardsPerSecond: UInt64 = 256
    package static let destinationForwardBurst: UInt64 = 512
    /// The same over all hosts together.
    package static let totalForwardsPerSecond: UInt64 = 8192
    package static let totalForwardBurst: UInt64 = 16_384
    /// Sources and destinations whose rate is remembered, each.
    package static let trackedHosts = 4096
    /// A source that has tried to send so many messages lately is a heavy one: twelve connects with hole punching.
    package static let heavyForwards: UInt64 = 64
    /// Milliseconds in which half of what a source has tried is forgotten.
    package static let forwardHalfLife: UInt64 = 10_000
    /// Thousandths of a shared bucket that heavy sources leave to lighter ones; that handshakes of sources which may be
    /// forged leave to clients that hole-punch, these to messages that come again, and these to proven sources. What is
    /// between two levels is for one kind alone, and for those below it.
    package static let reservedForLightSources: UInt64 = 750
    package static let reservedForKnownClients: UInt64 = 350
    package static let reservedForRepetitions: UInt64 = 300
    package static let reservedForProvenSources: UInt64 = 250
    /// Milliseconds from a refusal to the copy that counts as a repetition, half of a request's timeout; and how long a
    /// refusal is remembered, twice three timeouts.
    package static let refusalAge = HyperRPC.Limits.requestTimeout / 2
    package static let refusalMemory = 6 * HyperRPC.Limits.requestTimeout
    /// Refusals that are remembered per generation: for a request's timeout at the fastest rate that a node hears
    /// (`totalRequestsPerSecond` of dht-rpc).
    package static let trackedRefusals = 8192
    /// Messages that local servers have not answered yet; more are dropped. A server makes room among those that wait
    /// by itself, so there are places for every copy that it lets wait: newcomers are not refused before.
    package static let pendingReplies = Server.waitingHandshakes * Server.handshakeCopies
    /// Private and reserved addresses that take part in routing, and how long they are remembered.
    package static let localPeers = 1024
    package static let localPeerAge: UInt64 = 120_000
  }

  // MARK: Blind relays

  /// Both ends of blind relaying (hyperdht.md 10 and 17; security notes hyperdht.md B-4, B-18).
  package enum Relay {
    /// From the request to the relay's answer, the control connection included (hyperdht.md 10.3).
    package static let pairing: UInt64 = 15_000
    /// Empty frames on control connections after this long without a write (hyperdht.md 9.4).
    package static let keepAlive = connectionKeepAlive
    /// A stream whose relay has gone may still find a direct path for this long.
    package static let lossGrace: UInt64 = 5000
    /// The relay stays for the last acknowledgements of a stream that ended regularly.
    package static let linger: UInt64 = 2000
    /// How long a direct path is remembered that has brought nothing: more than twice the time between two keep-alives.
    package static let trial: UInt64 = 13_000
    /// How often a path that is tried is looked at, and how often in a row packets must have stayed unanswered since
    /// the look before to make it silent: more than the round trips of satellites.
    package static let trialInterval: UInt64 = 500
    package static let silentTicks = 3
    /// The same for packets that have come over the relay instead: enough for those that were on their way, and for the
    /// peer to follow.
    package static let elsewhereTicks = 4
    /// The same for an idle stream whose new path has brought a packet: nothing will be acknowledged soon.
    package static let idleTicks = 4
    /// Empty messages that tell an idle peer of a path: any of them may be lost.
    package static let nudges = 4
    /// A control connection that was ended is given up after this long.
    package static let closing: UInt64 = 5000
    /// How long a server works on a direct path for a connection that already runs over a relay: three waits for
    /// another random punch, and the punch.
    package static let upgradeWindow: UInt64 = 120_000
    /// A relay forgets a token that only one side has named; twice what a side waits (hyperdht.md B-18).
    package static let pendingToken = 2 * pairing
    /// A relay ends a session that neither waits nor relays.
    package static let idleSession: UInt64 = 60_000

    /// Relays named by clients that a node dials at once and has not paired with (hyperdht.md B-4).
    package static let unpairedClientRelays = 32
    /// Unpaired requests at the node's own choice of relay: as many as handshakes of proven clients at once.
    package static let unpairedOwnRelays = Server.provenHandshakes
    /// Pairings over one control connection; the next one makes another.
    package static let pairingsPerControl = 256
    /// Keys looked at when several relays are offered.
    package static let relayChoices = 64

    /// Control connections of a relay, of all clients, of one IP address and of one key: deployed swarms open one for
    /// each relayed peer. At a bound a session without a link makes room.
    package static let sessions = 4096
    package static let sessionsPerHost = 512
    package static let sessionsPerKey = 128
    /// Tokens named by one side only, of all sessions, of one IP address and of one session (hyperdht.md B-18). At a
    /// bound the oldest token of the largest holder makes room.
    package static let pendingTokens = 4096
    package static let pendingTokensPerHost = 512
    package static let pendingTokensPerSession = pairingsPerControl
    /// Pairs of streams, of all sessions and of one.
    package static let links = 8192
    package static let linksPerSession = 256
    /// One host may have so many times as many as are left: three quarters of all if it is alone, and as links are not
    /// ended for others, a sixteenth stays free when five hosts take all that they get. The same holds for sessions
    /// that have links: of those a thirty-second stays free when eight hosts take all that they get.
    package static let linkShare = 3

    /// Bytes a second of one link and of all links of a relay: 1 and 4 Gbit/s, above what fast connections take and
    /// most relays have. An operator with less sets less.
    package static let linkBytesPerSecond: UInt64 = 128 * 1024 * 1024
    package static let bytesPerSecond: UInt64 = 512 * 1024 * 1024
    /// The part of a second (as a divisor) whose bytes may pass at once.
    package static let quotaBurstPart: UInt64 = 2

    /// Protomux channels that are or were open at once on one connection.
    package static let channels = 16
    /// Largest frame taken on a control connection, bytes: a batch of hundreds of messages.
    package static let controlFrame = 64 * 1024
  }
}
