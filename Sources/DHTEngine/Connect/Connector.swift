import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

/// One outgoing connection on its way: finds the server, shakes hands through a node of the DHT, and lets the paths to
/// it race (hyperdht.md 6).
///
/// Lives in the node's list until the race is over.
final class Connector {
  private unowned let node: DHTNode
  private let publicKey: Bytes32
  private let target: Bytes32
  private let keyPair: KeyPair
  private let options: ConnectOptions
  let stream: EncryptedStream
  private let raw: any TransportStream

  private var search: CandidateSearch?
  private let session: RequestSession
  /// Message 1 is the same through every node (hyperdht.md 4.6).
  private var handshake: NoiseHandshake?
  private var message: [UInt8] = []
  private var isOpen = false
  private var tried: [Endpoint] = []
  private var handshaken: Handshaken?

  private lazy var driver = PathRaceDriver(node: node, role: .dialling, owner: self)
  private var punch: ClientPunch?
  private var local: LocalProbe?
  /// Our choice of relay, if any, and the token for it; the server may have another.
  private var ticket: RelayTicket?
  /// What the server has sent before its handshake reply was here (hyperdht.md 9.1).
  private var earlyBytes: [UInt8] = []
  private var earlyEnd = false
  private var isConnected = false

  init(
    node: DHTNode, publicKey: Bytes32, keyPair: KeyPair, options: ConnectOptions, stream: EncryptedStream,
    raw: any TransportStream
  ) {
    self.node = node
    self.publicKey = publicKey
    self.keyPair = keyPair
    self.options = options
    self.stream = stream
    self.raw = raw
    target = Target.of(publicKey: publicKey)
    session = node.rpc.makeSession()
    let environment = node.environment
    ticket = options.relayThrough?.pick(environment).flatMap { key in
      key == publicKey ? nil : RelayTicket(publicKey: key, token: environment.random32(), isInitiator: true)
    }
  }

  func start() {
    node.statistics.connects.started += 1
    stream.onDestroying = { [weak self] in self?.driver.send(.cancelled) }
    stream.pathTimeline = { [log = driver.log] in log.timeline.lines }
    listenForEarlyPackets()
    driver.send(.started(deadline: options.deadline))
    // A later turn, so that the caller can set the stream's callbacks first.
    node.environment.defer { [weak self] in self?.beginSearch() }
  }

  private func listenForEarlyPackets() {
    raw.firewall = { [weak self] socket, source in self?.driver.takes(socket, source) ?? false }
    raw.onData = { [weak self] bytes in
      guard let self else { return }
      guard earlyBytes.count + bytes.count <= Limits.Connect.earlyBytes else {
        return fail(.other("the peer sent too much before the handshake was done"))
      }
      earlyBytes.append(contentsOf: bytes)
    }
    raw.onEnd = { [weak self] in self?.earlyEnd = true }
    raw.onClose = { [weak self] error in
      self?.fail(error == .reset ? .peerConnectionFailed : .other("the transport stream closed"))
    }
  }

  func fail(_ error: DHTError) { driver.send(.gaveUp(error)) }

  // MARK: Finding a way in

  private var isSearching: Bool { driver.race.state == .handshaking }

  private func beginSearch() {
    guard isSearching else { return }
    let search = CandidateSearch(node: node, target: target, hints: hints())
    self.search = search
    search.attempt = { [weak self] relay, done in self?.attempt(relay, done) }
    search.onExhausted = { [weak self] in self?.fail($0) }
    search.start()
  }

  private func hints() -> [Endpoint] {
    // We are the server's relay ourselves: straight to it.
    if node.rpc.id != nil, let own = node.router.relay(target: target) { return [own] }
    return options.relayAddresses.isEmpty ? node.relayHints[publicKey] : options.relayAddresses
  }

