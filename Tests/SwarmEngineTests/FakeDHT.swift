import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting

@testable import HyperswarmEngine

/// A world of DHT nodes without datagrams: topics, listening keys and streams on the virtual clock.
final class FakeWorld {
  let network: VirtualNetwork
  var announces: [Bytes32: [Bytes32]] = [:]
  var listening: [Bytes32: FakeServer] = [:]
  /// One way, milliseconds.
  var latency: UInt64 = 5
  /// Keys whose dials fail, and how.
  var failures: [Bytes32: SwarmStreamFailure] = [:]
  var dialFailureDelay: UInt64 = 50
  var queryTime: UInt64 = 10
  var queriesFail = false
  var keepAlive: UInt64 = 0
  /// Pairs of streams ever made, dialler first.
  var pairs: [(FakeStream, FakeStream)] = []

  init(seed: UInt64 = 1) { network = VirtualNetwork(seed: seed) }

  func advance(by milliseconds: UInt64) { network.advance(by: milliseconds) }
  func makeNode() -> FakeDHT { FakeDHT(world: self, environment: network.makeHost()) }
}

final class FakeDHT: SwarmDHT {
  typealias Stream = FakeStream
  typealias Server = FakeServer

  let world: FakeWorld
  let environment: VirtualHost
  var isRandomizedNAT = false
  /// Where its streams come from.
  var host: IPv4Address?
  var isOnline = true
  var isDestroyed = false
  var isSuspended = false
  var dials: [(key: Bytes32, time: UInt64, options: SwarmDialOptions)] = []
  var queries: [SwarmQueryRequest] = []
  var activeQueries = 0
  var networkChange: (() -> Void)?
  var networkUpdate: (() -> Void)?
  var servers: [FakeServer] = []
  var streams: [FakeStream] = []
  /// The server's suspend and close do not call back by themselves.
  var serverHangs = false
  var listenFailures = 0

  init(world: FakeWorld, environment: VirtualHost) {
    self.world = world
    self.environment = environment
  }

  func dial(_ key: Bytes32, options: SwarmDialOptions) -> FakeStream {
    dials.append((key, environment.nowMilliseconds, options))
    let stream = FakeStream(self, isInitiator: true, publicKey: options.keyPair.publicKey, remotePublicKey: key)
    streams.append(stream)
    if let failure = world.failures[key] {
      after(world.dialFailureDelay) { stream.fail(failure) }
      return stream
    }
    after(world.latency) { [self] in
      guard !stream.isDestroying else { return }
      guard let server = world.listening[key], !server.node.isSuspended, !server.node.isDestroyed else {
        return stream.fail(SwarmStreamFailure(code: "PEER_NOT_FOUND", description: "Peer not found"))
      }
      let request = SwarmFirewallRequest(
        publicKey: options.keyPair.publicKey, address: host.map { Endpoint(host: $0, port: 1) })
      server.options.firewall(request) { [self] accept in
        guard accept else {
          after(4_000) {
            stream.fail(SwarmStreamFailure(code: "PEER_CONNECTION_FAILED", description: "No answer"))
          }
          return
        }
        let accepted = FakeStream(
          server.node, isInitiator: false, publicKey: key, remotePublicKey: options.keyPair.publicKey)
        server.node.streams.append(accepted)
        stream.other = accepted
        accepted.other = stream
        world.pairs.append((stream, accepted))
        accepted.isOpen = true
        accepted.remoteHost = host
        server.onConnection?(accepted)
        after(world.latency) {
          guard !stream.isDestroying else { return }
          stream.opened()
        }
      }
    }
    return stream
  }

  func makeSwarmServer(_ options: SwarmServerOptions) -> FakeServer {
    let server = FakeServer(node: self, options: options)
    servers.append(server)
    return server
  }

  func startQuery(
    _ request: SwarmQueryRequest, onPeers: @escaping ([SwarmPeerRecord]) -> Void,
    onFinished: @escaping (Bool) -> Void
  ) -> any SwarmQuery {
    queries.append(request)
    activeQueries += 1
    let query = FakeQuery()
    query.onFinished = { [self] succeeded in
      activeQueries -= 1
      onFinished(succeeded)
    }
    query.environment = environment
    after(world.queryTime) { [self] in
      guard query.onFinished != nil else { return }
      guard isOnline, !world.queriesFail else { return query.finish(false) }
      query.closestNodes = [Endpoint(host: IPv4Address(1, 0, 0, 99), port: 1)]
      let own = request.keyPair.publicKey
      let found = (world.announces[request.topic] ?? []).filter { $0 != own }
      switch request.operation {
      case .lookup: break
      case .announce:
        if world.announces[request.topic]?.contains(own) != true {
          world.announces[request.topic, default: []].append(own)
        }
      case .lookupAndUnannounce, .withdraw: world.announces[request.topic]?.removeAll { $0 == own }
      }
      onPeers(found.map { SwarmPeerRecord(publicKey: $0, relayAddresses: query.closestNodes) })
      query.finish(true)
    }
    return query
  }

