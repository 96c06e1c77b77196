import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperRuntime

extension HyperDHT {
  /// Connects to the peer that listens with this public key, and returns when the connection is open. Cancelling the
  /// task gives the attempt up.
  /// - Throws: `networkUnreachable` when no node has answered; `peerNotFound` when none knows the key;
  ///   `peerConnectionFailed` when the peer does not answer the handshake, or refuses it silently; `serverError` and
  ///   `serverIncompatible` when it says so; one of `cannotHolepunch`, `holepunchAborted`,
  ///   `holepunchDoubleRandomizedNATs`, `holepunchProbeTimeout`, `remoteNotHolepunching`, `remoteNotHolepunchable`,
  ///   `remoteAborted` and `relayAborted` when there is no path to it; `connectTimeout` after
  ///   `ConnectOptions.deadline`; `handshakeInvalid` for a key that is none; `suspended`; `cancelled`; `nodeDestroyed`;
  ///   `other` when the node has 65,536 streams. New cases may be added: `DHTError` has all.
  public nonisolated(nonsending) func connect(
    to publicKey: Bytes32, options: ConnectOptions = ConnectOptions()
  ) async throws(DHTError) -> Connection {
    let node = node
    let loop = loop
    return try await operation(TracedCall("hyperdht.connect", publicKey)) { settle in
      let stream = node.value.connect(to: publicKey, options: .init(options))
      stream.onOpen = {
        let connection = Connection(loop: loop, node: node.value, stream: stream)
        // The handle must not be kept by the stream: its release is what ends a forgotten connection.
        stream.onClose = connection.closed
        settle(.success(connection))
      }
      stream.onClose = { settle(.failure(DHTError(closing: $0))) }
      return { stream.destroy() }
    }
  }

  /// Accepts connections under a public key, and announces it. Returns when the nodes closest to the key (three of
  /// them) hold the announcement, or when none could be reached: then it is announced as soon as the network is there.
  /// The server keeps the announcement fresh.
  ///
  /// - `keyPair`: the identity to listen as; the node's by default. One server per key pair.
  /// - Throws: `keyPairAlreadyUsed` when another server of the node listens under the key; `bindFailed` when the node
  ///   has no sockets and cannot open them; `other` for a pool on another loop; `nodeDestroyed`; `cancelled`, and the
  ///   server is closed.
  public nonisolated(nonsending) func listen(
    keyPair: KeyPair? = nil, options: ServerOptions = ServerOptions()
  ) async throws(DHTError) -> Server {
    let node = node
    let loop = loop
    if let pool = options.pool, pool.loop !== loop { throw .other("the pool lives on another event loop") }
    return try await operation(
      TracedCall("hyperdht.listen", (keyPair ?? defaultKeyPair).publicKey)
    ) { settle in
      let engine = node.value.makeServer(options: .init(options, loop: loop))
      let server = Server(loop: loop, engine: engine, keyPair: keyPair ?? node.value.defaultKeyPair, pool: options.pool)
      engine.listen(keyPair: keyPair) { result in
        // It ends well, too, when the node is destroyed meanwhile.
        settle(result.flatMap { engine.isClosed ? .failure(.nodeDestroyed) : .success(server) })
      }
      return { engine.close() }
    }
  }

  /// Listens for connections. Letting go of it closes it, as `close` does; connections stay. May be used from any
  /// thread, and outlives its node: closed then.
  public final class Server: Sendable {
    /// The key that clients dial.
    public let publicKey: Bytes32
    let loop: UVEventLoop
    let engine: LoopBound<DHTServer>
    /// The engine uses it without holding it.
    private let node: LoopBound<DHTNode>
    private let queue: EventQueue<Connection, Never>

    /// On the loop.
    init(loop: UVEventLoop, engine: DHTServer, keyPair: KeyPair, pool: ConnectionPool?) {
      self.loop = loop
      self.engine = LoopBound(engine)
      node = LoopBound(engine.node)
      publicKey = keyPair.publicKey
      let queue = EventQueue<Connection, Never>(capacity: Limits.pendingConnections)
      self.queue = queue
      let core = pool?.core
      let deliver: (Connection) -> Void = { if !queue.push($0) { $0.inner.destroy() } }
      engine.onConnection = { [unowned engine] stream in
        if let core { return core.value.accepted(stream, deliver) }
        let connection = Connection(loop: loop, node: engine.node, stream: stream)
        stream.onClose = connection.closed
        deliver(connection)
      }
      engine.onClose = { queue.finish() }
    }

    deinit {
      let engine = engine
      loop.post { engine.value.close() }
    }

    /// Connections in the order of their arrival; ends when the server is closed. Up to 1024 wait to be taken, further
    /// ones are reset. All readers, and `accept`, share them: each connection goes to one.
    public var connections: Events<Connection, Never> { Events(queue) }

