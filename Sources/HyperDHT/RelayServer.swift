import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperRuntime

extension HyperDHT {
  /// Serves as a blind relay under a public key (hyperdht.md 10.5), and announces it. Returns when `listen` would.
  ///
  /// Peers that name the key in `relayThrough` meet here when there is no direct path between them. Best on a node with
  /// a public address and bandwidth to spare.
  /// - `keyPair`: the identity of the relay; the node's by default. One server per key pair.
  /// - `firewall`: decides which peers may use the relay, as `ServerOptions.firewall` does; every peer by default.
  /// - `limits`: what the relay takes on.
  /// - Throws: as `listen`.
  public nonisolated(nonsending) func serveRelay(
    keyPair: KeyPair? = nil, firewall: (@Sendable (IncomingPeer) async -> Bool)? = nil,
    limits: RelayServer.Limits = .init()
  ) async throws(DHTError) -> RelayServer {
    let node = node
    let loop = loop
    let call = TracedCall("hyperdht.serve_relay", (keyPair ?? defaultKeyPair).publicKey)
    return try await operation(call) { settle in
      var options = ServerOptions()
      options.firewall = firewall
      let engine = RelayService(
        node: node.value, options: .init(options, loop: loop), bounds: BlindRelayServer.Bounds(limits))
      let server = RelayServer(loop: loop, engine: engine, keyPair: keyPair ?? node.value.defaultKeyPair)
      engine.listen(keyPair: keyPair) { result in
        settle(result.flatMap { engine.server.isClosed ? .failure(.nodeDestroyed) : .success(server) })
      }
      return { engine.close() }
    }
  }

  /// A blind relay: forwards the packets of peers that have no direct path, without being able to read them. Letting go
  /// of it closes it, as `close` does.
  public final class RelayServer: Sendable {
    /// The key that peers name to come over this relay.
    public let publicKey: Bytes32
    let loop: UVEventLoop
    let engine: LoopBound<RelayService>
    /// The engine uses it without holding it.
    private let node: LoopBound<DHTNode>

    /// On the loop.
    init(loop: UVEventLoop, engine: RelayService, keyPair: KeyPair) {
      self.loop = loop
      self.engine = LoopBound(engine)
      node = LoopBound(engine.server.node)
      publicKey = keyPair.publicKey
    }

    deinit {
      let engine = engine
      loop.post { engine.value.close() }
    }

    /// What a relay takes on. At a bound on clients one without a relayed connection makes room, at one on requests the
    /// oldest of the client that has most; relayed connections stay, and further ones are refused. Packets above a
    /// bound on bytes are dropped: half a second's worth may pass at once.
    public struct Limits: Hashable, Sendable {
      /// Clients at a time, 4,096 by default.
      public var sessions = HyperDHTEngine.Limits.Relay.sessions
      /// Clients with one key at a time, 128 by default: deployed swarms make one for each relayed peer.
      public var sessionsPerKey = HyperDHTEngine.Limits.Relay.sessionsPerKey
      /// Relayed connections at a time, 8,192 by default. One IP address may have three times as many as are left.
      public var links = HyperDHTEngine.Limits.Relay.links
      /// Relayed connections of one client at a time, 256 by default.
      public var linksPerSession = HyperDHTEngine.Limits.Relay.linksPerSession
      /// Requests whose other side has not come, for at most 30 seconds each; 4,096 by default.
      public var pendingTokens = HyperDHTEngine.Limits.Relay.pendingTokens
      /// Requests of one client whose other side has not come, 256 by default.
      public var pendingTokensPerSession = HyperDHTEngine.Limits.Relay.pendingTokensPerSession
      /// Clients at a time with one IP address, 512 by default.
      public var sessionsPerHost = HyperDHTEngine.Limits.Relay.sessionsPerHost
      /// Requests of one IP address whose other side has not come, 512 by default.
      public var pendingTokensPerHost = HyperDHTEngine.Limits.Relay.pendingTokensPerHost
      /// Bytes a second of one relayed connection, both directions together; 128 MiB by default.
      public var linkBytesPerSecond = HyperDHTEngine.Limits.Relay.linkBytesPerSecond
      /// Bytes a second of all relayed connections together, 512 MiB by default.
      public var bytesPerSecond = HyperDHTEngine.Limits.Relay.bytesPerSecond
      /// Bytes of one relayed connection in all; 0, the default, for no bound.
      public var linkBytes: UInt64 = 0

