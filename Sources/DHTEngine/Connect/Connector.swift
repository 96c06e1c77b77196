import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

/// One outgoing connection on its way: finds the server, shakes hands through a node of the DHT, and lets the paths to
/// it race (hyperdht.md 6).
///
/// A direct path that has won is only a trial until the peer's header has come over it: addresses and judgements about
/// what is reachable may be wrong or out of date. A trial that rests on such a judgement is followed by a second
/// handshake that trusts none, and so is a handshake after which the server says nothing more. Lives in the node's list
/// until the race is over.
final class Connector {
  unowned let node: DHTNode
  let publicKey: Bytes32
  let target: Bytes32
  let keyPair: KeyPair
  let options: ConnectOptions
  let stream: EncryptedStream
  private(set) var raw: any TransportStream
  private var search: CandidateSearch?
  private let session: RequestSession
  private lazy var tokens = RelayTokens(node: node)
  /// The moment of the caller's deadline.
  private(set) var deadline: UInt64?
  /// Message 1 is the same through every node (hyperdht.md 4.6).
  private var handshake: PeerHandshake?
  private var message: [UInt8] = []
  private var isOpen = false
  private var tried: [Endpoint] = []
  /// The node that carried the handshake before.
  private(set) var lastRelay: Endpoint?
  private(set) var handshaken: Handshaken?
  private(set) lazy var driver = PathRaceDriver(
    node: node, role: .dialling, owner: self, isRelayOnly: options.relayOnly)
  /// Of all handshakes, for the stream.
  private let logs = Logs()
  private final class Logs { var all: [PathRaceDriver.Log] = [] }
  /// Handshakes that have led to no peer.
  private var failedHandshakes = 0
  /// The path rests on a judgement, ours or the server's, that may be wrong.
  private var restsOnJudgement = false
  /// The server has said nothing since its message 2: it may have forgotten us to make room for others.
  private var isForgotten = false
  /// What was sent on the path that is tried.
  private var opening: StreamOpening?
  private var trialTimer: (any ScheduledAction)?
  private var former: FormerTrial?
  private(set) var lease: SocketLease?
  /// Why the second handshake has failed, while the former trial goes on.
  private var failure: EncryptedStreamError?
  private var punch: ClientPunch?
  private var local: LocalProbe?
  /// Our choice of relay, if any, and the token for it; the server may have another.
  private(set) var ticket: RelayTicket?
  /// What the server has sent before its handshake reply was here (hyperdht.md 9.1).
  private var earlyBytes: [UInt8] = []
  private var earlyEnd = false
  private var isConnected = false
  private var isFinished = false
  private var isResuming = false

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
    ticket = options.relayThrough?.pick(node.environment).flatMap {
      $0 == publicKey ? nil : RelayTicket(publicKey: $0, token: node.environment.random32(), isInitiator: true)
    }
  }

  func start() {
    node.statistics.connects.started += 1
    stream.onDestroying = { [weak self] in self?.cancel() }
    stream.pathTimeline = { [logs] in PathTimeline.lines(of: logs.all.map(\.timeline)) }
    if options.deadline > 0 { deadline = now + min(options.deadline, .max - now) }
    beginAttempt()
    // A later turn, so that the caller can set the stream's callbacks first.
    node.environment.defer { [weak self] in self?.beginSearch() }
  }

  private func beginAttempt() {
    logs.all.append(driver.log)
    listenForEarlyPackets()
    driver.send(.started(deadline: timeLeft ?? 0))
  }

  private func listenForEarlyPackets() {
    raw.firewall = { [weak self] socket, source in self?.driver.takes(socket, source) ?? false }
    raw.judgesSource = { [weak self] in self?.handshaken?.judge($0, after: self?.earlyBytes ?? []) ?? .undecided }
    raw.onData = { [weak self] bytes in
      guard let self else { return }
      guard earlyBytes.count + bytes.count <= Limits.Connect.earlyBytes else {
        return fail(.other("the peer sent too much before the handshake was done"))
      }
      earlyBytes.append(contentsOf: bytes)
      heard()
    }
    raw.onEnd = { [weak self] in
      self?.earlyEnd = true
      self?.heard()
    }
    raw.onClose = { [weak self] error in self?.transportClosed(error) }
  }

  private func transportClosed(_ error: TransportStreamError?) {
    guard opening != nil else {
      return fail(error == .reset ? .peerConnectionFailed : .other("the transport stream closed"))
    }
    giveUp(error.map { .transport($0) } ?? .endedDuringHandshake)
  }

  func fail(_ error: DHTError) {
    if driver.race.isOver { finish(EncryptedStreamError(error)) } else { driver.send(.gaveUp(error)) }
  }

  private func cancel() {
    if driver.race.isOver { finish(nil) } else { driver.send(.cancelled) }
  }

  // MARK: Finding a way in

  private var isSearching: Bool { driver.race.state == .handshaking }

  private func beginSearch() {
    guard isSearching else { return }
    if failedHandshakes == 0, wantsRoute, let route = node.routes[publicKey] { return tryRoute(route) }
    let search = CandidateSearch(node: node, target: target, hints: hints(), tokens: tokens)
    self.search = search
    search.attempt = { [weak self] relay, done in self?.attempt(relay, done) }
    search.onExhausted = { [weak self] in self?.fail($0) }
    search.start()
  }

  private func tryRoute(_ route: SocketRoute) {
    attempt(route.remote, from: route.socket) { [weak self] succeeded in
      guard let self, !succeeded, isSearching else { return }
      node.routes.forget(publicKey)
      // The server may have begun, with that message 1, to send to that stream on a path that does not work.
      handshake = nil
      close()
      restart()
    }
  }

  /// Noise message 1, made at the first attempt: only then our sockets and addresses are known.
  private func firstMessage() throws -> [UInt8] {
    if handshake != nil { return message }
    // Once such a judgement has failed, neither ours nor the server's is trusted.
    let ownAddress = failedHandshakes == 0 && !options.relayOnly ? node.rpc.remoteAddress : nil
    isOpen = ownAddress != nil
    var handshake = try PeerHandshake(
      dialling: publicKey, as: keyPair, ephemeral: NoiseKey(seed: node.environment.random32()),
      hook: options.handshake)
    message = try handshake.send(payload: firstPayload(ownAddress: ownAddress).encoded)
    self.handshake = handshake
    return message
  }

  /// `socket`: that of a route, where the server is at this address itself.
  private func attempt(_ relay: Endpoint, from socket: (any DatagramSocket)? = nil, _ done: @escaping (Bool) -> Void) {
    guard isSearching else { return done(false) }
    let noise: [UInt8]
    do {
      noise = try firstMessage()
    } catch {
      // A server key that is no usable point, or a handshake of the application that fails.
      done(false)
      return fail(error as? DHTError ?? .handshakeInvalid)
    }
    if socket == nil { tried.append(relay) }
    let request = RequestMessage(
      command: Command.peerHandshake.rawValue, target: target,
      value: HandshakeMessage(mode: .fromClient, noise: noise).encoded)
    var options = RequestOptions(session: session, socket: socket)
    if socket != nil { options.retries = Limits.Connect.routeRetries }
    tokens.request(request, to: relay, options: options) { [weak self] result in
      guard let self, isSearching, case .success(let response) = result else { return done(false) }
      done(receive(response, from: relay))
    }
  }

  private func receive(_ response: Response, from relay: Endpoint) -> Bool {
    guard response.error == 0, response.from.endpoint == relay, let value = response.value,
      let reply = try? CompactReader.decode(HandshakeMessage.self, from: value),
      let result = handshake?.read(reply, in: response, from: relay)
    else { return false }
    if let refusal = result.payload.refusal { fail(refusal) } else { open(result) }
    return true
  }

  /// The server has answered our message 1 once more, at `remote`, and the answer is another one: what it knew of the
  /// first is gone. It streams to where this request came from.
  private func adopt(_ reply: HandshakeMessage, in response: Response, from remote: Endpoint) -> Bool {
    let result = response.error == 0 ? handshake?.read(reply, in: response, from: remote) : nil
    guard let result, result.payload.refusal == nil, !isConnected else { return false }
    handshaken = result
    return true
  }

  // MARK: Opening a path

  private func open(_ result: Handshaken) {
    handshaken = result
    search?.stop()
    search = nil
    session.destroy()
    if driver.race.early != nil { return driver.send(.handshaken(direct: nil, contestants: [])) }
    if options.relayOnly { return driver.send(.handshaken(direct: nil, contestants: relay(result).map { [$0] } ?? [])) }
    // The server streams to where our request came from, so the socket that got the reply is the right one.
    guard result.isRelayed else { return attach(result.socket, result.serverAddress) }
    if result.payload.firewall == .open || result.payload.holepunch?.relays.isEmpty ?? true {
      // A server that repeats its claim, as deployed ones do: the direct way is tried already, by the former trial.
      if former != nil, let relay = relay(result) { return driver.send(.handshaken(direct: nil, contestants: [relay])) }
      guard let socket = node.rpc.socket else { return fail(.ioSuspended) }
      node.statistics.punches.open += 1
      restsOnJudgement = true
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
    var contestants = relay(result).map { [$0] } ?? []
    if options.localConnection {
      local = LocalProbe(node: node, target: target, message: message, handshaken: result, session: session)
      if let local { contestants.append(RaceContestant(.local, remote: local.candidate)) }
    }
    contestants.append(RaceContestant(.punch, remote: result.serverAddress, firewall: result.payload.firewall))
    return contestants
  }

  private func relay(_ result: Handshaken) -> RaceContestant? {
    // The server's choice of relay comes before ours.
    if options.followsServerRelay, let named = result.payload.relayThrough, named.publicKey != publicKey {
      ticket = RelayTicket(publicKey: named.publicKey, token: named.token, isInitiator: false)
    }
    return ticket != nil && node.relays.hasRoom(for: .ourselves) ? RaceContestant(.relay) : nil
  }

  private func startPunch() {
    guard let handshaken else { return }
    let punch = ClientPunch(
      node: node, target: target, handshaken: handshaken, tokens: tokens, options: options,
      usesFastOpen: !driver.race.pending.contains(.local))
    self.punch = punch
    punch.onConnect = { [weak self] socket, remote in
      self?.driver.send(.opened(.punch, SocketRoute(socket: socket, remote: remote)))
    }
    punch.onFailure = { [weak self, unowned punch] error in
      if !punch.isAnswered { self?.isForgotten = true }
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
    case .direct: break
    case .passive:
      restsOnJudgement = true
      // If a firewall of ours admits only those whom we have sent to, this opens it for the server's header.
      if let remote = handshaken?.serverAddress { node.rpc.socket?.send([0], to: remote) }
    case .local:
      guard let local else { return }
      let adopts = { [weak self] in self?.adopt($1, in: $0, from: local.candidate) ?? false }
      local.start(adopts: adopts) { [weak self] in self?.driver.send($0) }
    case .punch: startPunch()
    case .relay:
      guard let ticket else { return }
      driver.startRelay(ticket, streamID: raw.localID, origin: .ourselves, keepAlive: options.relayKeepAlive)
    }
  }

  func connect(_ route: SocketRoute, over path: RacePath) throws(DHTError) {
    guard let handshaken else { throw .handshakeUnfinished }
    if path.isDirect { raw.firewall = nil }
    lease = leaseForRoute(route.socket)
    if !checksSources { raw.judgesSource = nil }
    do throws(TransportError) {
      try raw.connect(socket: route.socket, remoteID: route.relayedID ?? handshaken.streamID, to: route.remote)
    } catch {
      throw .other("cannot start the stream: \(error.description)")
    }
    if !path.isDirect { settle() }
  }

  func connected(over path: RacePath, relay: RelayPath?) {
    guard path.isDirect else {
      startStream(isRelayed: true)
      if let peer = relayedPeer { relay?.attached(raw: raw, stream: stream, peer: peer) }
      return
    }
    guard let handshaken else { return }
    let opening = StreamOpening(of: stream, keys: handshaken.keys)
    self.opening = opening
    raw.write(OwnedBuffer(opening.bytes), nil)
    let usual = restsOnJudgement ? Limits.Connect.judgementTrial : Limits.Connect.pathTrial
    trialTimer = node.environment.schedule(after: min(usual, timeLeft ?? usual)) { [weak self] in self?.trialFailed() }
    heard()
  }

  func release(_ path: RacePath, _ release: RaceRelease) {
    guard path == .punch else { return }
    if release == .kept { punch?.succeed() } else { punch?.destroy() }
    punch = nil
  }

  func ended(_ end: RaceEnd) {
    switch end {
    // The peer's header is still to come.
    case .won: stopSearch()
    case .failed(.holepunchAborted) where mayHandshakeAgain: handshakeAgain()
    case .failed(.connectTimeout): finish(EncryptedStreamError(.connectTimeout))
    case .failed(let error), .lost(let error): giveUp(EncryptedStreamError(error))
    case .cancelled where isResuming: stopSearch()
    case .moved, .stayed, .cancelled: finish(nil)
    }
  }
}

