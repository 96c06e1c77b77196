import HyperCrypto
import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

#if Logging
  import Logging
#endif

extension Hyperswarm {
  /// How to make a swarm.
  public struct Options: Sendable {
    /// The swarm's identity; `nil` is the DHT node's own, or a fresh one beside a given node.
    public var keyPair: KeyPair? {
      get { explicitKeyPair ?? dhtOptions.keyPair }
      set { explicitKeyPair = newValue }
    }
    private var explicitKeyPair: KeyPair?
    /// A node to use. It is not destroyed with the swarm.
    public var dht: HyperDHT?
    /// For a node of its own.
    public var dhtOptions = HyperDHT.Options(port: 0)
    /// Connections and dials up to which peers of topics are dialled. Incoming connections count for at most half of
    /// it, and it refuses none of them, as in deployed swarms: the limits below do.
    public var maxPeers = 64
    /// Dials at a time.
    public var maxParallel = 3
    /// Connections that this side has dialled.
    public var maxClientConnections = Int.max
    /// Incoming connections. At this limit an idle one (no message for 30 s) of the host that has most of them gives
    /// way to a newcomer; without one the newcomer is refused in its handshake. Explicit peers are exempt.
    public var maxServerConnections = Int.max
    /// Connections of both roles together; at this limit as above.
    public var maxConnections = 4096
    /// Decides about peers that want to connect, and about peers before they are dialled; no answer within three
    /// seconds is `refuse`. `nil` accepts every peer.
    public var firewall: (@Sendable (Candidate) async -> Verdict)?
    /// Relays for peers that cannot be reached otherwise. `nil` uses none.
    public var relayThrough: Relays?
    /// The keys of `relayThrough`, where it is a list.
    public var relays: [Bytes32] {
      get { if case .keys(let keys) = relayThrough { keys } else { [] } }
      set { relayThrough = newValue.isEmpty ? nil : .keys(newValue) }
    }
    /// How long a peer waits to be dialled again. `nil` draws around 1 s, 5 s, 15 s and 10 minutes, once per swarm.
    public var retryTimes: RetryTimes?
    /// Each of the retry times gets a uniform addition of up to this much, drawn once per swarm.
    public var retryJitter = Duration.milliseconds(Int64(HyperswarmEngine.Limits.jitter))
    /// How long a handshake that has ended is remembered, so that a copy of it is not answered again.
    public var handshakeMemory = Duration.milliseconds(Int64(HyperswarmEngine.Limits.handshakeClearWait))

    #if Logging
      /// Gets lines about the swarm and, if it has one of its own, its node, with metadata under the keys of
      /// `HyperDHT.LogKey`. `nil` is silent. With the trait `Logging`.
      public var logger: Logger? {
        get { dhtOptions.logger }
        set { dhtOptions.logger = newValue }
      }
    #endif

    /// A swarm with a node of its own, unless one is given.
    public init(bootstrap: [String]? = nil, keyPair: KeyPair? = nil, dht: HyperDHT? = nil, loop: UVEventLoop? = nil) {
      dhtOptions.bootstrap = bootstrap
      dhtOptions.loop = loop
      explicitKeyPair = keyPair
      self.dht = dht
    }
  }

  /// Which blind relays to use; one is drawn where several are named.
  public enum Relays: Sendable {
    /// Used when direct connections to a peer failed, or our NAT gives every destination another port.
    case keys([Bytes32])
    /// Asked, on the loop, for every dial and every incoming handshake: return at once. `force`: direct connections to
    /// this peer failed. None is no relay.
    case choose(@Sendable (_ force: Bool) -> [Bytes32])
  }

  /// Pauses before a peer is dialled again: after a connection that was lost, or a first failure, the short one, then
  /// the next ones; the longest is for peers named by `joinPeer`. Whole milliseconds, rounded up.
  public struct RetryTimes: Hashable, Sendable {
    /// After a connection was lost, or a dial has failed once.
    public var short: Duration
    /// After the next failure, or a first one of a peer that was never reached.
    public var medium: Duration
    /// After further failures.
    public var long: Duration
    /// For peers named by `joinPeer`, from the fourth failure on.
    public var longest: Duration

    /// All four, in ascending order as a rule.
    public init(short: Duration, medium: Duration, long: Duration, longest: Duration) {
      self.short = short
      self.medium = medium
      self.long = long
      self.longest = longest
    }
  }

  /// A peer that wants to connect, or is about to be dialled.
  public struct Candidate: Hashable, Sendable {
    /// The peer's key; proved only on the connection.
    public var publicKey: Bytes32
    /// `nil` before a dial.
    public var address: Endpoint?
  }

  /// The firewall's answer.
  public enum Verdict: Hashable, Sendable {
    /// The peer may connect, or is dialled.
    case accept
    /// Not now; the peer may come again.
    case refuse
    /// Never, until `Hyperswarm.ban(_:_:)` lifts it.
    case ban
  }
}

extension SwarmOptions {
  init(_ options: Hyperswarm.Options, keyPair: KeyPair, loop: UVEventLoop) {
    self.init()
    self.keyPair = keyPair
    maxPeers = options.maxPeers
    maxParallel = options.maxParallel
    maxClientConnections = options.maxClientConnections
    maxServerConnections = options.maxServerConnections
    maxConnections = options.maxConnections
    // The node is destroyed by its own handle, if it is ours.
    ownsDHT = false
    relayThrough = options.relayThrough.map(SwarmRelay.init)
    backoffs = options.retryTimes.map { times in
      [times.short, times.medium, times.long, times.longest].map(\.wholeMilliseconds)
    }
    // The draw is below a number one larger.
    jitter = UInt32(clamping: min(options.retryJitter.wholeMilliseconds, UInt64(UInt32.max) - 1))
    handshakeClearWait = options.handshakeMemory.wholeMilliseconds
    firewall = options.firewall.map { SwarmOptions.firewall($0, on: loop) }
  }

  static func firewall(
    _ firewall: @escaping @Sendable (Hyperswarm.Candidate) async -> Hyperswarm.Verdict, on loop: UVEventLoop
  ) -> SwarmFirewall {
    let questions = HookQuestions(
      loop: loop, refusal: Hyperswarm.Verdict.refuse, within: HyperswarmEngine.Limits.firewallDeadline)
    return { request, verdict in
      let candidate = Hyperswarm.Candidate(publicKey: request.publicKey, address: request.address)
      let settle: (Hyperswarm.Verdict) -> Void = { answer in
        switch answer {
        case .accept: verdict(.accept)
        case .refuse: verdict(.refuse)
        case .ban: verdict(.ban)
        }
      }
      questions.ask(request.address?.host, { await firewall(candidate) }, settle)
    }
  }
}

extension SwarmRelay {
  init(_ relays: Hyperswarm.Relays) {
    switch relays {
    case .keys(let keys): self = .keys(keys)
    case .choose(let choose): self = .choose(choose)
    }
  }
}
