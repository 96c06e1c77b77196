import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import HyperswarmEngine

/// Finds peers that share a topic and keeps connections with them.
///
/// ```swift
/// let swarm = try await Hyperswarm()
/// try await swarm.join(.hash(of: "my chat room"))
/// for await connection in swarm.connections {
///   Task {
///     try await connection.write("hello")
///     for try await message in connection.inbound { print(String(decoding: message, as: UTF8.self)) }
///   }
/// }
/// ```
///
/// Between two peers there is one connection, whatever the number of shared topics. A connection that breaks is dialled
/// again, by the side that has dialled it, while a shared topic is joined (or the peer was named by `joinPeer`).
///
/// May be used from any thread. The swarm lives on one event loop: its own thread unless the options name another.
/// Letting go of the last reference destroys the swarm; `destroy` does it and waits.
///
/// Calls that wait end at once, with `cancelled`, when their task is cancelled, unless they say otherwise. On a swarm
/// that is destroyed they throw `destroyed`, or, while the loop of a node that was given to it goes on, find that there
/// is nothing to do.
public final class Hyperswarm: Sendable {
  /// The loop that the swarm lives on; tasks that prefer it spare the hops between threads.
  public let loop: UVEventLoop
  /// The swarm's identity: peers see its public key.
  public let keyPair: KeyPair
  /// The DHT node that the swarm uses: `Options.dht`, or one of its own, which is destroyed with it.
  public let dht: HyperDHT

  let engine: LoopBound<SwarmEngine>
  private let ownsDHT: Bool
  let queue: EventQueue<HyperDHT.Connection, Never>
  let observers: LoopBound<EventObservers<Event>>
  let view = SwarmView()
  let settings: Locked<ConnectionLimits>
  private let destruction = Destruction()

  /// Opens the sockets and starts to enter the network. Does not wait for it: `join` and `listen` do what they have to.
  /// - Throws: `dht` with what `HyperDHT.init` throws, and with `nodeDestroyed` when `Options.dht` is destroyed.
  public nonisolated(nonsending) convenience init(_ options: Options = Options()) async throws(HyperswarmError) {
    do throws(DHTError) {
      let dht: HyperDHT
      if let given = options.dht { dht = given } else { dht = try await HyperDHT(options.dhtOptions) }
      try await self.init(options, dht: dht)
    } catch {
      throw .dht(error)
    }
  }

  private nonisolated(nonsending) init(_ options: Options, dht: HyperDHT) async throws(DHTError) {
    Limits.check()
    self.dht = dht
    loop = dht.loop
    ownsDHT = options.dht == nil
    let keyPair = options.keyPair ?? (options.dht == nil ? dht.defaultKeyPair : .random())
    self.keyPair = keyPair
    let queue = EventQueue<HyperDHT.Connection, Never>(capacity: Limits.pendingConnections)
    self.queue = queue
    settings = Locked(ConnectionLimits(options))
    let view = view
    let loop = loop
    let node = dht.node
    let environment = dht.environment
    #if Logging
      let log = options.logger.map(SwarmLog.init)
    #endif
    let made = await onLoop(loop) { () -> LoopBound<(SwarmEngine, EventObservers<Event>)> in
      let engine = SwarmEngine(
        environment: environment.value, dht: node.value,
        options: SwarmOptions(options, keyPair: keyPair, loop: loop))
      let observers = EventObservers<Event>()
      Hyperswarm.observe(
        engine, of: node.value, loop: loop, view: view, observers: observers, connections: queue)
      #if Logging
        if let log { log.observe(engine, observers) }
      #endif
      #if Tracing
        observers.listeners.append(DialSpans().record)
      #endif
      let endOfStates = node.value.onNetworkState.observe { [weak observers] in
        observers?.push(.network(isOnline: $0 == .online))
      }
      // A node that was given to the swarm may go first, and its loop with it.
      let hook = loop.addShutdownHook { [weak observers] closed in
        observers?.finish()
        queue.finish()
        closed()
      }
      observers.endObservation = {
        endOfStates()
        loop.removeShutdownHook(hook)
      }
      return LoopBound((engine, observers))
    }
    guard let made else { throw .nodeDestroyed }
    engine = LoopBound(made.value.0)
    observers = LoopBound(made.value.1)
  }

  deinit { if destruction.claim() { tearDown(force: false) } }

  // MARK: Connections