// The trial of a path, and what follows it.
extension Connector {
  /// Something has come from the peer.
  private func heard() {
    guard opening != nil, earlyEnd || earlyBytes.count >= StreamOpening.minimumAnswer else { return }
    settle()
    startStream()
    registerRoute()
    finish(nil)
  }

  /// The path is the right one: the stream takes over the transport.
  private func settle() {
    stopListening()
    former?.discard()
    former = nil
    isConnected = true
    node.statistics.connects.opened += 1
    let relays = handshaken?.payload.relayAddresses.flatMap { $0.isEmpty ? nil : $0 } ?? tried
    if !relays.isEmpty { node.relayHints[publicKey] = relays }
  }

  private func startStream(isRelayed: Bool = false) {
    guard let handshaken else { return }
    let head = earlyBytes
    earlyBytes = []
    if isRelayed { stream.handshakeTimeout = Limits.Connect.pathTrial }
    stream.checksSources = checksSources
    stream.start(
      transport: raw, keys: handshaken.keys, head: head, ended: earlyEnd, opening: opening, opensWithHeader: isRelayed)
    raw.followsPeer = !isRelayed
    guard canMigrate else { return }
    node.migrations.add(raw: raw, stream: stream, peer: movable(handshaken, isRelayed: isRelayed))
  }

