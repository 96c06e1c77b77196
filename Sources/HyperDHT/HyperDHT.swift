import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import HyperUDX

/// A node of the HyperDHT network: finds peers by public key, whatever NAT they are behind, and connects to them with
/// end-to-end encryption.
///
/// ```swift
/// let dht = try await HyperDHT()
/// let server = try await dht.listen()
/// print(server.publicKey.hex)
/// for await connection in server.connections { print("met", connection.remotePublicKey) }
/// ```
///
/// May be used from any thread. The node lives on one event loop: its own thread unless `Options.loop` names one.
/// Letting go of the last reference destroys the node; `destroy` does it and waits.
///
/// Beside what each call says it throws: a call that can throw and waits throws `cancelled`, at once, when its task is
/// cancelled, and what it has begun is given up unless the call says otherwise. After `destroy` it throws
/// `nodeDestroyed`; a request or look-up that is under way then, `requestDestroyed`. Of a suspended node dials and
/// streams fail with `suspended`, requests and look-ups with `ioSuspended`.
public final class HyperDHT: Sendable {
  /// The loop that the node lives on; tasks that prefer it spare the hops between threads.
  public let loop: UVEventLoop
  /// Identity of connections and servers that are given none.
  public let defaultKeyPair: KeyPair

  package let node: LoopBound<DHTNode>
  package let environment: LoopBound<UVEnvironment>
  let observers: LoopBound<EventObservers<Event>>
  let tableObservers: LoopBound<EventObservers<TableChange>>
  private let ownsLoop: Bool
  private let destruction = Destruction()

  /// Opens the sockets and starts to enter the network; `bootstrapped()` waits until that is over.
  /// - Throws: `bindFailed` when the sockets, or a thread of the node's own, cannot be had; `invalidAddress` for an
  ///   entry of `Options.bootstrap` that cannot be read, and for what is no address of a node there, in `Options.nodes`
  ///   and in `Options.knownAddress`; `other` when the file of `Options.qlogPath` cannot be opened;
  ///   `nodeDestroyed` when the loop of `Options.loop` has ended. Not for the cancellation of its task.
  public nonisolated(nonsending) init(_ options: Options = Options()) async throws(DHTError) {
    let settings = try LoopBound<DHTOptions>(options)
    let place = try LoopPlace(options.loop)
    loop = place.loop
    ownsLoop = place.isOwned
    let qlogPath = options.qlogPath
    #if Logging
      let log = options.logger.map(NodeLog.init)
    #endif
    do throws(DHTError) {
      typealias Made = (DHTNode, UVEnvironment, NodeObservers)
      let made: LoopBound<Made> = try await place.make { environment throws(DHTError) in
        if let qlogPath {
          do throws(TransportError) {
            try environment.instance.openTrace(path: qlogPath, title: "hyperdht")
          } catch {
            throw .other("cannot open the trace \(qlogPath): \(error.description)")
          }
        }
        let node = DHTNode(environment: environment, options: settings.value)
        let observers = NodeObservers(node)
        #if Logging
          if let log { observers.events.listeners.append(log.record) }
        #endif
        node.start()
        do throws(TransportError) {
          try node.rpc.bind()
        } catch {
          node.destroy(force: true)
          throw .bindFailed(code: error.code, error.description)
        }
        return (node, environment, observers)
      }
      node = LoopBound(made.value.0)
      environment = LoopBound(made.value.1)
      observers = LoopBound(made.value.2.events)
      tableObservers = LoopBound(made.value.2.table)
      defaultKeyPair = made.value.0.defaultKeyPair
    } catch {
      if place.isOwned { await place.loop.shutdown() }
      throw error
    }
  }

  /// A node that is made and destroyed elsewhere, on the loop.
  init(loop: UVEventLoop, node: DHTNode, environment: UVEnvironment) {
    self.loop = loop
    self.node = LoopBound(node)
    self.environment = LoopBound(environment)
    let made = NodeObservers(node)
    observers = LoopBound(made.events)
    tableObservers = LoopBound(made.table)
    ownsLoop = false
    defaultKeyPair = node.defaultKeyPair
  }

  deinit { if destruction.claim() { tearDown(force: false) } }

  // MARK: Life

  /// Waits until the node has entered the network. With no bootstrap node reachable it still succeeds, with an empty
  /// routing table: see `nodeCount`. Of a node that is suspended meanwhile, until it has been resumed and has entered.
  /// - Throws: `nodeDestroyed`, also when the node is destroyed meanwhile; `cancelled`, and the node goes on.
  public nonisolated(nonsending) func bootstrapped() async throws(DHTError) {
    let node = node
    try await operation(TracedCall("hyperdht.bootstrapped")) { settle in
      node.value.whenBootstrapped(settle)
      return nil
    }
  }

