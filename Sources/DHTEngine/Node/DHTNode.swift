import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

/// Steps in the life of a node.
package enum NodeStage: Hashable, Sendable {
  /// Entering the network has ended, with or without an answer.
  case ready
  /// The machine has slept, or the node has resumed.
  case wakeup
  case suspended
  case resumed
}

/// A HyperDHT node: an RPC node that finds peers by public key and connects to them (hyperdht.md).
///
/// Loop-confined. Everything it made (servers, streams, queries) settles when it is destroyed.
package final class DHTNode {
  package let environment: any Environment
  package let options: DHTOptions
  package let rpc: RPCNode
  package let defaultKeyPair: KeyPair
  package internal(set) var statistics = DHTStatistics()

  /// The interface list or our public address changed.
  package let onNetworkChange = ObserverList<Void>()
  /// The machine has slept, or the process was stopped: peers may be gone.
  package let onAwake = ObserverList<Void>()
  /// Interfaces, or whether the network answers, changed.
  package let onNetworkUpdate = ObserverList<Void>()
  /// Our public address changed, and our id with it: the old address, and the new one as far as it is known. Listening
  /// servers announce themselves again by themselves.
  package let onAddressChange = ObserverList<(old: Endpoint, new: Endpoint?)>()
  /// The network has begun to answer, or has stopped. The same state never comes twice in a row.
  package let onNetworkState = ObserverList<NetworkState>()
  /// The public host and port as peers see us: host `nil` when they disagree, port 0 when only the ports differ.
  package let onNATUpdate = ObserverList<(host: IPv4Address?, port: UInt16)>()
  package let onPersistent = ObserverList<Void>()
  package let onEphemeral = ObserverList<Void>()
  package let onClose = ObserverList<Void>()
  package let onStage = ObserverList<NodeStage>()
  /// Entries of the routing table that come and go.
  package let onNodeAdded = ObserverList<NodeAddress>()
  package let onNodeRemoved = ObserverList<NodeAddress>()

  /// Listening servers, and those about to listen.
  package internal(set) var servers: [DHTServer] = []

  /// Commands of the application, by their numbers: none of `Command`.
  package var commands: [UInt64: (IncomingRequest) -> Void] = [:]

  let router: Router
  /// Exists once the node has been persistent.
  private(set) var storage: StorageNode?
  let rawStreams: RawStreams
  /// What peers cost that have dialled us and said nothing yet.
  package let strangers: StrangerMemory
  let sockets: SocketPool
  private(set) lazy var routes = ReusableRoutes(environment: environment)
  private(set) lazy var punchPorts = SharedPunchPort(node: self)
  let relayHints: RelayHintCache
  let punchBudget: PunchBudget
  private(set) lazy var relays = RelayClients(node: self)
  private(set) lazy var withdrawals = Withdrawals(node: self)
  private(set) lazy var migrations = Migrations(node: self)
  let localAddressValidator: LocalAddressValidator
  private var listedAddresses: (at: UInt64, endpoints: [Endpoint])?
  var connectors: [ObjectIdentifier: Connector] = [:]

  private(set) package var isSuspended = false
  private(set) package var isDestroyed = false
  /// A resume has failed, and the RPC node goes on trying.
  private var isRecovering = false
  private var isStarted = false
  private var reportedState = NetworkState.unknown
  private var destroyWaiters: [() -> Void] = []
  /// The suspension that is still under way: a second caller waits for it, too.
  private var suspension: Suspension?
  private var isTornDown = false
  private var isClosed = false

  package init(environment: any Environment, options: DHTOptions = .init()) {
    self.environment = environment
    self.options = options
    defaultKeyPair = options.keyPair ?? KeyPair(seed: environment.random32())
    rpc = RPCNode(environment: environment, configuration: options.rpcConfiguration)
    router = Router(environment: environment)
    rawStreams = RawStreams(environment: environment)
    strangers = StrangerMemory(environment: environment)
    sockets = SocketPool(environment: environment, host: options.host, rpc: rpc)
    relayHints = RelayHintCache(limit: Limits.Connect.relayHintCache)
    localAddressValidator = LocalAddressValidator(environment: environment)
    punchBudget = PunchBudget(
      environment: environment, interval: options.randomPunchInterval, startsRunning: options.deferRandomPunch)
    sockets.onStrayDatagram = { [weak self] in self?.migrations.receive($0, from: $1, on: $2) ?? false }
    rpc.onStrayDatagram = { [weak self] bytes, source, socket in
      guard let self, !migrations.receive(bytes, from: source, on: socket) else { return }
      rpc.receive(bytes, from: source, on: socket)
    }
    subscribe()
  }

  private func subscribe() {
    router.isOwnAddress = { [weak self] in self?.isOwnAddress($0) ?? false }
    rpc.yieldingCommand = Command.peerHandshake.rawValue
    rpc.onRequest = { [weak self] request in self?.handle(request) ?? false }
    rpc.onPersistent = { [weak self] in
      guard let self else { return }
      if storage == nil {
        storage = StorageNode(environment: environment, router: router, nodeID: { [weak self] in self?.rpc.id })
      }
      onPersistent.notify(())
    }
    rpc.onReady = { [weak self] in self?.onStage.notify(.ready) }
    rpc.onWakeup = { [weak self] in self?.onStage.notify(.wakeup) }
    rpc.onAwake = { [weak self] in self?.onAwake.notify(()) }
    rpc.onSuspend = { [weak self] in self?.onStage.notify(.suspended) }
    rpc.onResume = { [weak self] in
      self?.recovered()
      self?.onStage.notify(.resumed)
    }
    rpc.onNodeAdded = { [weak self] in self?.onNodeAdded.notify($0) }
    rpc.onNodeRemoved = { [weak self] in self?.onNodeRemoved.notify($0) }
    rpc.onEphemeral = { [weak self] in self?.onEphemeral.notify(()) }
    rpc.onAddressChange = { [weak self] old, new in
      guard let self else { return }
      punchPorts.retire()
      migrations.networkChanged()
      for server in servers { server.refresh() }
      onAddressChange.notify((old, new))
      // For what announces topics it is the same as a new network.
      onNetworkChange.notify(())
    }
    rpc.onNATUpdate = { [weak self] in self?.onNATUpdate.notify(($0, $1)) }
    rpc.onNetworkChange = { [weak self] _ in
      guard let self else { return }
      punchPorts.retire()
      migrations.networkChanged()
      for server in servers { server.refresh() }
      onNetworkChange.notify(())
    }
    rpc.onInterfaces = { [weak self] in
      self?.listedAddresses = nil
      self?.localAddressValidator.interfacesChanged()
    }
    rpc.otherHosts = { [weak self] in self?.rawStreams.remoteHosts(atMost: HyperRPC.Limits.judgedNodes) ?? [] }
    rpc.onNetworkUpdate = { [weak self] in
      guard let self else { return }
      if rpc.isOnline {
        for server in servers { server.notifyOnline() }
      }
      onNetworkUpdate.notify(())
      reportState()
    }
  }

  private func reportState() {
    let state = rpc.networkState
    guard state != .unknown, state != reportedState, !isDestroyed else { return }
    reportedState = state
    onNetworkState.notify(state)
  }

  /// Commands 0 and 1 are served by every node, the others while we have an id and a store (hyperdht.md 2).
  private func handle(_ request: IncomingRequest) -> Bool {
    switch Command(rawValue: request.command) {
    case .peerHandshake: router.handleHandshake(request)
    case .peerHolepunch: router.handleHolepunch(request)
    case nil:
      guard let command = commands[request.command] else { return false }
      command(request)
    default:
      guard let storage, rpc.id != nil else { return false }
      return storage.handle(request)
    }
    return true
  }

  /// What peers on the same network may reach this node at. The system is not asked for every handshake.
  var localAddresses: [Endpoint] {
    let now = environment.nowMilliseconds
    if let listedAddresses, now - listedAddresses.at < Limits.localAddressAge { return listedAddresses.endpoints }
    let endpoints = LocalAddresses.list(environment: environment, serverSocket: rpc.serverSocket)
    listedAddresses = (now, endpoints)
    return endpoints
  }

  /// Which of the endpoints' hosts can receive at all, in their order; none when the node is destroyed meanwhile.
  package func validateLocalAddresses(_ endpoints: [Endpoint], _ completion: @escaping ([Endpoint]) -> Void) {
    localAddressValidator.validate(endpoints, completion)
  }

  private func isOwnAddress(_ endpoint: Endpoint) -> Bool {
    let bound = [rpc.serverSocket, rpc.clientSocket].compactMap { $0?.localEndpoint }
    guard let match = bound.first(where: { $0.port == endpoint.port }) else { return false }
    guard match.host == .any else { return match.host == endpoint.host }
    return endpoint.host.isLoopback || endpoint.host == rpc.host
      || environment.interfaces().contains { $0.address == endpoint.host }
  }

  // MARK: Life cycle

  /// Binds and bootstraps, beginning in a later turn. Idempotent; connecting and listening start the node too.
  package func start() {
    guard !isStarted, !isDestroyed else { return }
    isStarted = true
    Limits.check()
    rpc.start()
  }

  package func whenBootstrapped(_ body: @escaping (Result<Void, DHTError>) -> Void) {
    rpc.whenBootstrapped { body($0.mapError(DHTError.init)) }
  }

  package func makeServer(options: ServerOptions = .init()) -> DHTServer { DHTServer(node: self, options: options) }

  /// Connects to the server with this public key. The stream comes back at once; `onOpen` or `onClose` tells how it
  /// went: then with `DHTError`s wrapped in the close reason.
  package func connect(to publicKey: Bytes32, options: ConnectOptions = .init()) -> EncryptedStream {
    let keyPair = options.keyPair ?? defaultKeyPair
    let stream = EncryptedStream(
      environment: environment, isInitiator: true, publicKey: keyPair.publicKey, remotePublicKey: publicKey)
    stream.keepAlive = self.options.connectionKeepAlive
    stream.maximumFrame = self.options.maximumFrame
    guard !isDestroyed, !isSuspended else {
      stream.destroy(EncryptedStreamError(isDestroyed ? .nodeDestroyed : .suspended))
      return stream
    }
    guard let raw = rawStreams.make() else {
      stream.destroy(EncryptedStreamError(.other("too many streams")))
      return stream
    }
    start()
    let connector = Connector(
      node: self, publicKey: publicKey, keyPair: keyPair, options: options, stream: stream, raw: raw)
    connectors[ObjectIdentifier(connector)] = connector
    connector.start()
    return stream
  }

  /// A new unconnected stream for callers that exchange ids themselves; `nil` at the bound (hyperdht.md 14.4).
  package func makeTransportStream() -> (any TransportStream)? { rawStreams.make() }

  /// Attaches a raw stream to the peer of a connected encrypted stream.
  package static func connect(
    _ raw: any TransportStream, alongside stream: EncryptedStream, remoteID: UInt32
  ) throws(DHTError) {
    guard let transport = stream.transport, let socket = transport.socket, let remote = transport.remote else {
      throw .streamNotConnected
    }
    do {
      try raw.connect(socket: socket, remoteID: remoteID, to: remote)
    } catch {
      throw .bindFailed(code: error.code, error.description)
    }
  }

  /// Live streams of this node, of connections and others, in the order of their ids.
  package var transportStreams: [any TransportStream] { rawStreams.all }

  /// Live raw streams of this node.
  package var rawStreamCount: Int { rawStreams.count }

  /// Refuses new connections, withdraws all servers, drops all streams and stops talking.
  package func suspend(_ done: (() -> Void)? = nil) {
    guard !isSuspended, !isDestroyed else {
      if isRecovering {
        isRecovering = false
        rpc.suspend()
      }
      guard let done else { return }
      if let suspension { suspension.waiters.append(done) } else { environment.defer(done) }
      return
    }
    isSuspended = true
    let current = Suspension(done)
    suspension = current
    let finish = { [weak self] in
      if self?.suspension === current { self?.suspension = nil }
      current.finish()
    }
    for connector in connectors.values { connector.fail(.suspended) }
    let group = Countdown { [weak self] in
      guard let self, isSuspended, !isDestroyed else { return finish() }
      relays.destroyAll()
      rawStreams.destroyAll()
      rpc.suspend {
        self.rawStreams.destroyAll()
        finish()
      }
    }
    for server in servers { server.suspend(group.enter()) }
    withdrawals.whenIdle(group.enter())
    punchPorts.retire()
    routes.removeAll()
    listedAddresses = nil
    relays.destroyAll()
    rawStreams.destroyAll()
    group.seal()
  }

  /// Opens the sockets again and announces the servers. When the sockets cannot be opened `done` gets the error; the
  /// node stays suspended, goes on trying, and resumes by itself as soon as it can, unless it is suspended again.
  package func resume(_ done: ((Result<Void, DHTError>) -> Void)? = nil) {
    guard isSuspended, !isDestroyed else {
      let result: Result<Void, DHTError> = isDestroyed ? .failure(.nodeDestroyed) : .success(())
      if let done { environment.defer { done(result) } }
      return
    }
    isSuspended = false
    isRecovering = false
    if options.deferRandomPunch { punchBudget.restart() }
    rpc.resume { [weak self] result in
      guard let self else {
        done?(.failure(.nodeDestroyed))
        return
      }
      if !isSuspended, !isDestroyed {
        if case .success = result {
          for server in servers { server.resume() }
        } else {
          isSuspended = true
          isRecovering = true
        }
      }
      done?(result.mapError(DHTError.init))
    }
  }

  /// The sockets could be opened after all.
  private func recovered() {
    guard isRecovering, !isDestroyed else { return }
    isRecovering = false
    isSuspended = false
    for server in servers { server.resume() }
  }

  /// Closes everything. Unless `force`, servers unannounce first, for ``Limits/Withdrawal/wait`` at most; `force` also
  /// cuts that short when it is under way. Every completion runs exactly once.
  package func destroy(force: Bool = false, _ done: (() -> Void)? = nil) {
    if isClosed {
      if let done { environment.defer(done) }
      return
    }
    if let done { destroyWaiters.append(done) }
    guard !isDestroyed else {
      if force { tearDown() }
      return
    }
    isDestroyed = true
    for connector in connectors.values { connector.fail(.nodeDestroyed) }
    // Peers learn it now; withdrawing the announcements may take seconds.
    rawStreams.destroyAll()
    let group = Countdown { self.tearDown() }
    for server in servers { server.close(isForced: force, group.enter()) }
    if !force { withdrawals.whenIdle(group.enter()) }
    group.seal()
  }

  private func tearDown() {
    guard !isTornDown else { return }
    isTornDown = true
    commands = [:]
    router.destroy()
    storage?.destroy()
    relays.destroyAll()
    migrations.destroy()
    rawStreams.destroyAll()
    punchPorts.retire()
    routes.removeAll()
    sockets.destroy()
    localAddressValidator.destroy()
    rpc.destroy {
      self.isClosed = true
      self.onClose.notify(())
      let waiters = self.destroyWaiters
      self.destroyWaiters = []
      for waiter in waiters { waiter() }
    }
  }
}

extension DHTOptions {
  var rpcConfiguration: RPCConfiguration {
    var configuration = RPCConfiguration(
      bootstrap: bootstrap ?? DHTOptions.publicBootstrap.compactMap(BootstrapNode.init), port: PortRange(port),
      host: host)
    configuration.nodes = nodes
    configuration.anyPort = anyPort
    configuration.ephemeral = isLowPower ? true : ephemeral
    configuration.isLowPower = isLowPower
    configuration.adaptive = adaptive
    configuration.firewalled = firewalled
    configuration.quickFirewall = quickFirewall
    configuration.natSample = knownAddress
    configuration.filterNode = NodeFilter.accepts
    return configuration
  }
}
