import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperRuntime

extension HyperDHT {
  /// Connects to the peer that listens with this public key.
  ///
  /// Cancelling the task gives the attempt up.
  public func connect(
    to publicKey: Bytes32, options: ConnectOptions = ConnectOptions(), isolation: isolated (any Actor)? = #isolation
  ) async throws(DHTError) -> Connection {
    let node = node
    let loop = loop
    return try await operation(isolation: isolation) { settle in
      let stream = node.value.connect(to: publicKey, options: .init(options))
      stream.onOpen = {
        let connection = Connection(loop: loop, stream: stream)
        // The handle must not be kept by the stream: its release is what ends a forgotten connection.
        stream.onClose = connection.closed
        settle(.success(connection))
      }
      stream.onClose = { settle(.failure(DHTError(closing: $0))) }
      return { stream.destroy() }
    }
  }

  /// Accepts connections under a public key, and announces it. Returns when the first nodes hold the announcement.
  ///
  /// - Parameters:
  ///   - keyPair: the identity to listen as; the node's by default. One server per key pair.
  ///   - firewall: decides which peers may connect; every peer by default.
  public func listen(
    keyPair: KeyPair? = nil, options: ServerOptions = ServerOptions(), isolation: isolated (any Actor)? = #isolation
  ) async throws(DHTError) -> Server {
    let node = node
    let loop = loop
    return try await operation(isolation: isolation) { settle in
      let engine = node.value.makeServer(options: .init(options, loop: loop))
      let server = Server(loop: loop, engine: engine, keyPair: keyPair ?? node.value.defaultKeyPair)
      engine.listen(keyPair: keyPair) { settle($0.map { server }) }
      return { engine.close() }
    }
  }

  /// Listens for connections. Letting go of it closes it, as `close` does; connections stay.
  public final class Server: Sendable {
    public let publicKey: Bytes32
    let loop: UVEventLoop
    let engine: LoopBound<DHTServer>
    private let queue: EventQueue<Connection, Never>

    /// On the loop.
    init(loop: UVEventLoop, engine: DHTServer, keyPair: KeyPair) {
      self.loop = loop
      self.engine = LoopBound(engine)
      publicKey = keyPair.publicKey
      let queue = EventQueue<Connection, Never>(capacity: Limits.pendingConnections)
      self.queue = queue
      engine.onConnection = { stream in
        let connection = Connection(loop: loop, stream: stream)
        stream.onClose = connection.closed
        if !queue.push(connection) { stream.destroy() }
      }
      engine.onClose = { queue.finish() }
    }

    deinit {
      let engine = engine
      loop.post { engine.value.close() }
    }

    /// Connections in the order of their arrival; ends when the server is closed. Up to 1024 wait to be taken, further
    /// ones are closed.
    public var connections: Events<Connection, Never> { Events(queue) }

    /// Nodes that route to this server: others may give them to `connect`.
    public func relayAddresses(isolation: isolated (any Actor)? = #isolation) async -> [Endpoint] {
      let engine = engine
      return await onLoop(loop, isolation: isolation) { engine.value.relayAddresses } ?? []
    }

    /// Announces again soon: for callers that know of a change of network.
    public func refresh() {
      let engine = engine
      loop.post { engine.value.refresh() }
    }

    /// While `true`, peers that the firewall lets in are refused in the answer to their handshake, so that they fail at
    /// once, with `serverError`, instead of waiting. Connections stay, and what was accepted before still arrives.
    public func setBusy(_ isBusy: Bool, isolation: isolated (any Actor)? = #isolation) async {
      let engine = engine
      await onLoop(loop, isolation: isolation) { engine.value.isBusy = isBusy }
    }

    /// Stops accepting and withdraws the announcement. Connections stay.
    public func close(isolation: isolated (any Actor)? = #isolation) async {
      let engine = engine
      let loop = loop
      await withUnsafeContinuation(isolation: isolation) { (continuation: UnsafeContinuation<Void, Never>) in
        if !loop.post({ engine.value.close { continuation.resume() } }) { continuation.resume() }
      }
    }
  }
}

extension ServerOptions {
  init(_ options: HyperDHT.ServerOptions, loop: UVEventLoop) {
    self.init()
    shareLocalAddress = options.shareLocalAddress && !options.relayOnly
    relayOnly = options.relayOnly
    allowsHolepunching = options.allowsHolepunching
    connectionKeepAlive = options.connectionKeepAlive
    relayThrough = options.relayThrough.map(RelayChoice.init)
    acceptsRelay = options.acceptsRelay
    guard let firewall = options.firewall else { return }
    self.firewall = { publicKey, _, address, verdict in
      let verdict = LoopBound(verdict)
      Task(executorPreference: loop) {
        let isWelcome = await firewall(HyperDHT.IncomingPeer(publicKey: publicKey, address: address))
        loop.post { verdict.value(isWelcome ? .accept : .reject) }
      }
    }
  }
}
