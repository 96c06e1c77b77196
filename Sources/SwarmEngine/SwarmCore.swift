import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperEnvironment

/// The swarm engine: decides when to announce, look up, dial, accept, drop and redial (hyperswarm.md). Confined to one
/// loop; reads no clock, socket or random source but its environment's.
///
/// `SwarmEngine` is this class over the DHT node; tests run it over a fake.
package final class SwarmCore<DHT: SwarmDHT> {
  package typealias Stream = DHT.Stream

  package let environment: any Environment
  package let dht: DHT
  package let keyPair: KeyPair
  package var publicKey: Bytes32 { keyPair.publicKey }

  // Read at each decision, writable at any time.
  package var maxPeers: Int
  package var maxParallel: Int
  package var maxClientConnections: Int
  package var maxServerConnections: Int
  package var maxConnections: Int
  package var relayThrough: SwarmRelay?
  package var firewall: SwarmFirewall?

  /// A connection is open; set the stream's callbacks before returning.
  package var onConnection: ((Stream, PeerInfo) -> Void)?
  /// Numbers have changed: the last act of each step.
  package var onUpdate: (() -> Void)?
  /// The firewall banned a peer; not called for `PeerInfo.ban`.
  package var onBan: ((PeerInfo, SwarmStreamFailure) -> Void)?
  package var onAttempt: ((PeerAttempt) -> Void)?
  /// An entry of `peers` has come or gone. Changes nothing itself.
  package var onPeerAdded: ((PeerInfo) -> Void)?
  package var onPeerRemoved: ((PeerInfo) -> Void)?

  package internal(set) var isDestroyed = false
  package internal(set) var isSuspended = false
  /// When the network changed last.
  var changedAt: UInt64?

  // MARK: Peers and connections (hyperswarm.md 6.1)

  /// Dials in progress and open connections, at most one per key.
  var links: [Bytes32: Link] = [:]
  /// Reported connections in the order of their reports.
  var reported: [UInt64: Link] = [:]
  var reportSequence: UInt64 = 0
  var diallingCount = 0
  var clientCount = 0
  var serverCount = 0
  /// The last search for a connection that makes room at a limit, and when there may be the next one.
  var roomSearch = RoomSearch()
  var roomSearchAt: UInt64 = 0
  /// Keys whose dial waits for an asynchronous firewall verdict.
  var screening: Set<Bytes32> = []
  /// Incoming streams that are not accepted yet.
  var pendingIncoming: [ObjectIdentifier: Incoming] = [:]
  var knownPeers: [Bytes32: PeerInfo] = [:]
  var explicit: [PeerInfo] = []
  var queue = ShuffledPriorityQueue<Bytes32, PeerInfo>()
  let timers: RetryTimers
  var isDraining = false
  var needsDrain = false

  // MARK: Firewall

  /// Those with `isBannedByFirewall`, each once, the oldest ban first.
  var firewallBans: [PeerInfo] = []
  /// Keys that were refused a moment ago, so that retransmitted and repeated handshakes do not ask again.
  var refusals = ExpiringKeys<Bytes32>(limit: Limits.maxRefusals)
  /// Questions to the firewall about peers that have come, and which of them makes room for another.
  var questions: [UInt64: FirewallQuestion] = [:]
  var questionsByHost = HostQueue()
  var nextQuestion: UInt64 = 0
  /// Questions about dials.
  var dialQuestions = 0
  var pendingVerdicts: Int { questions.count + dialQuestions }

  // MARK: Topics

  var discoveries: [Bytes32: TopicDiscovery] = [:]
  var topicOrder: [Bytes32] = []
  /// Left topics whose teardown goes on.
  var leaving: [Bytes32: TopicDiscovery] = [:]

  // MARK: Listening, flushes, lifecycle

  package let server: DHT.Server
  enum ListenState {
    case idle
    case starting
    case listening
  }
  var listenState = ListenState.idle
  var listenWaiters: [(Result<Void, SwarmError>) -> Void] = []
  var flushes: [PendingFlush] = []
  var lifecycle: [(@escaping () -> Void) -> Void] = []
  var isInTransition = false
  /// The next attempt to resume after one that failed, and the pause (milliseconds) before it.
  var recovery: (any ScheduledAction)?
  var recoveryPause = Limits.resumeRetry
  var idleWaiters: [() -> Void] = []
  var destroyWaiters: [() -> Void] = []
  var isDestroyFinished = false
  var forceDestroy: (() -> Void)?
  var isNetworkRefreshPending = false
  var wasOnline: Bool
  let ownsDHT: Bool
  /// Each ends one: a node may outlive its swarms.
  var observations: [() -> Void] = []
  var counters = SwarmStatistics()
  var closedTraffic = TransportStatistics()

  /// One connection or dial.
  final class Link {
    enum State {
      case dialling
      case open
      case closed
    }
    let stream: Stream
    let peer: PeerInfo
    let isInitiator: Bool
    var state: State
    /// When it was dialled.
    var beganAt: UInt64 = 0
    /// Bytes of messages at the last search for room, and when it was accepted or a search saw them change.
    var seenMessageBytes: UInt64 = 0
    var activeAt: UInt64 = 0
    /// 0 until the connection is reported.
    var reportNumber: UInt64 = 0
    /// The peer's own dial has passed our firewall and will replace this one.
    var expectsCrossing = false
    var graceTimer: (any ScheduledAction)?
    /// Accepted streams that wait for this one to close, and those that have to prove themselves first.
    var successors: [Incoming] = []
    var challengers: [Incoming] = []
    /// The transport has acknowledged the probe that a challenger caused.
    var probeState = ProbeState.none
    var probeTimer: (any ScheduledAction)?
    /// Runs while the connection has to prove itself after a change of the network.
    var changeTimer: (any ScheduledAction)?

    init(stream: Stream, peer: PeerInfo, isInitiator: Bool) {
      self.stream = stream
      self.peer = peer
      self.isInitiator = isInitiator
      state = isInitiator ? .dialling : .open
    }
  }

  /// What a search for room has found.
  struct RoomSearch {
    /// The longest idle incoming connection of the host that has most of those with an idle one.
    weak var candidate: Link?
    /// Incoming connections of each host.
    var counts: [IPv4Address?: Int] = [:]
  }

  enum ProbeState {
    case none
    case sent
    case answered
    case silent
  }

  /// An incoming stream from its arrival on.
  final class Incoming {
    let stream: Stream
    let key: Bytes32
    var link: Link?
    var isClosed = false
    var isHeld = false
    /// Is turned away as soon as the connection it waits beside has answered.
    var yieldsToOld = false
    var deadline: (any ScheduledAction)?

    init(stream: Stream, key: Bytes32) {
      self.stream = stream
      self.key = key
    }
  }

  package init(environment: any Environment, dht: DHT, options: SwarmOptions = SwarmOptions()) {
    Limits.check()
    self.environment = environment
    self.dht = dht
    keyPair = options.keyPair ?? KeyPair(seed: environment.random32())
    maxPeers = options.maxPeers
    maxParallel = options.maxParallel
    maxClientConnections = options.maxClientConnections
    maxServerConnections = options.maxServerConnections
    maxConnections = options.maxConnections
    relayThrough = options.relayThrough
    firewall = options.firewall
    ownsDHT = options.ownsDHT
    wasOnline = dht.isOnline
    let bases =
      options.backoffs ?? Limits.backoffs.map { $0.base + UInt64(environment.random(below: $0.spread + 1)) }
    timers = RetryTimers(
      environment: environment,
      times: bases.map { $0 + UInt64(environment.random(below: options.jitter + 1)) })
    let box = WeakBox<SwarmCore>()
    server = dht.makeSwarmServer(
      SwarmServerOptions(
        firewall: { request, verdict in
          guard let core = box.value else { return verdict(false) }
          core.screenIncoming(request, verdict)
        },
        relayThrough: { box.value?.chooseRelay(force: false) },
        handshakeClearWait: options.handshakeClearWait))
    box.value = self
    server.onConnection = { [weak self] stream in
      guard let self else { return stream.abort(.destroyed) }
      self.incoming(stream)
    }
    timers.onBatch = { [weak self] in self?.deliver($0) }
    observations = [
      dht.observeNetworkChange { [weak self] in self?.networkChanged() },
      dht.observeNetworkUpdate { [weak self] in self?.networkUpdated() },
    ]
  }

  // MARK: Numbers

  /// Dials in progress.
  package var connecting: Int { diallingCount + screening.count }
  /// Open connections, both roles, in the order they were reported.
  package var connections: [Stream] { reported.sorted { $0.key < $1.key }.map(\.value.stream) }
  /// All known peers: candidates, waiting, banned and connected ones.
  package var peers: [Bytes32: PeerInfo] { knownPeers }
  package var explicitPeers: [PeerInfo] { explicit }
  package var isListening: Bool { listenState == .listening }
  package var queueLength: Int { queue.count }

  var isWithinMaxPeers: Bool {
    let incoming = PeerShare.incoming(maxPeers: maxPeers, explicitPeers: explicit.count, accepted: serverCount)
    return PeerShare.isWithin(
      maxPeers: maxPeers, explicitPeers: explicit.count, peerCount: links.count - serverCount + incoming)
  }

  /// A limit or the firewall was set: dials that it lets through begin now.
  package func settingsChanged() { drain() }

  func update() {
    counters.updates += 1
    onUpdate?()
  }
}

final class WeakBox<Value: AnyObject> {
  weak var value: Value?
}
