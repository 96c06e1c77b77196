import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

/// The limits of `Hyperswarm.Options` that may change.
struct ConnectionLimits: Sendable {
  var maxPeers: Int
  var maxParallel: Int
  var maxClientConnections: Int
  var maxServerConnections: Int
  var maxConnections: Int

  init(_ options: Hyperswarm.Options) {
    maxPeers = options.maxPeers
    maxParallel = options.maxParallel
    maxClientConnections = options.maxClientConnections
    maxServerConnections = options.maxServerConnections
    maxConnections = options.maxConnections
  }
}

// Limits, firewall and relays of a running swarm: what they mean is said at `Options`. Each holds for the decisions
// that follow, from the loop's next turn on; connections that stand stay.
extension Hyperswarm {
  /// See `Options.maxPeers`. Holds for the decisions that follow; connections that stand stay.
  public var maxPeers: Int {
    get { settings.withLock { $0.maxPeers } }
    set { change { $0.maxPeers = newValue } }
  }

  /// See `Options.maxParallel`; holds as `maxPeers`.
  public var maxParallel: Int {
    get { settings.withLock { $0.maxParallel } }
    set { change { $0.maxParallel = newValue } }
  }

  /// See `Options.maxClientConnections`; holds as `maxPeers`.
  public var maxClientConnections: Int {
    get { settings.withLock { $0.maxClientConnections } }
    set { change { $0.maxClientConnections = newValue } }
  }

  /// See `Options.maxServerConnections`; holds as `maxPeers`.
  public var maxServerConnections: Int {
    get { settings.withLock { $0.maxServerConnections } }
    set { change { $0.maxServerConnections = newValue } }
  }

  /// See `Options.maxConnections`; holds as `maxPeers`.
  public var maxConnections: Int {
    get { settings.withLock { $0.maxConnections } }
    set { change { $0.maxConnections = newValue } }
  }

  /// Replaces `Options.firewall`; `nil` accepts every peer. Questions under way keep their answers, bans stay.
  public func setFirewall(_ firewall: (@Sendable (Candidate) async -> Verdict)?) {
    let engine = engine
    let loop = loop
    loop.post { engine.value.firewall = firewall.map { SwarmOptions.firewall($0, on: loop) } }
  }

  /// Replaces `Options.relayThrough`; `nil` uses none.
  public func setRelayThrough(_ relays: Relays?) {
    let engine = engine
    loop.post { engine.value.relayThrough = relays.map(SwarmRelay.init) }
  }

  private func change(_ body: (inout ConnectionLimits) -> Void) {
    settings.withLock { body(&$0) }
    let engine = engine
    let settings = settings
    loop.post {
      // The newest, whatever the order in which several threads post.
      let limits = settings.withLock { $0 }
      engine.value.maxPeers = limits.maxPeers
      engine.value.maxParallel = limits.maxParallel
      engine.value.maxClientConnections = limits.maxClientConnections
      engine.value.maxServerConnections = limits.maxServerConnections
      engine.value.maxConnections = limits.maxConnections
      engine.value.settingsChanged()
    }
  }
}

extension Hyperswarm {
  /// Between `suspend` and `resume`, as of the loop's turn in which the question arrives there; `false` once the loop
  /// has ended.
  public var isSuspended: Bool {
    get async { await read { $0.isSuspended } ?? false }
  }

  /// Connections are accepted under our key: after `listen`, or a first `join` as a server. As of the loop's turn in
  /// which the question arrives there.
  public var isListening: Bool {
    get async { await read { $0.isListening && !$0.isDestroyed } ?? false }
  }

  /// Peers named by `joinPeer`, in no order.
  public var explicitPeers: [Peer] { peers.filter(\.isExplicit) }
}