  /// New connections of both roles, in the order in which they opened; ends when the swarm is destroyed, or its loop.
  ///
  /// Each goes to one reader. Up to 1024 wait to be taken, further ones are closed. `connection.peer` tells what the
  /// swarm knows about the peer.
  public var connections: HyperDHT.Events<HyperDHT.Connection, Never> { HyperDHT.Events(queue) }

  // MARK: Topics

  /// A topic made from text: its BLAKE2b-256 hash, as `Bytes32.hash(of:)`. Peers whose topic is
  /// `Buffer.alloc(32, text)` in JavaScript are met under `Bytes32.padded(_:)`.
  public static func topic(_ text: String) -> Bytes32 { .hash(of: text) }

  /// Announces us under the topic (`server`) and looks for peers under it and dials them (`client`). Returns at once;
  /// `flushed` of the result waits for the first round. A call that throws for its cancellation has joined nothing. In
  /// a suspended swarm the work begins with `resume`.
  ///
  /// The round is repeated by itself: after 10 to 12 minutes, sooner as long as it fails (45 s at most) or finds no
  /// other peer.
  /// - Parameters:
  ///   - topic: 32 bytes that the peers know, and all that know them may use.
  ///   - server: whether peers find us under the topic.
  ///   - client: whether we look for peers and dial them.
  ///   - limit: peers of this topic to keep connected or dialled at most; `nil` is no limit. Of several interests in
  ///     one topic the largest counts.
  /// - Returns: the interest, which lasts until its `destroy`, or `leave`; it need not be kept.
  /// - Throws: `noRoles`; `tooManyTopics` above 16,384; `destroyed`; `cancelled`.
  @discardableResult
  public nonisolated(nonsending) func join(
    _ topic: Bytes32, server: Bool = true, client: Bool = true, limit: Int? = nil
  ) async throws(HyperswarmError) -> Discovery {
    guard server || client else { throw .noRoles }
    let engine = engine
    let loop = loop
    let undo: @Sendable (Discovery) -> Void = { $0.session.value.destroy() }
    return try await operation(undelivered: undo) { settle in
      do throws(SwarmError) {
        let session = try engine.value.join(
          topic: topic, options: JoinOptions(server: server, client: client, limit: limit))
        settle(.success(Discovery(loop: loop, session: session)))
      } catch {
        settle(.failure(HyperswarmError(error)))
      }
      return nil
    }
  }

  /// Leaves the topic for all that have joined it, and waits until it is no longer announced: about a second where
  /// nodes are silent, five at most. Connections stay. A topic that is not joined is left already. Cancellation ends
  /// the wait; the topic is left all the same.
  /// - Throws: `destroyed`; `cancelled`.
  public nonisolated(nonsending) func leave(_ topic: Bytes32) async throws(HyperswarmError) {
    let engine = engine
    try await operation(TracedCall("hyperswarm.leave", topic)) { settle in
      engine.value.leave(topic) { settle(.success(())) }
      return nil
    }
  }

  /// Leaves all topics, as `leave` does each. Connections and explicit peers stay.
  /// - Throws: `destroyed`; `cancelled`.
  public nonisolated(nonsending) func clear() async throws(HyperswarmError) {
    let engine = engine
    try await operation(TracedCall("hyperswarm.clear")) { settle in
      engine.value.clear { settle(.success(())) }
      return nil
    }
  }

  /// The joined topics, in the order of joining; none when the swarm is destroyed. Does not look at cancellation.
  public nonisolated(nonsending) func topics() async -> [Bytes32] {
    await read { $0.topics.map(\.topic) } ?? []
  }

  // MARK: Peers

  /// Dials the peer with this public key, whatever the topics, and dials it again for as long as it takes: after the
  /// pauses of `RetryTimes`, the longest of which goes on. Of the limits `maxParallel` alone holds it back. Nothing for
  /// our own key, and on a destroyed swarm.
  public func joinPeer(_ publicKey: Bytes32) {
    let engine = engine
    loop.post { engine.value.joinPeer(publicKey) }
  }

  /// Ends `joinPeer`; a connection stays. Nothing for a peer that was not named.
  public func leavePeer(_ publicKey: Bytes32) {
    let engine = engine
    loop.post { engine.value.leavePeer(publicKey) }
  }

  /// Never dials, accepts or retries a known peer, or lifts that again; nothing for an unknown one. A connection stays.
  /// After the ban is lifted the peer is dialled when a look-up finds it next, at once if `joinPeer` has named it.
  public func ban(_ publicKey: Bytes32, _ isBanned: Bool = true) {
    let engine = engine
    loop.post { engine.value.peers[publicKey]?.ban(isBanned) }
  }

