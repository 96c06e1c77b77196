import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperEnvironment

/// A node of the overlay: requests, routing table, queries, and what keeps them fresh (dht-rpc.md).
///
/// Loop-confined. Callbacks have one subscriber each. The owner keeps the node alive and calls `destroy` before it lets
/// go. The mechanisms live in extensions, one file each.
package final class RPCNode {
  package let environment: any Environment
  package let configuration: RPCConfiguration

  /// A user command; `false` answers with error 1 (unknown command).
  package var onRequest: ((IncomingRequest) -> Bool)?
  /// The sockets are bound, first time.
  package var onListening: (() -> Void)?
  /// Bootstrapped.
  package var onReady: (() -> Void)?
  /// Became persistent; can repeat after a wakeup.
  package var onPersistent: (() -> Void)?
  /// Fell back to ephemeral.
  package var onEphemeral: (() -> Void)?
  /// Sleep was detected, or the node resumed.
  package var onWakeup: (() -> Void)?
  /// After a sleep of the machine, and after the process was stopped: nothing was heard for so long that peers may have
  /// given this node up and gone elsewhere.
  package var onAwake: (() -> Void)?
  package var onSuspend: (() -> Void)?
  package var onResume: (() -> Void)?
  /// Exactly once, last.
  package var onClose: (() -> Void)?
  /// The public host and port as peers see us: host `nil` when they disagree, port 0 when only the ports differ.
  package var onNATUpdate: ((IPv4Address?, UInt16) -> Void)?
  /// The address that our id was made of is no longer ours: the old one, and the new one if it is known. Comes after
  /// `onEphemeral`; what was announced under the old address has to be announced again.
  package var onAddressChange: ((Endpoint, Endpoint?) -> Void)?
  package var onNetworkChange: (([InterfaceAddress]) -> Void)?
  /// An interface or a route has changed, perhaps one that is none of ours.
  package var onInterfaces: (() -> Void)?
  /// Hosts beside the nodes that the ways to matter.
  package var otherHosts: (() -> [IPv4Address])?
  /// Interfaces or `isOnline`/`isDegraded` changed.
  package var onNetworkUpdate: (() -> Void)?
  package var onNodeAdded: ((NodeAddress) -> Void)?
  package var onNodeRemoved: ((NodeAddress) -> Void)?
  /// Datagrams on the two sockets that are no DHT messages (hole-punch probes of one byte, strays of streams).
  package var onStrayDatagram: ((UnsafeRawBufferPointer, Endpoint, any DatagramSocket) -> Void)?

  package internal(set) var statistics = RPCStatistics()

  // MARK: State of the mechanisms

  // Sockets
  package internal(set) var serverSocket: (any DatagramSocket)?
  package internal(set) var clientSocket: (any DatagramSocket)?
  var lastServerPort: UInt16 = 0
  var lastClientPort: UInt16 = 0
  var hasListened = false
  /// The ways to nodes and peers before the next change of interfaces.
  var knownPaths: [IPv4Address: Route?] = [:]
  /// Ticks until they are noted again.
  var pathTicks = 0
  var interfaceWatch: (any ScheduledAction)?
  /// Sockets that are being closed by suspend or destroy.
  var closingSockets = 0

  // Life cycle
  package internal(set) var isSuspended = false
  package internal(set) var isDestroyed = false
  package internal(set) var isBootstrapped = false
  var isStarted = false
  /// `start` came while suspended.
  var startsOnResume = false
  var isClosed = false
  var suspendCallbacks: [() -> Void] = []
  var resumeCallbacks: [(Result<Void, RPCError>) -> Void] = []
  /// The next attempt to open the sockets after a resume that failed, and the pause (milliseconds) before it.
  var resumeTimer: (any ScheduledAction)?
  var resumePause: UInt64 = 0
  var destroyCallbacks: [() -> Void] = []
  var bootstrapCallbacks: [(Result<Void, RPCError>) -> Void] = []
  var bootstrapFailure: RPCError?

  /// The last addresses of the names of the bootstrap list.
  var resolvedNames: [String: [IPv4Address]] = [:]
  /// When the look-ups under way began (microseconds), and what waits for them, by name.
  var lookUpsBegun: [String: UInt64] = [:]
  var nameWaiters: [String: [([IPv4Address]) -> Void]] = [:]

  // Requests
  var requests: [UInt16: PendingRequest] = [:]
  var requestSerial: UInt64 = 0
  var waitingForSockets: [PendingRequest] = []
  var sendQueue = RequestQueue()
  var window: CongestionWindow
  var windowSlot: UInt64
  var drainTimer: (any ScheduledAction)?
  var roundTripTimes = RoundTripTimes()

  // Queries
  /// Those that run.
  var queries: [ObjectIdentifier: Query] = [:]
  var querySerial: UInt64 = 0
  var downHintsLeft: Int

  // Identity and routing
  package internal(set) var isFirewalled: Bool
  package internal(set) var isEphemeral = true
  var table: RoutingTable
  var recency = RecencyList()
  var replacements = ReplacementCache()
  var sampler = NATSampler()
  var earlySamples: Set<Endpoint> = []
  var downChecks = 0
  var repings = 0

  // Tokens
  var tokens: TokenStore?
  var issuedTokens = IssuedTokens()
  var tokenRotations: UInt64 = 0
  let createdAt: UInt64

  // Persistence
  /// Ticks until the next attempt to become persistent.
  var stabilityTicks = Limits.stableTicks
  /// The pause after that, for nodes that are told to be persistent.
  var forcedRetryTicks = Limits.forcedRetryTicks
  var lastCheckedHost: IPv4Address?
  /// What our id is made of, while persistent.
  var persistentAddress: Endpoint?
  var isUpdatingPersistence = false
  /// What the node has been told of its own address.
  var knownAddress: Endpoint?
  var recordedHosts: Set<IPv4Address>?

  // Tick
  var tick: UInt64
  var refreshTicks: Int
  var tickTimer: (any ScheduledAction)?
  var lastTickUptime: UInt64 = 0
  var lastTickTime: UInt64 = 0
  var health = Health()
  var reachability = Reachability()

  // Abuse
  var replyBudget: ReplyBudget
  var forwardedRequests: ForwardedRequests
  var hintBudget: SourceBudget
  var sourceChecks: SourceChecks
  var refusals: Refusals<RefusedRequest>
  /// Whether a requester is pinged before it becomes a node; recordings of the reference, which takes its word, are
  /// replayed without.
  package var checksRequesters = true
  /// Requests of this command leave a part of what an IP address that may be forged has to all others, the first time
  /// that they come: many of them in the name of a client's host do not keep it from asking anything else.
  package var yieldingCommand: UInt64?
  var delayedPings = DelayedPings()

  package init(environment: any Environment, configuration: RPCConfiguration) {
    self.environment = environment
    self.configuration = configuration
    let now = environment.nowMilliseconds
    createdAt = now
    window = CongestionWindow(maximum: configuration.maxWindow)
    windowSlot = now / Limits.drainInterval
    downHintsLeft = configuration.downHintsRateLimit
    replyBudget = ReplyBudget(now: now)
    forwardedRequests = ForwardedRequests(now: now)
    sourceChecks = SourceChecks(now: now)
    refusals = Refusals(
      maximumEntries: Limits.trackedRefusals, leastAge: Limits.refusalAge, memory: Limits.refusalMemory, now: now)
    hintBudget = SourceBudget(RPCNode.hintPolicy, now: now)
    isFirewalled = configuration.firewalled
    table = RoutingTable(id: environment.random32(), isDiverse: configuration.limitsSubnets)
    tick = 100 - UInt64(environment.random(below: 50))
    refreshTicks = Limits.refreshTicks - Int(environment.random(below: 30))
    if let address = configuration.natSample { assume(address) }
    for endpoint in configuration.nodes.reversed() { addNode(endpoint) }
  }

  /// The liveness checks that the down hints of one source address may cause (dht-rpc.md B-7).
  static let hintPolicy = SourceBudget.Policy(
    perSource: Rate(burst: Limits.downHintBurst, perSecond: Limits.downHintsPerSecond),
    maximumSources: Limits.trackedSources / 2)

  deinit {
    tickTimer?.cancel()
    reachability.timer?.cancel()
    resumeTimer?.cancel()
    drainTimer?.cancel()
    interfaceWatch?.cancel()
    delayedPings.cancelAll()
    recency.removeAll()
  }

  // MARK: Identity

  /// Our id, `nil` while ephemeral.
  package var id: Bytes32? { isEphemeral ? nil : table.id }
  /// What the routing table is centred on: our id, or random bytes before we know our address.
  package var tableID: Bytes32 { table.id }
  package var host: IPv4Address? { sampler.host }
  package var port: UInt16 { sampler.port }
  /// Peers agree on our host but each sees another port.
  package var isRandomized: Bool { sampler.isRandomized }
  package var isDegraded: Bool { health.isDegraded }

  /// Answers and final timeouts of the last tick, whether they are too few to judge by, and whether they were lately.
  package var healthStatistics: (responses: UInt64, timeouts: UInt64, isIdle: Bool, isCold: Bool) {
    (health.responses, health.timeouts, health.isIdle, health.isCold)
  }

  var isAdaptive: Bool { configuration.ephemeral == nil && configuration.adaptive }
  var isForcedPersistent: Bool { configuration.ephemeral == false }

  // MARK: Routing table

  /// By true XOR distance, nearest first.
  package func closestNodes(to target: Bytes32, limit: Int = Limits.k) -> [NodeAddress] {
    table.closest(to: target, limit: limit).map(\.address)
  }

  package var nodeCount: Int { table.count }

  /// Latest heard first.
  package func recentNodes(limit: Int = .max) -> [Endpoint] {
    var result: [Endpoint] = []
    var node = recency.latest
    while let current = node, result.count < limit {
      result.append(current.endpoint)
      node = current.earlier
    }
    return result
  }

  /// Puts a node into the table without asking it; a node that is there already counts as heard just now.
  package func addNode(_ endpoint: Endpoint) {
    guard endpoint.isUsable else { return }
    let id = NodeAddress.id(of: endpoint)
    guard id != table.id else { return }
    if let known = table.node(id) {
      heard(known)
    } else {
      _ = insert(RoutingNode(id: id, endpoint: endpoint, tick: tick))
    }
  }

  package func makeSession() -> RequestSession { RequestSession() }
}