  func observeNetworkChange(_ observer: @escaping () -> Void) -> () -> Void {
    networkChange = observer
    return { [weak self] in self?.networkChange = nil }
  }
  func observeNetworkUpdate(_ observer: @escaping () -> Void) -> () -> Void {
    networkUpdate = observer
    return { [weak self] in self?.networkUpdate = nil }
  }

  /// What a resume ends with.
  var resumeFailure: SwarmStreamFailure?

  func suspendNode(_ completion: @escaping () -> Void) {
    isSuspended = true
    after(1, completion)
  }
  func resumeNode(_ completion: @escaping (SwarmStreamFailure?) -> Void) {
    if resumeFailure == nil { isSuspended = false }
    after(1) { [resumeFailure] in completion(resumeFailure) }
  }
  func destroyNode(force: Bool, _ completion: @escaping () -> Void) {
    isDestroyed = true
    for stream in streams { stream.abort(.destroyed) }
    after(1, completion)
  }

  func after(_ milliseconds: UInt64, _ body: @escaping () -> Void) {
    _ = environment.schedule(after: milliseconds, body)
  }
}

final class FakeQuery: SwarmQuery {
  var closestNodes: [Endpoint] = []
  var onFinished: ((Bool) -> Void)?
  var environment: VirtualHost?
  func finish(_ succeeded: Bool) {
    let body = onFinished
    onFinished = nil
    body?(succeeded)
  }
  func destroy() { environment?.defer { self.finish(false) } }
}

final class FakeServer: SwarmServer {
  let node: FakeDHT
  let options: SwarmServerOptions
  var onConnection: ((FakeStream) -> Void)?
  var relayAddresses: [Endpoint] = []
  var key: Bytes32?
  var listenCalls = 0
  var isClosed = false

  init(node: FakeDHT, options: SwarmServerOptions) {
    self.node = node
    self.options = options
  }

  func listen(keyPair: KeyPair, _ completion: @escaping (Result<Void, SwarmStreamFailure>) -> Void) {
    listenCalls += 1
    node.after(2) { [self] in
      if node.listenFailures > 0 {
        node.listenFailures -= 1
        return completion(.failure(SwarmStreamFailure(code: "KEYPAIR_ALREADY_USED", description: "Key pair in use")))
      }
      key = keyPair.publicKey
      relayAddresses = [Endpoint(host: IPv4Address(1, 0, 0, 98), port: 2)]
      node.world.listening[keyPair.publicKey] = self
      completion(.success(()))
    }
  }

  func suspendServer(_ completion: @escaping () -> Void) {
    if let key { node.world.listening[key] = nil }
    if !node.serverHangs { node.after(1, completion) }
  }
  func resumeServer(_ completion: @escaping () -> Void) {
    if let key { node.world.listening[key] = self }
    node.after(1, completion)
  }
  func closeServer(_ completion: @escaping () -> Void) {
    isClosed = true
    if let key { node.world.listening[key] = nil }
    if !node.serverHangs { node.after(1, completion) }
  }
}

final class FakeStream: SwarmStream {
  unowned let node: FakeDHT
  let isInitiator: Bool
  let publicKey: Bytes32
  let remotePublicKey: Bytes32?
  weak var other: FakeStream?
  var isOpen = false
  var isAuthenticated = false
  var isDestroying = false
  var isClosed = false
  var rawBytesRead: UInt64 = 0
  var isOnTheMove = false
  var rawBytesWritten: UInt64 = 0
  var messageBytes: UInt64 = 0
  var remoteHost: IPv4Address?
  var transportStatistics: TransportStatistics?
  var abortReason: SwarmAbortReason?
  var probes = 0
  /// The peer has vanished without a trace: nothing arrives, nothing is acknowledged.
  var isCut = false

  /// The application's side.
  var received: [[UInt8]] = []
  var onMessage: (([UInt8]) -> Void)?
  var onClose: ((SwarmStreamFailure?) -> Void)?
  var closeFailure: SwarmStreamFailure?

  private var openObserver: (() -> Void)?
  private var authenticatedObserver: (() -> Void)?
  private var closeObserver: ((SwarmStreamFailure?) -> Void)?
  private(set) var isHeld = false
  private var held: [[UInt8]] = []

  init(_ node: FakeDHT, isInitiator: Bool, publicKey: Bytes32, remotePublicKey: Bytes32) {
    self.node = node
    self.isInitiator = isInitiator
    self.publicKey = publicKey
    self.remotePublicKey = remotePublicKey
  }

  func observe(open: (() -> Void)?, authenticated: (() -> Void)?, close: ((SwarmStreamFailure?) -> Void)?) {
    openObserver = open
    authenticatedObserver = authenticated
    closeObserver = close
  }

