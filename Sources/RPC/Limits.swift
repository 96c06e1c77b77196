import HyperEncoding

/// Constants and bounds of the RPC layer, with units (dht-rpc.md 2; those that are not the protocol's are marked "own
/// bound" or "own choice").
package enum Limits {
  // Kademlia
  /// Nodes per bucket, per closest set and per closer-nodes list.
  package static let k = 20
  package static let bucketCount = 256
  /// Parallel requests of a query.
  package static let concurrency = 10
  /// A background query runs at full concurrency while the node has fewer requests in flight.
  package static let backgroundBoostBelow = 3
  /// Limit of a query from at least k caller seeds after its first burst.
  package static let slowdownConcurrency = 3
  /// Below so many successes a cached query falls back to the routing table.
  package static let minimumCachedSuccesses = 5

  /// Own choice (dht-rpc.md C-6), milliseconds: how long a query with a full closest set waits for a nearer node at
  /// least, two of the smallest timeouts; at most it is ``requestTimeout``.
  package static let minimumVisitTimeout = 2 * minimumTimeout
  /// Own choice (dht-rpc.md C-6), milliseconds: how long a query with some answers, but not a full closest set, waits
  /// for a node at least (three transmissions with the smallest timeouts). Without any answer it waits to the end.
  package static let minimumSilentVisitTimeout: UInt64 = 2000

  /// Own choice, milliseconds: how much longer a query that has an answer waits for silent bootstrap nodes and for the
  /// resolver, and how long the known addresses of a name have to answer before the name is looked up. Most paths of
  /// the Internet are shorter; a start or a query loses no more than this for a dead entry.
  package static let bootstrapGrace: UInt64 = 300

  // Requests
  /// Milliseconds to wait for an answer to one transmission.
  package static let requestTimeout: UInt64 = 1000
  /// Own choice (dht-rpc.md C-3): bounds in milliseconds of the measured time to wait for an answer. The lower ones are
  /// those of the reference's adaptive timeout, the one for paths without measurements doubled.
  package static let minimumTimeout: UInt64 = 300
  package static let minimumUnknownTimeout: UInt64 = 500
  package static let maximumTimeout: UInt64 = 4000
  /// Own bound: paths whose round-trip time is remembered (about 100 bytes each), and for how long (milliseconds).
  package static let trackedPaths = 4096
  package static let pathMemory: UInt64 = 600_000
  /// Own bound: nodes remembered as silent, and for how long (milliseconds): the minutes until their last traces have
  /// left the tables of others.
  package static let silentPaths = 128
  package static let silentMemory: UInt64 = 300_000
  /// Retransmissions of a plain request and of a query visit.
  package static let requestRetries = 3
  package static let queryRetries = 5
  /// Datagrams per window slot, and twice that over all slots.
  package static let maxWindow = 80
  package static let windowSlots = 4
  /// Milliseconds per window slot.
  package static let drainInterval: UInt64 = 750
  /// Drains between two rotations of the token secrets (7.5 s).
  package static let drainsPerTokenRotation = 10
  /// Own bound: requests in flight, queued ones included. A quarter of the transaction id space, so that a forger of
  /// answers keeps bad odds and a free id is found in a few draws.
  package static let maximumRequestsInFlight = 16_384
  /// Own bound: requests waiting for the window; at 160 per 3 s this is minutes of work.
  package static let maximumQueuedRequests = 8192
  /// Tokens that are remembered so that the next answer to the same requester takes no hash: 2.5 KiB.
  static let issuedTokens = 61
  /// Largest datagram that a node sends, and that older peers can receive (bytes).
  package static let maximumDatagram = 2048
  /// Milliseconds, both for the answers that a node delays and for those that it asks for.
  package static let maxPingDelay: UInt64 = 10_000
  /// Milliseconds added to the per-attempt timeout of a delayed ping.
  package static let delayedPingGrace: UInt64 = 1000

  // Tick
  /// Milliseconds between background ticks.
  package static let tickInterval: UInt64 = 5000
  /// Milliseconds by which a tick may be late; later ones mean that the machine slept.
  package static let lateTick: UInt64 = 10_000
  /// Milliseconds that the two clocks of a machine that did not sleep may differ by.
  package static let clockSlack: UInt64 = 1000
  package static let refreshTicks = 60
  package static let stableTicks = 240
  package static let moreStableTicks = 720
  /// Own choice: first pause (1 min) of a node that is told to be persistent and is not; doubles up to
  /// ``moreStableTicks``.
  package static let forcedRetryTicks = 12
  /// Own choice: a node that has moved tries to become persistent again after this pause (6 min): it has shown before
  /// that it stays, but what its server socket has sent must be forgotten by the new NAT (RFC 4787: 5 min), or answers
  /// to the probe would come in as answers to that.
  package static let movedTicks = 72
  package static let recentNodeTicks: UInt64 = 12
  package static let oldNodeTicks: UInt64 = 360
  package static let pingEveryTicks: UInt64 = 8
  package static let smallTableEveryTicks: UInt64 = 64
  package static let pingSome = 5
  package static let pingSomeWhenBusy = 3
  package static let pingSomeWhenRecent = 2
  package static let wakeupJump: UInt64 = 720

  /// Own choices: a node that saves power (dht-rpc.md 17 has the usual numbers). Table members are still asked, a few
  /// at a time; there is no refresh by time, but one when the table gets thin, after a sleep and with every query.
  package enum LowPower {
    /// Milliseconds between background ticks, which come at whole multiples of it: three rounds of a server's pings.
    package static let tickInterval: UInt64 = 75_000
    /// Of the usual ticks of 5 s: 10 min between two rounds of pings to table members, and between two looks if the
    /// table is thin.
    package static let pingEveryTicks: UInt64 = 120
    /// Milliseconds between two probes of a network that stays silent, at most; the first ones come as usual, and each
    /// pause after them is twice as long as the one before.
    package static let longestProbePause: UInt64 = 60_000
  }

  // Hints and checks
  package static let maximumDownChecks = 10
  package static let maximumRepings = 3
  package static let downHintsPerTick = 50

  // Firewall probe and NAT sampler
  package static let firewallProbeNodes = 5
  package static let firewallMinimumReplies = 3
  package static let natSamples = 16
  package static let natLookback = 4

  // Health
  package static let healthWindow = 4
  package static let healthIdle: UInt64 = 4

  // Reachability, own choices
  /// Milliseconds between two probes at most while the network is silent, and by how much a pause is shortened at
  /// random, so that the nodes behind one uplink do not probe in step.
  package static let probeInterval: UInt64 = 1000
  package static let probeJitter: UInt64 = 300
  /// Probes of as many nodes in a row without an answer make a node offline (about 4 s with the silence before).
  package static let probesUntilOffline = 3
  /// Milliseconds without any answer after which a timeout speaks against the network rather than the node.
  package static let suspiciousSilence: UInt64 = 3000
  /// Nodes that are remembered for the time after an outage: a closest set with some to spare (8 bytes each).
  package static let rememberedNodes = 32

  // Paths, own choices
  /// Hosts of each kind (nodes, bootstrap nodes, peers) whose ways say whether a change of interfaces is one of ours:
  /// a question to the kernel each.
  package static let judgedNodes = 4
  /// Ticks (1 min) between two looks at the ways without a report.
  package static let pathTicks = 12
  /// Stands for the Internet while no node is known. Nothing is ever sent there.
  package static let farHost = IPv4Address(192, 88, 99, 1)

  // Sockets
  /// Own choice, milliseconds: the first pause before sockets that a resume could not open are tried again; doubles up
  /// to the other.
  package static let resumeRetry: UInt64 = 500
  package static let longestResumeRetry: UInt64 = 8000
  /// A single configured port p means p...p+4.
  package static let portRangeSpan: UInt16 = 5
  /// Milliseconds between two readings of the interface list where the system does not tell of changes.
  package static let interfacePoll: UInt64 = 1000

  // Own bounds against eclipse attacks (dht-rpc.md C-10): nodes of one IP address and of one /24, local ones not
  // counted
  package static let bucketNodesPerHost = 2
  package static let bucketNodesPerSubnet = 5
  package static let tableNodesPerHost = 5
  package static let tableNodesPerSubnet = 10
  /// Candidates of one query: one reply may be all of one host.
  package static let queryCandidatesPerHost = k
  package static let queryCandidatesPerSubnet = 40
  /// Nodes that wait for a place in a full bucket.
  package static let replacementsPerBucket = 8

  // Own bounds against abuse
  /// Candidates that one query may know (visited ones included); 50 times the closest set.
  package static let maximumQueryCandidates = 50 * k
  /// Referrers remembered per candidate; each may get one down hint.
  package static let maximumReferrers = k
  /// Sources whose reply budget is tracked; the longest idle one is forgotten first.
  package static let trackedSources = 4096
  /// Requests per second that one IP address gets answered in the long run, and the size of a burst. Loopback is
  /// exempt: it cannot be forged from outside and hosts whole test networks.
  package static let requestsPerSecond: UInt64 = 256
  package static let requestBurst: UInt64 = 1024
  /// Thousandths of the burst that requests of the yielding command leave to others.
  package static let reservedRequests: UInt64 = 250
  /// The same over all sources that may be forged: a bootstrap node at its busiest answers less, and a victim that many
  /// invented sources hide gets no more.
  package static let totalRequestsPerSecond: UInt64 = 8192
  package static let totalRequestBurst: UInt64 = 16_384
  /// Endpoints (IP address and port) that have answered or echoed a token, each with a budget of its own, and what one
  /// IP address keeps of them when the table is full.
  package static let provenSources = 16_384
  package static let provenSourcesPerHost = provenSources / 16
  /// Milliseconds without a packet after which such an endpoint is forgotten: longer than the pause between two pings
  /// of a table member, and than an announcement lives.
  package static let proofAge: UInt64 = 30 * 60 * 1000
  /// Pings to sources of requests, one per address and minute: nodes that are new to the table, and readers that may be
  /// forged. Of one IP address and of all, per second and in one burst, and those in flight, the same again for sources
  /// that have echoed a token: what invented sources can make a node send is below a tenth of its window.
  package static let sourceCheckInterval: UInt64 = 60_000
  package static let rememberedSourceChecks = 8192
  package static let sourceChecksPerSecond: UInt64 = 1
  package static let sourceCheckBurst: UInt64 = 32
  package static let totalSourceChecksPerSecond: UInt64 = 16
  package static let totalSourceCheckBurst: UInt64 = 256
  package static let pendingSourceChecks = 32
  /// The same per second for sources whose messages were refused and have come again: smaller than the messages, of
  /// which it takes two for each.
  package static let waitingSourceChecksPerSecond: UInt64 = 16
  package static let totalWaitingSourceChecksPerSecond: UInt64 = 64
  /// Milliseconds from a refused request to the copy that counts as a repetition, and how long a refusal is remembered:
  /// half of a request's timeout, and twice three timeouts. Refusals that are remembered per generation.
  package static let refusalAge = requestTimeout / 2
  package static let refusalMemory = 6 * requestTimeout
  package static let trackedRefusals = 8192
  /// Forwarded requests whose answers come back through this node, and how long they are awaited, milliseconds: a
  /// client repeats a handshake for less time.
  package static let forwardedRequests = 8192
  package static let forwardedRequestAge: UInt64 = 15_000
  /// Answers to one forward (the answer and one to a copy of the request that came another way), and to all of one
  /// request that is repeated.
  package static let answersPerForward = 2
  package static let answersPerRequest = 8
  /// Down hints per second and burst of one IP address that may cause liveness checks; they are acknowledged anyway.
  package static let downHintsPerSecond: UInt64 = 1
  package static let downHintBurst: UInt64 = 16
  /// Answers that wait for their delay, in all and per IP address.
  package static let maximumDelayedPings = 1024
  package static let maximumDelayedPingsPerSource = 32
  /// Source hosts recorded during one firewall probe.
  package static let maximumRecordedHosts = 256
  /// Senders without an id that are remembered as early NAT samples.
  package static let maximumEarlySamples = 64

  /// Asserts the relations between the limits, once per process.
  package static func check() { _ = checked }

  private static let checked: Void = {
    precondition(maximumDatagram <= HyperEncoding.Limits.udpPayload)
    precondition(
      minimumTimeout <= minimumUnknownTimeout && minimumUnknownTimeout <= requestTimeout
        && requestTimeout <= maximumTimeout)
    precondition(bootstrapGrace <= requestTimeout, "no later than the first transmission is repeated")
    precondition(probeJitter < probeInterval && probesUntilOffline > 0 && rememberedNodes >= k)
    precondition(minimumVisitTimeout <= requestTimeout && minimumSilentVisitTimeout <= maximumTimeout)
    precondition(maximumRequestsInFlight <= 1 << 14, "a quarter of the transaction ids")
    precondition(maximumQueuedRequests <= maximumRequestsInFlight)
    precondition(slowdownConcurrency <= concurrency && concurrency <= k)
    precondition(minimumCachedSuccesses <= k && natLookback <= natSamples)
    precondition(LowPower.tickInterval % tickInterval == 0, "ticks are counted in the usual ones")
    precondition(LowPower.tickInterval / tickInterval <= LowPower.pingEveryTicks, "one tick, one round")
    precondition(probeInterval <= LowPower.longestProbePause)
    precondition(stableTicks <= moreStableTicks && forcedRetryTicks <= moreStableTicks)
    precondition(bucketNodesPerHost <= bucketNodesPerSubnet && bucketNodesPerSubnet <= k)
    precondition(bucketNodesPerHost <= tableNodesPerHost && bucketNodesPerSubnet <= tableNodesPerSubnet)
    precondition(queryCandidatesPerHost <= queryCandidatesPerSubnet)
    precondition(queryCandidatesPerSubnet <= maximumQueryCandidates)
    precondition(maximumDelayedPingsPerSource <= maximumDelayedPings)
    precondition(requestsPerSecond <= requestBurst && downHintsPerSecond <= downHintBurst)
    precondition(
      requestsPerSecond * 1000 <= requestBurst * reservedRequests,
      "a source that is new in a crowd has nothing for the yielding command")
    precondition(requestsPerSecond <= totalRequestsPerSecond && requestBurst <= totalRequestBurst)
    precondition(sourceChecksPerSecond <= totalSourceChecksPerSecond && sourceCheckBurst <= totalSourceCheckBurst)
    precondition(3 * pendingSourceChecks <= maxWindow * windowSlots, "the window has room for requests of our own")
    precondition(waitingSourceChecksPerSecond <= totalWaitingSourceChecksPerSecond)
    precondition(provenSourcesPerHost <= provenSources && answersPerForward <= answersPerRequest)
    precondition(trackedPaths >= 2 && trackedSources >= 2, "two generations")
    precondition(firewallMinimumReplies <= firewallProbeNodes)
    precondition(pingSomeWhenRecent <= pingSomeWhenBusy && pingSomeWhenBusy <= pingSome)
  }()
}
