import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

extension Hyperswarm {
  /// What happens inside the swarm, for logs and user interfaces.
  public enum Event: Hashable, Sendable {
    /// Numbers have changed: see `statistics`. Not repeated while one waits to be read.
    case update
    case attempt(Attempt)
    /// The firewall has banned a peer.
    case banned(publicKey: Bytes32, reason: String)
    /// The network has begun to answer, or does not answer (any more): see `HyperDHT.Status`.
    case network(isOnline: Bool)
  }

  /// What became of a dial.
  public struct Attempt: Hashable, Sendable {
    public enum Stage: Hashable, Sendable {
      case started
      case opened
      /// The dial ended before it opened.
      case failed(code: String, description: String)
      /// The dialled connection ended, regularly if there is no code.
      case closed(code: String?)
      /// Banned, refused by the firewall, or connected meanwhile.
      case skipped
    }
    public var publicKey: Bytes32
    public var stage: Stage
    /// Milliseconds until the next try; `nil` when none is planned.
    public var nextRetry: UInt64?

    init(_ attempt: PeerAttempt) {
      publicKey = attempt.peer.publicKey
      nextRetry = attempt.nextRetry
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

  /// Events from now on. Each reader has its own copy; up to 256 wait to be read, further ones are dropped.
  public func events() -> HyperDHT.Events<Event, Never> {
    let queue = EventQueue<Event, Never>(capacity: Limits.pendingEvents)
    let observers = observers
    if !loop.post({ [weak queue] in if let queue { observers.value.add(queue) } }) { queue.finish() }
    return HyperDHT.Events(queue)
  }

  /// Counters and live numbers.
  public struct Statistics: Hashable, Sendable {
    public var connectionsOpened: UInt64 = 0
    public var connectionsClosed: UInt64 = 0
    public var dialsAttempted: UInt64 = 0
    /// Now.
    public var clientConnections = 0
    public var serverConnections = 0
    public var dialling = 0
    public var queued = 0
    public var waiting = 0
    public var knownPeers = 0
    public var topics = 0
    /// On the wire, closed connections included.
    public var bytesSent: UInt64 = 0
    public var bytesReceived: UInt64 = 0
    public var packetsSent: UInt64 = 0
    public var packetsReceived: UInt64 = 0
    public var retransmissions: UInt64 = 0

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

/// The readers of events, on the loop.
final class EventObservers {
  private struct Reader {
    weak var queue: EventQueue<Hyperswarm.Event, Never>?
  }

  private var readers: [Reader] = []
  private var isFinished = false
  /// Of the node, which may outlive the swarm.
  var endObservation: (() -> Void)?

  func add(_ queue: EventQueue<Hyperswarm.Event, Never>) {
    guard !isFinished else { return queue.finish() }
    readers.removeAll { $0.queue == nil }
    if readers.count >= Limits.eventReaders { readers.removeFirst().queue?.finish() }
    readers.append(Reader(queue: queue))
  }

  func push(_ event: Hyperswarm.Event) {
    for reader in readers { reader.queue?.push(event) }
  }

  func pushUpdate() {
    for reader in readers where reader.queue?.last != .update { reader.queue?.push(.update) }
  }

  func finish() {
    isFinished = true
    endObservation?()
    endObservation = nil
    for reader in readers { reader.queue?.finish() }
    readers = []
  }
}