  /// Waits until a node has answered, which is earlier than `bootstrapped`; `false` when entering the network has
  /// ended without.
  package nonisolated(nonsending) func reached() async throws(DHTError) -> Bool {
    let node = node
    return try await operation { settle in
      let node = node.value
      if node.rpc.isOnline {
        settle(.success(true))
        return nil
      }
      let observer = node.onNetworkState.add { if $0 == .online { settle(.success(true)) } }
      node.whenBootstrapped { [weak node] result in
        guard let node else { return settle(result.map { false }) }
        // The only answer of a small network ends entering it before it counts as one.
        node.environment.defer { [weak node] in
          node?.onNetworkState.remove(observer)
          settle(result.map { node?.rpc.isOnline == true })
        }
      }
      return nil
    }
  }

  /// Stops all traffic, and returns when the sockets are closed: servers withdraw their announcements, for a second at
  /// most, connections, streams and dials fail. For devices that go to sleep. Nothing happens to a node that is
  /// suspended already.
  /// - Throws: `nodeDestroyed` when the node's loop has ended; `cancelled`, and the node goes on suspending.
  public nonisolated(nonsending) func suspend() async throws(DHTError) {
    let node = node
    try await operation(TracedCall("hyperdht.suspend")) { settle in
      node.value.suspend { settle(.success(())) }
      return nil
    }
  }

  /// Opens the sockets again, on the same ports if they are free, and begins to announce the servers.
  /// - Throws: `bindFailed` when they cannot be opened: the node stays suspended then and resumes by itself as soon as
  ///   it can, unless `suspend` is called again; `ioSuspended` when that is called meanwhile; `nodeDestroyed`;
  ///   `cancelled`, and the node goes on resuming.
  public nonisolated(nonsending) func resume() async throws(DHTError) {
    let node = node
    try await operation(TracedCall("hyperdht.resume")) { settle in
      node.value.resume(settle)
      return nil
    }
  }

  /// Closes everything the node has made, and waits for it, also in a task that is cancelled. Connections are reset at
  /// once; unless `force`, servers then withdraw their announcements, for a second at most. A second call waits for the
  /// first one, and with `force` cuts it short.
  public nonisolated(nonsending) func destroy(force: Bool = false) async {
    await TracedCall("hyperdht.destroy").run {
      beginDestruction(force: force)
      await ended()
    }
  }

  /// What `destroy` does before it waits.
  func beginDestruction(force: Bool) {
    if destruction.claim() {
      tearDown(force: force)
    } else if force {
      let node = node
      loop.post { node.value.destroy(force: true) }
    }
  }

  /// Waits until the node is destroyed, whether or not the task is cancelled.
  nonisolated(nonsending) func ended() async {
    await destruction.wait()
    if ownsLoop { await loop.shutdown() }
  }

  private func tearDown(force: Bool) {
    let destruction = destruction
    let node = node
    let environment = environment
    let loop = loop
    let ownsLoop = ownsLoop
    let isPosted = loop.post {
      node.value.destroy(force: force) {
        environment.value.close {
          destruction.finish()
          if ownsLoop { loop.beginShutdown(nil) }
        }
      }
    }
    if !isPosted { destruction.finish() }
  }

  // MARK: Numbers

  /// Nodes in the routing table; 0 when the loop has ended.
  public nonisolated(nonsending) func nodeCount() async -> Int {
    await read { $0.rpc.nodeCount } ?? 0
  }

  /// What the node knows about itself and the network now.
  public nonisolated(nonsending) func status() async -> Status {
    if let status = await read({ Status($0) }) { return status }
    // The loop ends with the node that owns it.
    var status = Status()
    status.isDestroyed = true
    return status
  }

  /// Where strangers reach the node: its public address, if the network agrees on one, its port is the bound one, and
  /// the node is not firewalled; else `nil`. What is known of a firewalled node's address is in `Status.host` and
  /// `Status.port`.
  public nonisolated(nonsending) func remoteAddress() async -> Endpoint? {
    await read { $0.rpc.remoteAddress } ?? nil
  }

  /// Puts a node into the routing table, without asking it first; one that is there counts as heard now. Not done for
  /// port 0 and addresses of no host, nor where the table has no place for it.
  public func addNode(_ endpoint: Endpoint) {
    let node = node
    loop.post { node.value.rpc.addNode(endpoint) }
  }