  func opened() {
    isOpen = true
    isAuthenticated = true
    let observer = openObserver
    openObserver = nil
    observer?()
    keepAlive()
  }

  private func keepAlive() {
    guard node.world.keepAlive > 0, !isDestroying else { return }
    node.after(node.world.keepAlive) { [weak self] in
      guard let self, !self.isDestroying, !self.isCut else { return }
      self.write([])
      self.keepAlive()
    }
  }

  func write(_ bytes: [UInt8]) {
    guard !isDestroying else { return }
    rawBytesWritten += UInt64(bytes.count) + 20
    messageBytes += UInt64(bytes.count)
    guard !isCut else { return }
    node.after(node.world.latency) { [weak other] in other?.deliver(bytes) }
  }

  private func deliver(_ bytes: [UInt8]) {
    guard !isDestroying, !isCut else { return }
    rawBytesRead += UInt64(bytes.count) + 17
    messageBytes += UInt64(bytes.count)
    if !isAuthenticated {
      isAuthenticated = true
      let observer = authenticatedObserver
      authenticatedObserver = nil
      observer?()
    }
    guard !bytes.isEmpty else { return }
    if isHeld {
      held.append(bytes)
    } else {
      received.append(bytes)
      onMessage?(bytes)
    }
  }

  func probe(_ acknowledged: ((Bool) -> Void)?) {
    probes += 1
    write([])
    guard let acknowledged, !isCut, let other, !other.isDestroying else { return }
    node.after(node.world.latency * 2) { acknowledged(true) }
  }

  func abort(_ reason: SwarmAbortReason) {
    guard !isDestroying else { return }
    abortReason = reason
    close(nil)
  }

  /// The application destroys the stream.
  func destroy() { close(nil) }
  func fail(_ failure: SwarmStreamFailure) { close(failure) }

  private func close(_ failure: SwarmStreamFailure?) {
    guard !isDestroying else { return }
    isDestroying = true
    closeFailure = failure
    node.environment.defer { [self] in
      isClosed = true
      let observer = closeObserver
      openObserver = nil
      authenticatedObserver = nil
      closeObserver = nil
      observer?(failure)
      onClose?(failure)
    }
    guard !isCut else { return }
    let other = self.other
    node.after(node.world.latency) {
      guard let other, !other.isCut else { return }
      other.fail(SwarmStreamFailure(code: "ECONNRESET", description: "connection reset by peer"))
    }
  }

  func hold() { isHeld = true }
  func release() {
    isHeld = false
    let messages = held
    held = []
    for message in messages {
      received.append(message)
      onMessage?(message)
    }
  }
}

/// A swarm with records of what it reported.
final class TestSwarm {
  let node: FakeDHT
  let core: SwarmCore<FakeDHT>
  var connections: [(stream: FakeStream, peer: PeerInfo)] = []
  var attempts: [PeerAttempt] = []
  var bans: [(PeerInfo, SwarmStreamFailure)] = []
  var connecting: [Int] = []
  /// Runs for each connection.
  var onConnection: ((FakeStream, PeerInfo) -> Void)?
  var world: FakeWorld { node.world }
  var key: Bytes32 { core.publicKey }

  init(_ world: FakeWorld, keySeed: UInt8? = nil, _ configure: (inout SwarmOptions) -> Void = { _ in }) {
    node = world.makeNode()
    var options = SwarmOptions()
    options.jitter = 0
    options.backoffs = [50, 100, 200, 400]
    if let keySeed { options.keyPair = KeyPair(seed: Bytes32(repeating: keySeed)) }
    configure(&options)
    core = SwarmCore(environment: node.environment, dht: node, options: options)
    core.onConnection = { [weak self] stream, peer in
      self?.connections.append((stream, peer))
      self?.onConnection?(stream, peer)
    }
    core.onAttempt = { [weak self] in self?.attempts.append($0) }
    core.onBan = { [weak self] in self?.bans.append(($0, $1)) }
    core.onUpdate = { [weak self] in
      guard let self else { return }
      self.connecting.append(self.core.connecting)
    }
  }

  @discardableResult
  func join(_ topic: Bytes32, server: Bool = true, client: Bool = true, limit: Int? = nil) throws -> DiscoverySession {
    try core.join(topic: topic, options: JoinOptions(server: server, client: client, limit: limit))
  }

  /// Dials of `key`, milliseconds.
  func dialTimes(of key: Bytes32) -> [UInt64] { node.dials.filter { $0.key == key }.map(\.time) }
  var openKeys: Set<Bytes32> { Set(core.connections.compactMap(\.remotePublicKey)) }

  func flush() -> Bool? {
    var result: Bool?
    core.flush { result = (try? $0.get()) ?? false }
    _ = world.network.run(within: 60_000) { result != nil }
    return result
  }
}

func topic(_ byte: UInt8) -> Bytes32 { Bytes32(repeating: byte) }