  // MARK: Life

  /// `destroy` was called, or the swarm is about to be let go of.
  public var isDestroyed: Bool { destruction.isClaimed }

  /// Starts to accept connections under our key, and returns when the first nodes of the network know of it. `join` as
  /// a server does so by itself.
  /// - Throws: `listen` with what `HyperDHT.listen` throws: the next call tries again. `destroyed`; `cancelled`, after
  ///   which the swarm listens all the same.
  public nonisolated(nonsending) func listen() async throws(HyperswarmError) {
    let engine = engine
    try await operation(TracedCall("hyperswarm.listen", keyPair.publicKey)) { settle in
      engine.value.listen { settle($0.mapError(HyperswarmError.init)) }
      return nil
    }
  }

  /// Waits until the topics are announced and looked up and every peer known by then was dialled once.
  /// - Returns: `false` when a topic could not be announced or looked up because the network does not answer (that is
  ///   repeated by itself), when the swarm is suspended, or when it was suspended or destroyed meanwhile.
  /// - Throws: `tooManyFlushes` when 1,024 calls wait; `destroyed`; `cancelled`.
  @discardableResult
  public nonisolated(nonsending) func flush() async throws(HyperswarmError) -> Bool {
    try await flush(milliseconds: nil)
  }

  private nonisolated(nonsending) func flush(milliseconds: UInt64?) async throws(HyperswarmError) -> Bool {
    let engine = engine
    return try await operation(TracedCall("hyperswarm.flush")) { settle in
      let pending = engine.value.flush(timeout: milliseconds) { settle($0.mapError(HyperswarmError.init)) }
      return { pending?.cancel() }
    }
  }

  /// The same with a limit, rounded up to milliseconds.
  /// - Parameter limit: how long to wait; zero or less gives up in the loop's next turn.
  /// - Throws: `timedOut` after it: announcing and dialling go on. Else as `flush()`.
  @discardableResult
  public nonisolated(nonsending) func flush(within limit: Duration) async throws(HyperswarmError) -> Bool {
    try await flush(milliseconds: limit.wholeMilliseconds)
  }

  /// Withdraws the announcements, closes all connections and stops all traffic, until `resume`, also that of a node
  /// that was given to the swarm. Topics, explicit peers and bans stay; peers see the end of their connections as a
  /// reset. Takes five seconds at most; a second call waits for its turn.
  /// - Throws: `destroyed`; `cancelled`, after which the swarm is suspended all the same.
  public nonisolated(nonsending) func suspend() async throws(HyperswarmError) {
    let engine = engine
    try await operation(TracedCall("hyperswarm.suspend")) { settle in
      engine.value.suspend { settle(.success(())) }
      return nil
    }
  }

  /// Opens the sockets again and goes on with topics and explicit peers.
  /// - Throws: `resume` when they cannot be opened; the swarm stays suspended then and resumes by itself as soon as it
  ///   can, unless `suspend` is called again. `destroyed`; `cancelled`, after which it resumes all the same.
  public nonisolated(nonsending) func resume() async throws(HyperswarmError) {
    let engine = engine
    try await operation(TracedCall("hyperswarm.resume")) { settle in
      engine.value.resume { settle($0.mapError(HyperswarmError.init)) }
      return nil
    }
  }

  /// Withdraws the announcements (not with `force`), closes all connections and, unless it was given to the swarm, the
  /// DHT node, and waits for it: five seconds at most. Peers see a reset. A second call waits for the first one, and
  /// with `force` cuts it short. Cancellation does not end the wait.
  public nonisolated(nonsending) func destroy(force: Bool = false) async {
    await TracedCall("hyperswarm.destroy").run {
      beginDestruction(force: force)
      await ended()
    }
  }

  /// What `destroy` does before it waits.
  func beginDestruction(force: Bool) {
    if destruction.claim() {
      tearDown(force: force)
    } else if force {
      let engine = engine
      loop.post { engine.value.destroy(force: true) }
    }
  }

  /// Waits until the swarm and what it owns are destroyed, whether or not the task is cancelled.
  nonisolated(nonsending) func ended() async {
    await destruction.wait()
    if ownsDHT { await dht.destroy(force: true) }
  }