  /// Noise message 1, made at the first attempt: only then our sockets and addresses are known.
  private func firstMessage() throws -> [UInt8] {
    if handshake != nil { return message }
    let ownAddress = node.rpc.remoteAddress
    isOpen = ownAddress != nil
    var addresses = ownAddress.map { [$0] } ?? []
    if options.localConnection {
      addresses += LocalAddresses.list(environment: node.environment, serverSocket: node.rpc.serverSocket)
    }
    let payload = NoisePayload(
      firewall: isOpen ? .open : .unknown, addresses4: addresses, udx: .init(id: raw.localID), secretStream: .init(),
      relayThrough: ticket.map { .init(publicKey: $0.publicKey, token: $0.token) })
    var handshake = try NoiseHandshake(
      pattern: .ik, isInitiator: true, keyPair: keyPair, remotePublicKey: publicKey,
      prologue: Namespaces.peerHandshake.bytes, ephemeral: KeyPair(seed: node.environment.random32()))
    message = try handshake.send(payload: payload.encoded)
    self.handshake = handshake
    return message
  }

  private func attempt(_ relay: Endpoint, _ done: @escaping (Bool) -> Void) {
    guard isSearching else { return done(false) }
    let noise: [UInt8]
    do {
      noise = try firstMessage()
    } catch {
      // Only a server key that is no usable point gets here.
      done(false)
      return fail(.handshakeInvalid)
    }
    tried.append(relay)
    let request = RequestMessage(
      command: Command.peerHandshake.rawValue, target: target,
      value: HandshakeMessage(mode: .fromClient, noise: noise).encoded)
    node.rpc.request(request, to: relay, options: RequestOptions(session: session)) { [weak self] result in
      guard let self, isSearching, case .success(let response) = result else { return done(false) }
      let succeeded = receive(response, from: relay)
      done(succeeded)
    }
  }

  /// A reply may be anybody's: it works on a copy of the handshake (hyperdht.md 4.6, hyperdht.md B-7).
  private func receive(_ response: Response, from relay: Endpoint) -> Bool {
    guard response.error == 0, response.from.endpoint == relay, let value = response.value,
      let reply = try? CompactReader.decode(HandshakeMessage.self, from: value), reply.mode == .reply,
      var attempt = handshake, let bytes = try? attempt.receive(reply.noise),
      let payload = try? CompactReader.decode(NoisePayload.self, from: bytes), let keys = attempt.sessionKeys()
    else { return false }
    if payload.version != NoisePayload.currentVersion {
      fail(.serverIncompatible)
    } else if payload.error != .none {
      fail(.serverError("the server answered the handshake with error \(payload.error.rawValue)"))
    } else if let udx = payload.udx {
      open(
        Handshaken(
          keys: keys, payload: payload, message: reply.noise, streamID: udx.id, relay: relay,
          serverAddress: reply.peerAddress ?? relay, clientAddress: response.to, socket: response.socket))
    } else {
      fail(.serverError("Server did not send UDX data"))
    }
    return true
  }

  // MARK: Opening a path

  private func open(_ result: Handshaken) {
    handshaken = result
    search?.stop()
    search = nil
    session.destroy()
    if driver.race.early != nil { return driver.send(.handshaken(direct: nil, contestants: [])) }
    // The server streams to where our request came from, so the socket that got the reply is the right one.
    guard result.isRelayed else { return attach(result.socket, result.serverAddress) }
    if result.payload.firewall == .open || result.payload.holepunch?.relays.isEmpty ?? true {
      guard let socket = node.rpc.socket else { return fail(.ioSuspended) }
      node.statistics.punches.open += 1
      return attach(socket, result.serverAddresses.first { !$0.host.isBogon } ?? result.serverAddress)
    }
    driver.send(.handshaken(direct: nil, contestants: contestants(result)))
  }

  private func attach(_ socket: any DatagramSocket, _ remote: Endpoint) {
    driver.send(.handshaken(direct: SocketRoute(socket: socket, remote: remote), contestants: []))
  }