    /// The next connection, in the order of arrival; waits for one.
    /// - Returns: `nil` when the server is closed.
    /// - Throws: `cancelled` with the task; no connection is lost by it.
    public nonisolated(nonsending) func accept() async throws(DHTError) -> Connection? {
      if let connection = await queue.next() { return connection }
      if Task.isCancelled { throw .cancelled }
      return nil
    }

    /// Where the server is announced: the hash of its public key.
    public var target: Bytes32 { HyperDHT.hash(publicKey.bytes) }

    /// Where peers without a NAT between would find us: `host` and `port` as the network sees them, `nil` and 0 where
    /// it does not, or sees different ones.
    public struct Address: Hashable, Sendable {
      /// The key that the server listens under.
      public var publicKey: Bytes32
      /// The public host, if the network agrees on one.
      public var host: IPv4Address?
      /// The public port; 0 while it is not known.
      public var port: UInt16
    }

    /// As of now; `nil` when the node's loop has ended.
    public nonisolated(nonsending) func address() async -> Address? {
      let engine = engine
      return await onLoop(loop) {
        engine.value.address.map { Address(publicKey: $0.publicKey, host: $0.host, port: $0.port) }
      } ?? nil
    }

    /// Withdraws the announcement, for a second at most, and accepts nothing until `resume`: clients get no answer.
    /// Connections stay. Not interrupted by cancellation.
    public nonisolated(nonsending) func suspend() async {
      let engine = engine
      let loop = loop
      await TracedCall("hyperdht.server_suspend", publicKey).run {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
          if !loop.post({ engine.value.suspend { continuation.resume() } }) { continuation.resume() }
        }
      }
    }

    /// Announces and accepts again. Returns at once. Nothing happens to a server that is not suspended, or is closed.
    public func resume() {
      let engine = engine
      loop.post { engine.value.resume() }
    }

    /// Nodes that route to this server, at most three; the node's own address first where strangers reach it, and not
    /// at all where the key is shared (`share(with:)`): a client that comes to the node itself stays there. Others may
    /// give them to `connect` (`ConnectOptions.relayAddresses`). Empty before the first announcement and after `close`.
    public nonisolated(nonsending) func relayAddresses() async -> [Endpoint] {
      let engine = engine
      return await onLoop(loop) { engine.value.relayAddresses } ?? []
    }

    /// Announces again soon: for callers that know of a change of network which the node has not noticed.
    public func refresh() {
      let engine = engine
      loop.post { engine.value.refresh() }
    }

    /// While `true`, peers that the firewall lets in are refused in the answer to their handshake, so that they fail at
    /// once, with `serverError`, instead of waiting. Connections stay, and what was accepted before still arrives.
    public nonisolated(nonsending) func setBusy(_ isBusy: Bool) async {
      let engine = engine
      await onLoop(loop) { engine.value.isBusy = isBusy }
    }

    /// Stops accepting and withdraws the announcement, for a second at most: the rest of that goes on. Connections
    /// stay, those that wait in `connections`, too. Not interrupted by cancellation.
    public nonisolated(nonsending) func close() async {
      let engine = engine
      let loop = loop
      await TracedCall("hyperdht.server_close", publicKey).run {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
          if !loop.post({ engine.value.close { continuation.resume() } }) { continuation.resume() }
        }
      }
    }
  }
}

extension ServerOptions {
  init(_ options: HyperDHT.ServerOptions, loop: UVEventLoop) {
    self.init()
    shareLocalAddress = options.shareLocalAddress && !options.relayOnly
    relayOnly = options.relayOnly
    isAnnounced = options.isAnnounced
    reusableSocket = options.reusableSocket
    handshake = handshakeHook(options.handshake)
    allowsHolepunching = options.allowsHolepunching
    if let question = options.holepunch { holepunch = holepunchHook(isAllowed: true, question) }
    relayKeepAlive = options.relayKeepAlive.wholeMilliseconds
    handshakeClearWait = options.handshakeMemory.wholeMilliseconds
    connectionKeepAlive = options.connectionKeepAlive?.wholeMilliseconds
    relayThrough = options.relayThrough.map(RelayChoice.init)
    acceptsRelay = options.acceptsRelay
    guard let firewall = options.firewall else { return }
    let questions = HookQuestions(loop: loop, refusal: false, within: handshakeClearWait)
    self.firewall = { publicKey, payload, address, verdict in
      let peer = HyperDHT.IncomingPeer(
        publicKey: publicKey, address: address, nat: .init(payload.firewall.rawValue),
        localAddresses: Array(payload.addresses4.prefix(HyperDHTEngine.Limits.Punch.peerAddresses)),
        relayThrough: payload.relayThrough?.publicKey)
      questions.ask(address.host, { await firewall(peer) }, { verdict($0 ? .accept : .reject) })
    }
  }
}
