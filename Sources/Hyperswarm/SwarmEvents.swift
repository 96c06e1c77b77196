import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

extension Hyperswarm {
  /// What happens inside the swarm, for logs and user interfaces.
  public enum Event: Hashable, Sendable {
    /// Numbers have changed: see `statistics`. Not repeated while one waits to be read.
    case update
    /// A dial has begun, opened, failed or ended.
    case attempt(Attempt)
    /// The firewall has banned a peer; `ban` of the program is no event. `reason` is a sentence for people.
    case banned(publicKey: Bytes32, reason: String)
    /// The network has begun to answer, or does not answer (any more), for some seconds: see `HyperDHT.Status`.
    case network(isOnline: Bool)
    /// A connected peer was found under a further joined topic.
    case topic(publicKey: Bytes32, topic: Bytes32)
  }

  /// What became of a dial, or of a connection that was dialled.
  public struct Attempt: Hashable, Sendable {
    /// How far a dial is.
    public enum Stage: Hashable, Sendable {
      /// The dial has begun.
      case started
      /// The connection is open.
      case opened
      /// The dial ended before it opened; `code` is that of the `DHTError` or `ConnectionError`, `CLOSED` without one.
      case failed(code: String, description: String)
      /// The dialled connection ended, regularly if there is no code; else that of the `ConnectionError`.
      case closed(code: String?)
      /// Not dialled: banned, refused by the firewall, or connected meanwhile.
      case skipped
    }
    /// The peer that is dialled.
    public var publicKey: Bytes32
    /// How far the dial is.
    public var stage: Stage
    /// Time until the next try, of `failed` and `closed`; `nil` when none is planned, and after a change of network,
    /// when the peer is dialled again at once.
    public var nextRetry: Duration?

    init(_ attempt: PeerAttempt) {
      publicKey = attempt.peer.publicKey
      nextRetry = attempt.nextRetry.map { Duration(milliseconds: $0) }
      switch attempt.stage {
      case .started: stage = .started
      case .opened: stage = .opened
      case .failed(let failure):
        stage = .failed(code: failure?.code ?? "CLOSED", description: failure?.description ?? "closed")
      case .closed(let failure): stage = .closed(code: failure?.code)
      case .skipped: stage = .skipped
      }
    }
  }

  /// Events from now on, until the swarm is destroyed. Each sequence has its own copy; up to 256 wait to be read,
  /// further ones are dropped; up to 64 sequences at a time, the oldest gives way. Those of the node below are
  /// `dht.events()`.
  public func events() -> HyperDHT.Events<Event, Never> { observers.reader(on: loop) }

  /// Counters and live numbers.
  public struct Statistics: Hashable, Sendable {
    /// Connections of both roles that have opened.
    public var connectionsOpened: UInt64 = 0
    /// Connections of both roles that have closed, and dials that have failed, as in the deployed stack.
    public var connectionsClosed: UInt64 = 0
    /// Dials that have begun.
    public var dialsAttempted: UInt64 = 0
    /// Connections now that we have dialled.
    public var clientConnections = 0
    /// Incoming connections now.
    public var serverConnections = 0
    /// Dials under way now, those included about which the firewall is asked.
    public var dialling = 0
    /// Peers in line to be dialled now.
    public var queued = 0
    /// Peers that wait for their next dial now.
    public var waiting = 0
    /// Peers that the swarm knows now.
    public var knownPeers = 0
    /// Topics that are joined now.
    public var topics = 0
    /// Bytes of UDP payload that connections have sent, closed ones included, headers and retransmissions too.
    public var bytesSent: UInt64 = 0
    /// Bytes of UDP payload that connections have received, closed ones included.
    public var bytesReceived: UInt64 = 0
    /// Packets that connections have sent, closed ones included, retransmissions too.
    public var packetsSent: UInt64 = 0
    /// Packets that connections have received, closed ones included.
    public var packetsReceived: UInt64 = 0
    /// Packets that were sent again, on closed connections too.
    public var retransmissions: UInt64 = 0

    /// All zero.
    public init() {}

    init(_ engine: SwarmStatistics) {
      connectionsOpened = engine.client.opened &+ engine.server.opened
      connectionsClosed = engine.client.closed &+ engine.server.closed
      dialsAttempted = engine.client.attempted
      clientConnections = engine.liveClients
      serverConnections = engine.liveServers
      dialling = engine.connecting
      queued = engine.queued
      waiting = engine.waiting
      knownPeers = engine.known
      topics = engine.topics
      bytesSent = engine.bytesTransmitted
      bytesReceived = engine.bytesReceived
      packetsSent = engine.packetsTransmitted
      packetsReceived = engine.packetsReceived
      retransmissions = engine.retransmissions
    }
  }
}
