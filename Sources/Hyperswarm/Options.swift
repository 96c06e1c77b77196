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
    /// The swarm's identity; `nil` is the DHT node's own, or a fresh one beside a given node. A node of the swarm's own
    /// has `dhtOptions.keyPair`, whatever this is.
    public var keyPair: KeyPair? {
      get { explicitKeyPair ?? dhtOptions.keyPair }
      set { explicitKeyPair = newValue }
    }
    private var explicitKeyPair: KeyPair?
    /// A node to use, on whose loop the swarm then lives. It is not destroyed with the swarm, but suspended with it.
    public var dht: HyperDHT?
    /// For a node of its own, on any free port unless it says another; beside `dht` only the key pair counts.
    public var dhtOptions = HyperDHT.Options(port: 0)
    /// Saves power on the swarm's own node, as `HyperDHT.Options.isLowPower` says.
    public var isLowPower: Bool {
      get { dhtOptions.isLowPower }
      set { dhtOptions.isLowPower = newValue }
    }
    /// Connections and dials up to which peers of topics are dialled: divided by two with one peer of `joinPeer`, by
    /// three with two or three, by four with more. Incoming connections count for at most half of it, and it refuses
    /// none of them, as in deployed swarms: the limits below do. 0 dials none. (hyperswarm.md 6.2)
    public var maxPeers = 64
    /// Dials at a time, those of explicit peers included. 0 dials none.
    public var maxParallel = 3
    /// Connections that this side has dialled, and dials, up to which peers of topics are dialled.
    public var maxClientConnections = Int.max
    /// Incoming connections at most. At this limit an idle one (no message for 30 s) of the host that has most of them
    /// gives way to a newcomer; without one the newcomer is refused in its handshake. Explicit peers are exempt.
    public var maxServerConnections = Int.max
    /// Connections and dials of both roles together, above which incoming ones are refused, as above.
    public var maxConnections = 4096
    /// Decides about peers that want to connect, and about peers before they are dialled. `nil` accepts every peer.
    ///
    /// Each question runs in a task of its own, on the loop: it may wait, and must not block. An answer that takes
    /// longer than three seconds is `refuse`, and the task is cancelled. Up to 256 questions wait at a time; of more,
    /// the oldest of the host that asks most is refused. Held as long as the swarm, or until `setFirewall`.
    public var firewall: (@Sendable (Candidate) async -> Verdict)?
    /// Relays for peers that cannot be reached otherwise. `nil` uses none.
    public var relayThrough: Relays?
    /// The keys of `relayThrough`, where it is a list.
    public var relays: [Bytes32] {
      get { if case .keys(let keys) = relayThrough { keys } else { [] } }
      set { relayThrough = newValue.isEmpty ? nil : .keys(newValue) }
    }
    /// How long a peer waits to be dialled again. `nil` draws 1 to 1.5 s, 5 to 6 s, 15 to 17 s and 10 to 12 minutes,
    /// once per swarm (hyperswarm.md 2).
    public var retryTimes: RetryTimes?
    /// Each of the retry times gets a uniform addition of up to this much, drawn once per swarm: 500 ms unless set.
    /// Rounded up to milliseconds.
    public var retryJitter = Duration.milliseconds(Int64(HyperswarmEngine.Limits.jitter))
    /// How long a handshake that has ended is remembered, so that a copy of it is not answered again: 10 s unless set.
    /// The firewall's answer has to come within it. Rounded up to milliseconds.
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
    /// - Parameters:
    ///   - bootstrap: where to enter the network, as `HyperDHT.Options.bootstrap`; `nil` is the public network.
    ///   - keyPair: see `keyPair`.
    ///   - dht: a node to use; `bootstrap` and `loop` then have no meaning.
    ///   - loop: what to live on; `nil` is a thread of its own.
    public init(bootstrap: [String]? = nil, keyPair: KeyPair? = nil, dht: HyperDHT? = nil, loop: UVEventLoop? = nil) {
      dhtOptions.bootstrap = bootstrap
      dhtOptions.loop = loop
      explicitKeyPair = keyPair
      self.dht = dht
    }
  }

  /// Which blind relays to use, by their public keys; one is drawn where several are named. A relay sees addresses and
  /// volumes, not content.
  public enum Relays: Sendable {
    /// Used when hole punching towards a peer has failed, or our NAT gives every destination another port.
    case keys([Bytes32])
    /// Asked, on the loop, for every dial and every incoming handshake: return at once. `force`: hole punching towards
    /// this peer has failed; always `false` for incoming ones. None is no relay.
    case choose(@Sendable (_ force: Bool) -> [Bytes32])
  }

  /// Pauses before a peer is dialled again, by how many dials and dialled connections in a row have ended; one that
  /// lasted 15 seconds begins anew. Rounded up to milliseconds.
  ///
  /// Peers are dialled again in batches, so the pause is between two thirds and four thirds of the time that is given
  /// here, with `Options.retryJitter`. A peer of a topic is given up after the fourth end, until a look-up finds it
  /// again. (hyperswarm.md 8)
  public struct RetryTimes: Hashable, Sendable {
    /// After the first end, of a peer that a dial has reached before.
    public var short: Duration
    /// After the second end, and the first one of a peer that no dial has reached.
    public var medium: Duration
    /// After the third end, and the second one of a peer that no dial has reached.
    public var long: Duration
    /// From the fourth end on, for peers named by `joinPeer`.
    public var longest: Duration

    /// All four, in ascending order as a rule; negative ones are zero.
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
    /// Where the handshake came from, as the node between us says where there is one; `nil` before a dial.
    public var address: Endpoint?
  }

  /// The firewall's answer.
  public enum Verdict: Hashable, Sendable {
    /// The peer may connect, or is dialled.
    case accept
    /// Not now: the peer gets no answer. For ten seconds it is refused without a question, and if it is named by
    /// `joinPeer` not dialled.
    case refuse
    /// Never, until `Hyperswarm.ban(_:_:)` lifts it. Of 2,048 bans by the firewall the oldest is forgotten.
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