  /// What a node knows about itself and the network at one moment.
  public struct Status: Hashable, Sendable {
    /// Entering the network has ended, with or without an answer.
    public var isBootstrapped = false
    /// A node of the network has answered lately.
    public var isOnline = false
    /// The network does not answer. Neither this nor `isOnline` holds between the start and the first answer.
    public var isOffline = false
    /// Many requests are lost: the node sends less at a time.
    public var isDegraded = false
    /// The node is suspended.
    public var isSuspended = false
    /// The node is destroyed.
    public var isDestroyed = false
    /// Not a permanent member of the routing tables of others.
    public var isEphemeral = true
    /// Packets that nothing has asked for do not come in, as far as is known.
    public var isFirewalled = true
    /// Of a permanent node: the hash of its public address.
    public var id: Bytes32?
    /// The NAT gives every destination another port.
    public var isRandomized = false
    /// Public host and port as others see them, as far as they agree.
    public var host: IPv4Address?
    /// The public port; 0 while others do not agree on one.
    public var port: UInt16 = 0
    /// Nodes in the routing table.
    public var nodeCount = 0
    /// Servers that listen or are about to; a relay that the node serves is one.
    public var servers = 0
    /// Transport streams: of connections and attempts to connect, relayed ones (two for each pair) and raw ones.
    public var streams = 0
    /// Requests under way, queued ones included.
    public var activeRequests: UInt64 = 0
    /// Queries under way.
    public var activeQueries: UInt64 = 0
    /// Attempts to connect.
    public var connectsStarted: UInt64 = 0
    /// Attempts to connect that have opened a connection.
    public var connectsOpened: UInt64 = 0
    /// Attempts to connect that have failed.
    public var connectsFailed: UInt64 = 0
    /// First messages of clients that servers of the node have worked on; copies do not count.
    public var handshakesReceived: UInt64 = 0

    /// The state of a node that has not begun.
    public init() {}

    init(_ node: DHTNode) {
      let rpc = node.rpc
      isBootstrapped = rpc.isBootstrapped
      isOnline = rpc.isOnline && !node.isDestroyed
      isOffline = rpc.isOffline && !node.isDestroyed
      isDegraded = rpc.isDegraded
      isSuspended = node.isSuspended
      isDestroyed = node.isDestroyed
      isEphemeral = rpc.isEphemeral
      isFirewalled = rpc.isFirewalled
      id = rpc.id
      isRandomized = rpc.isRandomized
      host = rpc.host
      port = rpc.port
      nodeCount = rpc.nodeCount
      servers = node.servers.count
      streams = node.rawStreamCount
      activeRequests = rpc.statistics.requestsActive
      activeQueries = rpc.statistics.queriesActive
      connectsStarted = node.statistics.connects.started
      connectsOpened = node.statistics.connects.opened
      connectsFailed = node.statistics.connects.failed
      handshakesReceived = node.statistics.handshakes.received
    }
  }

  // MARK: Statics

  /// The key pair of a 32-byte seed, the same each time, or one from the system's random source.
  public static func keyPair(seed: Bytes32? = nil) -> KeyPair { seed.map(KeyPair.init(seed:)) ?? .random() }

  /// BLAKE2b-256: the DHT's hash, also for topics made from text.
  public static func hash(_ bytes: [UInt8]) -> Bytes32 { Blake2b.hash32(bytes) }

  /// The entry points of the public network, in the form of `Options.bootstrap`.
  public static var publicBootstrap: [String] { DHTOptions.publicBootstrap }

  // MARK: Calls

  /// - `call`: a span of its own in traces, with the trait `Tracing`; `nil` has none.
  nonisolated(nonsending) func operation<T: Sendable>(
    _ call: TracedCall? = nil,
    _ start: @escaping @Sendable (_ settle: @escaping (Result<T, DHTError>) -> Void) -> (() -> Void)?
  ) async throws(DHTError) -> T {
    #if Tracing
      let span = call?.begin()
      do throws(DHTError) {
        let value = try await awaitOperation(
          on: loop, cancelled: DHTError.cancelled, gone: .nodeDestroyed, start)
        span?.end()
        return value
      } catch {
        span?.end(error, code: error.code)
        throw error
      }
    #else
      return try await awaitOperation(
        on: loop, cancelled: DHTError.cancelled, gone: .nodeDestroyed, start)
    #endif
  }

  nonisolated(nonsending) func read<T: Sendable>(_ body: @escaping @Sendable (DHTNode) -> T) async -> T? {
    let node = node
    return await onLoop(loop) { body(node.value) }
  }
}