  private func tearDown(force: Bool) {
    let destruction = destruction
    let engine = engine
    let observers = observers
    let queue = queue
    let view = view
    // Held until the engine is done with it; its own release destroys a node that is ours.
    let dht = dht
    let isPosted = loop.post {
      engine.value.destroy(force: force) {
        engine.value.onConnection = nil
        queue.finish()
        observers.value.finish()
        view.clear()
        withExtendedLifetime(dht) {}
        destruction.finish()
      }
    }
    if !isPosted {
      queue.finish()
      view.clear()
      destruction.finish()
    }
  }

  // MARK: Numbers

  /// The swarm's counters at this moment; all zero once its loop has ended.
  public nonisolated(nonsending) func statistics() async -> Statistics {
    await read { Statistics($0.statistics) } ?? Statistics()
  }

  /// The counters of the swarm, of its node and of the transport, as text for Prometheus: all gauges, under the names
  /// that dashboards of the deployed stack use where it has the same. "" when the loop has ended. The names:
  /// `docs/metrics.md`.
  ///
  /// Of several swarms on one node each has the node's counters in its text: an endpoint that shows them all takes them
  /// apart by a label.
  public nonisolated(nonsending) func metrics() async -> String {
    await metricValues().prometheusText
  }

  nonisolated(nonsending) func metricValues() async -> [Metric] {
    let node = dht.node
    return await read { $0.metrics(with: node.value) } ?? []
  }

  // MARK: Calls

  /// - `call`: a span of its own in traces, with the trait `Tracing`; `nil` has none.
  nonisolated(nonsending) func operation<T: Sendable>(
    _ call: TracedCall? = nil, undelivered: (@Sendable (T) -> Void)? = nil,
    _ start: @escaping @Sendable (_ settle: @escaping (Result<T, HyperswarmError>) -> Void) -> (() -> Void)?
  ) async throws(HyperswarmError) -> T {
    let loop = loop
    guard let call else {
      return try await awaitOperation(
        on: loop, cancelled: HyperswarmError.cancelled, gone: .destroyed, undelivered: undelivered, start)
    }
    return try await call.run { () async throws(HyperswarmError) -> T in
      try await awaitOperation(
        on: loop, cancelled: HyperswarmError.cancelled, gone: .destroyed, undelivered: undelivered, start)
    }
  }

  nonisolated(nonsending) func read<T: Sendable>(_ body: @escaping @Sendable (SwarmEngine) -> T) async -> T? {
    let engine = engine
    return await onLoop(loop) { body(engine.value) }
  }
}

extension Hyperswarm {
  /// Joins the engine's callbacks with what the swarm shows, on the loop.
  private static func observe(
    _ engine: SwarmEngine, of node: DHTNode, loop: UVEventLoop, view: SwarmView, observers: EventObservers<Event>,
    connections: EventQueue<HyperDHT.Connection, Never>
  ) {
    engine.onPeerAdded = { info in
      let publicKey = info.publicKey
      view.add(
        Peer(loop: loop, info: info) { [weak view] topic in
          guard view?.isConnected(publicKey) == true else { return }
          observers.push(.topic(publicKey: publicKey, topic: topic))
        })
    }
    engine.onPeerRemoved = { view.remove(peer: $0.publicKey) }
    engine.onConnection = { [unowned node] stream, info in
      let publicKey = info.publicKey
      let peer = view.peer(publicKey) ?? Peer(loop: loop, info: info)
      let connection = HyperDHT.Connection(loop: loop, node: node, stream: stream, attachment: peer)
      let number = view.add(connection)
      let closed = connection.closed
      stream.onClose = {
        view.remove(connection: number, of: publicKey)
        closed($0)
      }
      if !connections.push(connection) { stream.destroy() }
    }
    engine.onAttempt = { [weak engine] attempt in
      if let engine { view.update(connecting: engine.connecting) }
      observers.push(.attempt(Attempt(attempt)))
    }
    engine.onBan = { peer, reason in
      observers.push(.banned(publicKey: peer.publicKey, reason: reason.description))
    }
    engine.onUpdate = { [weak engine] in
      if let engine { view.update(connecting: engine.connecting) }
      observers.pushOnce(.update)
    }
  }
}

extension Hyperswarm: CustomStringConvertible {
  /// For a debugger: the key, and how many peers and connections there are.
  public var description: String {
    let state = isDestroyed ? ", destroyed" : ""
    return "Hyperswarm(\(keyPair.publicKey.hex): \(openConnections.count) connections, \(peers.count) peers\(state))"
  }
}