  private func contestants(_ result: Handshaken) -> [RaceContestant] {
    // We are reachable: the server comes to us.
    if isOpen { return [RaceContestant(.passive)] }
    var contestants: [RaceContestant] = []
    // The server's choice of relay comes before ours.
    if options.followsServerRelay, let named = result.payload.relayThrough, named.publicKey != publicKey {
      ticket = RelayTicket(publicKey: named.publicKey, token: named.token, isInitiator: false)
    }
    if ticket != nil, node.relays.hasRoom(for: .ourselves) { contestants.append(RaceContestant(.relay)) }
    if options.localConnection {
      local = LocalProbe(node: node, target: target, message: message, handshaken: result, session: session)
      if let local { contestants.append(RaceContestant(.local, remote: local.candidate)) }
    }
    let firewall = result.payload.firewall
    contestants.append(RaceContestant(.punch, remote: result.serverAddress, firewall: firewall))
    return contestants
  }

  private func startPunch() {
    guard let handshaken else { return }
    let punch = ClientPunch(
      node: node, target: target, handshaken: handshaken, options: options,
      usesFastOpen: !driver.race.pending.contains(.local))
    self.punch = punch
    punch.onConnect = { [weak self] socket, remote in
      self?.driver.send(.opened(.punch, SocketRoute(socket: socket, remote: remote)))
    }
    punch.onFailure = { [weak self] error in
      self?.punch = nil
      self?.driver.send(.failed(.punch, error))
    }
    punch.isRelayed = { [weak self] in self?.driver.relay != nil }
    punch.start()
  }
}

extension Connector: PathRaceOwner {
  func start(_ contestant: RaceContestant) {
    switch contestant.path {
    case .direct, .passive: break
    case .local: local?.start { [weak self] in self?.driver.send($0) }
    case .punch: startPunch()
    case .relay:
      guard let ticket else { return }
      driver.startRelay(ticket, streamID: raw.localID, origin: .ourselves, keepAlive: options.relayKeepAlive)
    }
  }

  func connect(_ route: SocketRoute, over path: RacePath) throws(DHTError) {
    guard let handshaken else { throw .handshakeUnfinished }
    if path.isDirect { raw.firewall = nil }
    stopListening()
    do throws(TransportError) {
      try raw.connect(socket: route.socket, remoteID: route.relayedID ?? handshaken.streamID, to: route.remote)
    } catch {
      throw .other("cannot start the stream: \(error.description)")
    }
    isConnected = true
    node.statistics.connects.opened += 1
    node.relayHints[publicKey] = handshaken.payload.relayAddresses.flatMap { $0.isEmpty ? nil : $0 } ?? tried
  }

  func connected(over path: RacePath, relay: RelayPath?) {
    guard let handshaken else { return }
    let head = earlyBytes
    earlyBytes = []
    stream.start(transport: raw, keys: handshaken.keys, head: head, ended: earlyEnd)
    relay?.attached(raw: raw, stream: stream)
  }

  func move(_ relay: RelayPath, to route: SocketRoute) -> Bool {
    guard let handshaken, relay.move(to: route.remote, socket: route.socket, remoteID: handshaken.streamID) else {
      return false
    }
    node.statistics.relaying.upgrades += 1
    return true
  }

  func release(_ path: RacePath, _ release: RaceRelease) {
    guard path == .punch else { return }
    if release == .kept { punch?.succeed() } else { punch?.destroy() }
    punch = nil
  }

  func ended(_ end: RaceEnd) {
    stream.onDestroying = nil
    search?.stop()
    search = nil
    session.destroy()
    handshake = nil
    node.connectors[ObjectIdentifier(self)] = nil
    switch end {
    case .won, .moved, .stayed: break
    case .failed(let error):
      node.statistics.connects.failed += 1
      close()
      stream.destroy(EncryptedStreamError(error))
    case .lost(let error): stream.destroy(EncryptedStreamError(error))
    case .cancelled: close()
    }
  }

  private func stopListening() {
    raw.onClose = nil
    raw.onEnd = nil
    raw.onData = nil
  }

  /// A stream that runs owns its transport.
  private func close() {
    earlyBytes = []
    guard !isConnected else { return }
    stopListening()
    raw.firewall = nil
    raw.destroy()
  }
}