      /// The limits of a relay that is given none.
      public init() {}
    }

    /// Counters since the start; `active...` and `pending...` are the present state.
    public struct Statistics: Hashable, Sendable {
      /// Clients now.
      public var activeSessions = 0
      /// Relayed connections now.
      public var activeLinks = 0
      /// Requests whose other side has not come yet.
      public var pendingTokens = 0
      /// Clients that were admitted.
      public var sessionsAccepted: UInt64 = 0
      /// Clients that were refused: above a limit, and none could make room.
      public var sessionsRefused: UInt64 = 0
      /// Requests whose other side has come.
      public var pairingsMatched: UInt64 = 0
      /// Requests that their client has taken back, or that went with it.
      public var pairingsCancelled: UInt64 = 0
      /// Requests whose other side did not come in time.
      public var pairingsExpired: UInt64 = 0
      /// Requests above a limit on relayed connections, or for which none could make room.
      public var pairingsRefused: UInt64 = 0
      /// Clients that have made room for others.
      public var sessionsEvicted: UInt64 = 0
      /// Requests that have made room for others.
      public var pairingsEvicted: UInt64 = 0
      /// Packets above a limit on bytes.
      public var packetsDropped: UInt64 = 0
      /// UDP payload received to be forwarded, with the transport's headers, bytes.
      public var bytesRelayed: UInt64 = 0

      /// All zero.
      public init() {}
    }

    /// The relay's counters at this moment; after `close` those of the end, all zero once its loop has ended.
    public nonisolated(nonsending) func statistics() async -> Statistics {
      let engine = engine
      return await onLoop(loop) { Statistics(engine.value.relay) } ?? Statistics()
    }

    /// Nodes that route to the relay, at most three; as `Server.relayAddresses`.
    public nonisolated(nonsending) func relayAddresses() async -> [Endpoint] {
      let engine = engine
      return await onLoop(loop) { engine.value.server.relayAddresses } ?? []
    }

    /// Ends what is relayed and withdraws the announcement, for a second at most. Not interrupted by cancellation.
    public nonisolated(nonsending) func close() async {
      let engine = engine
      let loop = loop
      await TracedCall("hyperdht.relay_close", publicKey).run {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
          if !loop.post({ engine.value.close { continuation.resume() } }) { continuation.resume() }
        }
      }
    }
  }
}

extension BlindRelayServer.Bounds {
  init(_ limits: HyperDHT.RelayServer.Limits) {
    self.init()
    sessions = limits.sessions
    sessionsPerKey = limits.sessionsPerKey
    links = limits.links
    linksPerSession = limits.linksPerSession
    pendingTokens = limits.pendingTokens
    pendingTokensPerSession = limits.pendingTokensPerSession
    sessionsPerHost = limits.sessionsPerHost
    pendingTokensPerHost = limits.pendingTokensPerHost
    linkBytesPerSecond = limits.linkBytesPerSecond
    bytesPerSecond = limits.bytesPerSecond
    linkBytes = limits.linkBytes
  }
}

extension HyperDHT.RelayServer.Statistics {
  package init(_ relay: BlindRelayServer) {
    activeSessions = relay.sessionCount
    activeLinks = relay.linkCount
    pendingTokens = relay.pendingCount
    sessionsAccepted = relay.statistics.sessionsAccepted
    sessionsRefused = relay.statistics.sessionsRefused
    pairingsMatched = relay.statistics.pairingsMatched
    pairingsCancelled = relay.statistics.pairingsCancelled
    pairingsExpired = relay.statistics.pairingsExpired
    pairingsRefused = relay.statistics.pairingsRefused
    sessionsEvicted = relay.statistics.sessionsEvicted
    pairingsEvicted = relay.statistics.pairingsEvicted
    packetsDropped = relay.packetsDropped
    bytesRelayed = relay.bytesRelayed
  }
}
