import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperRuntime

extension HyperDHT {
  /// Counters of a node since it was made, and what it makes of the network.
  public struct Statistics: Hashable, Sendable {
    /// Requests of one kind (dht-rpc.md 7.1).
    public struct Command: Hashable, Sendable {
      /// Requests made by this node; retransmissions do not count.
      public var sent: UInt64 = 0
      /// Answers to those, with an error or not.
      public var answered: UInt64 = 0
      /// Requests of other nodes that this one has served.
      public var served: UInt64 = 0

      /// Zeros.
      public init() {}
    }

    /// Hole punches that were begun, by either role, between NATs with one port for all destinations.
    public var punchesConsistent: UInt64 = 0
    /// Hole punches that were begun with one NAT that gives every destination another port.
    public var punchesRandom: UInt64 = 0
    /// Connections with a side that is reachable without a hole.
    public var punchesOpen: UInt64 = 0

    /// Connections of our servers over blind relays that were begun.
    public var relayAttempts: UInt64 = 0
    /// Of those, paired.
    public var relaySuccesses: UInt64 = 0
    /// Of those, ended unpaired.
    public var relayAborts: UInt64 = 0
    /// Relays named by clients that were not dialled: too many at a time, or not wanted.
    public var relayRefusals: UInt64 = 0
    /// Connections of both roles that moved from a relay to a direct path.
    public var relayUpgrades: UInt64 = 0

    /// Connections that have taken another path after a change of network.
    public var connectionsMoved: UInt64 = 0

    /// Look-ups and queries under way.
    public var queriesActive: UInt64 = 0
    /// Look-ups and queries made so far.
    public var queriesTotal: UInt64 = 0
    /// Requests under way, queued ones included.
    public var requestsActive: UInt64 = 0
    /// Requests made so far.
    public var requestsTotal: UInt64 = 0
    /// Answers to requests of ours.
    public var responses: UInt64 = 0
    /// Requests without an answer to any transmission.
    public var timeouts: UInt64 = 0
    /// Transmissions after the first one of a request.
    public var retransmissions: UInt64 = 0

    /// PING.
    public var ping = Command()
    /// PING_NAT: whether a node is reached from outside.
    public var pingNAT = Command()
    /// FIND_NODE.
    public var findNode = Command()
    /// DOWN_HINT: a node that was named does not answer.
    public var downHint = Command()
    /// DELAYED_PING.
    public var delayedPing = Command()

    /// Answers in the last whole tick of five seconds (dht-rpc.md 19).
    public var recentResponses: UInt64 = 0
    /// Requests that were given up in that tick.
    public var recentTimeouts: UInt64 = 0
    /// These are too few to judge the network by: fewer than four.
    public var isIdle = true
    /// The node has not been at it for long enough to judge the network: for four ticks.
    public var isCold = true

    /// Zeros.
    public init() {}

    init(_ node: DHTNode) {
      let dht = node.statistics
      punchesConsistent = dht.punches.consistent
      punchesRandom = dht.punches.random
      punchesOpen = dht.punches.open
      relayAttempts = dht.relaying.attempts
      relaySuccesses = dht.relaying.successes
      relayAborts = dht.relaying.aborts
      relayRefusals = dht.relaying.refused
      relayUpgrades = dht.relaying.upgrades
      connectionsMoved = dht.migrations.moved
      let rpc = node.rpc.statistics
      queriesActive = rpc.queriesActive
      queriesTotal = rpc.queriesTotal
      requestsActive = rpc.requestsActive
      requestsTotal = rpc.requestsTotal
      responses = rpc.responses
      timeouts = rpc.timeouts
      retransmissions = rpc.retries
      ping = Command(rpc.ping)
      pingNAT = Command(rpc.pingNAT)
      findNode = Command(rpc.findNode)
      downHint = Command(rpc.downHint)
      delayedPing = Command(rpc.delayedPing)
      let health = node.rpc.healthStatistics
      recentResponses = health.responses
      recentTimeouts = health.timeouts
      isIdle = health.isIdle
      isCold = health.isCold
    }
  }

  /// The node's counters at this moment; zeros when its loop has ended.
  public nonisolated(nonsending) func statistics() async -> Statistics {
    await read { Statistics($0) } ?? Statistics()
  }

  /// The counters of the node, of its two sockets and of the transport, as text for Prometheus: all gauges, under the
  /// names that dashboards of the deployed stack use where it has the same. "" when the loop has ended. What they
  /// mean: `docs/metrics.md`. A swarm's `metrics` has these, too.
  public nonisolated(nonsending) func metrics() async -> String {
    await metricValues().prometheusText
  }

  nonisolated(nonsending) func metricValues() async -> [Metric] {
    await read { $0.metrics } ?? []
  }
}

extension HyperDHT.Statistics.Command {
  init(_ command: RPCStatistics.Command) {
    sent = command.tx
    answered = command.rx
    served = command.served
  }
}