  private func trialFailed() {
    trialTimer = nil
    if let deadline, now >= deadline {
      finish(EncryptedStreamError(.connectTimeout))
    } else if mayHandshakeAgain {
      handshakeAgain()
    } else {
      giveUp(EncryptedStreamError(.peerConnectionFailed))
    }
  }

  private func giveUp(_ error: EncryptedStreamError) {
    guard former != nil, !isConnected else { return finish(error) }
    failure = error
    stopSearch()
    close()
  }

  /// The first path was right after all.
  private func resume(_ trial: FormerTrial) {
    guard !isFinished, !isConnected else { return }
    trial.release()
    former = nil
    stream.onDestroying = nil
    isResuming = true
    if !driver.race.isOver { driver.send(.cancelled) }
    // The second handshake has a transport of its own only from the turn on that follows its decision.
    if raw !== trial.raw { close() }
    raw = trial.raw
    handshaken = trial.handshaken
    opening = trial.opening
    earlyBytes = trial.bytes
    earlyEnd = trial.isEnded
    settle()
    startStream()
    finish(nil)
  }

  /// There is a reason why another handshake may lead where this one did not.
  private var mayHandshakeAgain: Bool {
    (restsOnJudgement || isForgotten) && failedHandshakes + 1 < Limits.Connect.handshakes
  }

