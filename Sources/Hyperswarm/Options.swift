import HyperCrypto
import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

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
    public var maxClientConnections = Int.max
    /// Incoming connections. At this limit an idle one (no message for 30 s) of the host that has most of them gives
    /// way to a newcomer; without one the newcomer is refused in its handshake. Explicit peers are exempt.
    public var maxServerConnections = Int.max
    /// Connections of both roles together; at this limit as above.
    public var maxConnections = 4096
    /// Decides about peers that want to connect, and about peers before they are dialled; no answer within three
    /// seconds is `refuse`. `nil` accepts every peer.
    public var firewall: (@Sendable (Candidate) async -> Verdict)?
    /// Public keys of relays for peers that cannot be reached otherwise.
    public var relays: [Bytes32] = []

    public init(bootstrap: [String]? = nil, keyPair: KeyPair? = nil, dht: HyperDHT? = nil, loop: UVEventLoop? = nil) {
      dhtOptions.bootstrap = bootstrap
      dhtOptions.loop = loop
      explicitKeyPair = keyPair
      self.dht = dht
    }
  }

  /// A peer that wants to connect, or is about to be dialled.
  public struct Candidate: Hashable, Sendable {
    public var publicKey: Bytes32
    /// `nil` before a dial.
    public var address: Endpoint?
  }

  public enum Verdict: Hashable, Sendable {
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
    if !options.relays.isEmpty { relayThrough = .keys(options.relays) }
    guard let firewall = options.firewall else { return }
    self.firewall = { request, verdict in
      let verdict = LoopBound(verdict)
      let candidate = Hyperswarm.Candidate(publicKey: request.publicKey, address: request.address)
      Task(executorPreference: loop) {
        let answer = await firewall(candidate)
        loop.post {
          switch answer {
          case .accept: verdict.value(.accept)
          case .refuse: verdict.value(.refuse)
          case .ban: verdict.value(.ban)
          }
        }
      }
    }
  }
}