  /// Starts anew with another message 1, first through the node that carried the one before.
  private func handshakeAgain() {
    stopSearch()
    if let handshaken, let opening {
      trialTimer = nil
      self.opening = nil
      former = FormerTrial(
        raw: raw, handshaken: handshaken, opening: opening, bytes: earlyBytes, environment: node.environment,
        onHeader: { [weak self] in if let self, let former { resume(former) } },
        onFailed: { [weak self] in
          self?.former = nil
          if let failure = self?.failure { self?.finish(failure) }
        })
      earlyBytes = []
    } else {
      close()
    }
    failedHandshakes += 1
    lastRelay = handshaken?.relay
    // The race that has ended is still in the call that told us.
    node.environment.defer { [weak self] in
      if let self, !isFinished { restart() }
    }
  }

  /// With another transport stream and another message 1.
  private func restart() {
    guard let fresh = node.rawStreams.make() else { return finish(EncryptedStreamError(.other("too many streams"))) }
    raw = fresh
    handshaken = nil
    // The server's former session may wait at the relay for the former token.
    ticket?.token = node.environment.random32()
    (message, tried) = ([], [])
    earlyEnd = false
    restsOnJudgement = false
    isForgotten = false
    local = nil
    driver = PathRaceDriver(node: node, role: .dialling, owner: self, isRelayOnly: options.relayOnly)
    beginAttempt()
    beginSearch()
  }

  private func stopSearch() {
    search?.stop()
    search = nil
    session.destroy()
    handshake = nil
  }

  /// The end of the attempt, once: the stream runs, or it is destroyed with the reason.
  private func finish(_ error: EncryptedStreamError?) {
    guard !isFinished else { return }
    isFinished = true
    stream.onDestroying = nil
    stopSearch()
    node.connectors[ObjectIdentifier(self)] = nil
    close()
    former?.discard()
    former = nil
    guard let error else { return }
    if !isConnected { node.statistics.connects.failed += 1 }
    stream.destroy(error)
  }

  private func stopListening() {
    raw.onClose = nil
    raw.onEnd = nil
    raw.onData = nil
  }

  /// A stream that runs owns its transport.
  private func close() {
    trialTimer?.cancel()
    trialTimer = nil
    opening = nil
    guard !isConnected else { return }
    earlyBytes = []
    stopListening()
    raw.firewall = nil
    raw.destroy()
  }
}
