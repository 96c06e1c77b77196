import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

/// Claims to be reachable that have led nowhere, so that they are not trusted for a while.
struct ClaimDoubts: OptionSet {
  let rawValue: UInt8
  static let none: ClaimDoubts = []
  static let ours = ClaimDoubts(rawValue: 1)
  static let clients = ClaimDoubts(rawValue: 2)
}

/// One client's way from Noise message 1 to a connection, server side (hyperdht.md 7.2).
///
/// Owns its stream, puncher and timers; `close` releases all of them.
final class ServerSession {
  enum State {
    /// Waits for the firewall hook.
    case deciding
    /// Waits for the self-test of local addresses.
    case preparing
    /// Message 2 exists; the client's next step is awaited.
    case answered
    /// The stream runs, the client has not shown itself on it yet.
    case attached
    /// The connection belongs to the application.
    case connected
    /// Nothing will come of it; remembered until cleared.
    case dead
  }

  /// How the table counts the session.
  enum Standing {
    /// The client may not exist: a newcomer may take the place.
    case waiting
    /// The client has got message 2.
    case proven
    /// No longer under way.
    case settled
  }

  /// Noise message 1, which the table knows the session by.
  let message: [UInt8]
  let clientAddress: Endpoint
  let origin: HandshakeOrigin
  private(set) var state = State.deciding
  // These three are kept by the table.
  var index = 0
  var order: UInt64 = 0
  var standing = Standing.waiting

  unowned let server: DHTServer
  unowned let node: DHTNode
  private let request: HandshakeRequest
  private var handshake: PeerHandshake
  private(set) var remotePayload: NoisePayload
  private(set) var keys: SessionKeys?
  private(set) var answer: HandshakeReply?
  /// The answer says that we are reachable.
  private var claimsOpen = false
  /// What handshakes of this client before have shown.
  var doubts = ClaimDoubts.none
  private let beganAt: UInt64
  private var waiters: [(HandshakeReply?) -> Void] = []

  private(set) var raw: (any TransportStream)?
  /// The stream that this handshake finds another path for, instead of making one.
  private var resumed: StreamMigration?
  private var stream: EncryptedStream?
  /// Hole punching, where it applies (hyperdht.md 8.5).
  var sealer: HolepunchSealer?
  /// Where message 2 leaves from, and what the puncher works with once there is one.
  private(set) var port: PunchPort?
  private(set) var puncher: Puncher?
  var lease: SocketLease?
  /// Highest round seen, and the state of hyperdht.md 8.5.
  var round: UInt64 = 0

  private lazy var driver = PathRaceDriver(
    node: node, role: .accepting, owner: self, isRelayOnly: server.options.relayOnly)
  /// A blind relay beside hole punching (hyperdht.md 10.3).
  private var ticket: RelayTicket?
  private var relayOrigin = RelayPath.Origin.ourselves
  private var timer: (any ScheduledAction)?
  private var clearTimer: (any ScheduledAction)?

  /// `nil` when message 1 does not decrypt or decode.
  init?(server: DHTServer, request: HandshakeRequest, origin: HandshakeOrigin, keyPair: KeyPair) {
    self.server = server
    node = server.node
    self.request = request
    self.origin = origin
    message = request.noise
    clientAddress = request.clientAddress
    beganAt = server.node.environment.nowMilliseconds
    do {
      handshake = try PeerHandshake(answeringAs: keyPair, hook: server.options.handshake)
      let bytes = try handshake.receive(request.noise)
      remotePayload = try CompactReader.decode(NoisePayload.self, from: bytes)
    } catch {
      return nil
    }
    // Nothing is made before the message has proved to be readable.
    handshake.provide(ephemeral: NoiseKey(seed: server.node.environment.random32()))
  }

  // MARK: Handshake

  var chargedClient: IPv4Address { request.chargedClient }

  var waitingEntry: SessionQueue.Entry {
    .init(order: order, origin: origin, sender: request.from.host, client: chargedClient)
  }

  var remoteKey: Bytes32? { handshake.remotePublicKey }

  /// What the client's next handshake has to know. A client that was told that we are reachable, and shakes hands again
  /// without having come, shows that the claim is wrong for it; one that says so of itself, and was not heard where it
  /// says, that its claim is.
  var lesson: ClaimDoubts {
    guard state != .connected else { return doubts }
    var lesson = doubts
    if claimsOpen { lesson.insert(.ours) }
    let age = node.environment.nowMilliseconds &- beganAt
    if remotePayload.firewall == .open, age >= Limits.Server.claimTrial { lesson.insert(.clients) }
    return lesson
  }

  /// Copies of one message, through whichever relay, all get the same answer.
  func wait(_ completion: @escaping (HandshakeReply?) -> Void) {
    if let answer { return completion(answer) }
    guard state != .dead, waiters.count < Limits.Server.handshakeCopies else { return completion(nil) }
    waiters.append(completion)
  }

  func begin() {
    // The connection was let in when it was made. Without one the client is a stranger like others, whatever it names.
    if let id = remotePayload.migration?.resumedStream, node.options.migration,
      node.migrations.resumable(id, by: remoteKey, at: server.publicKey) != nil
    {
      return prepare()
    }
    guard let firewall = server.options.firewall, let remoteKey = handshake.remotePublicKey else {
      return prepare()
    }
    timer = node.environment.schedule(after: server.options.handshakeClearWait) { [weak self] in
      self?.decide(.reject)
    }
    firewall(remoteKey, remotePayload, clientAddress) { [weak self] verdict in self?.decide(verdict) }
  }

  private func decide(_ verdict: FirewallVerdict) {
    guard state == .deciding else { return }
    timer?.cancel()
    timer = nil
    switch verdict {
    case .accept: prepare()
    case .reject:
      // Silence: a refused client cannot tell that there is a server.
      kill()
      server.refuse(self)
    }
  }

  private func prepare() {
    state = .preparing
    guard server.options.shareLocalAddress else { return reply(localAddresses: []) }
    node.localAddressValidator.validate(node.localAddresses) { [weak self] usable in
      self?.reply(localAddresses: usable)
    }
  }

  private func reply(localAddresses: [Endpoint]) {
    guard state == .preparing else { return }
    let ownAddress = doubts.contains(.ours) || server.options.relayOnly ? nil : node.rpc.remoteAddress
    var error = PayloadError.none
    if remotePayload.version != NoisePayload.currentVersion {
      error = .versionMismatch
    } else if remotePayload.udx == nil {
      error = .aborted
    } else if server.isBusy, remotePayload.migration?.resumedStream == nil {
      error = .tryLater
    }
    if error == .none, let id = remotePayload.migration?.resumedStream, node.options.migration {
      resumed = node.migrations.resumable(id, by: remoteKey, at: server.publicKey)
      error = resumed.map { $0.yields() ? .none : .tryLater } ?? .aborted
    } else if error == .none {
      guard let raw = node.rawStreams.make() else { return drop() }
      self.raw = raw
      raw.setReceiveLimit(EncryptedStream.strangerLimit)
      raw.firewall = { [weak self] socket, source in self?.takes(socket, source) ?? false }
      raw.onClose = { [weak self] _ in self?.die() }
    }
    if error == .none, resumed == nil, let key = server.options.relayThrough?.pick(node.environment),
      key != server.publicKey
    {
      ticket = RelayTicket(publicKey: key, token: node.environment.random32(), isInitiator: true)
    }
    claimsOpen = ownAddress != nil && resumed == nil
    let addresses = (ownAddress.map { [$0] } ?? []) + localAddresses
    let announcer = server.announcer
    let payload = NoisePayload(
      error: error, firewall: ownAddress == nil ? .unknown : .open,
      holepunch: ownAddress == nil ? .init(id: UInt64(index), relays: announcer?.relays ?? []) : nil,
      addresses4: addresses,
      udx: .init(reusableSocket: wantsRoute, id: (raw ?? resumed?.raw)?.localID ?? 0),
      secretStream: .init(),
      relayThrough: ticket.map { .init(publicKey: $0.publicKey, token: $0.token) },
      relayAddresses: server.relayAddresses.isEmpty ? nil : server.relayAddresses,
      migration: canMigrate ? .init() : nil)
    guard let noise = try? handshake.send(payload: payload.encoded), let keys = handshake.sessionKeys() else {
      return drop()
    }
    self.keys = keys
    raw?.judgesSource = {
      StreamOpening.judge($0, after: UnsafeRawBufferPointer(start: nil, count: 0), keys: keys)
    }
    state = .answered
    guard error == .none else {
      finish(HandshakeReply(noise: noise))
      return die()
    }
    if let resumed { return resume(resumed, noise: noise, isOpen: ownAddress != nil) }
    choosePath(noise: noise, keys: keys, ownAddress: ownAddress, localAddresses: localAddresses)
  }

  /// A living stream looks for another path: holes are punched as for a new one, and the stream takes the path by
  /// itself (hyperdht-extensions.md 3).
  private func resume(_ stream: StreamMigration, noise: [UInt8], isOpen: Bool) {
    guard !request.isDirect else {
      finish(HandshakeReply(noise: noise))
      return die()
    }
    stream.hooks.onTaken = { [weak self] route in
      self?.driver.send(.packet(SocketRoute(socket: route.socket, remote: route.remote)))
    }
    let path: RacePath = !isOpen && server.options.allowsHolepunching ? .punch : .passive
    let contestant = RaceContestant(path, remote: clientAddress, firewall: remotePayload.firewall)
    driver.send(.handshaken(direct: nil, contestants: [contestant]))
    finish(HandshakeReply(noise: noise, socket: port?.socket))
  }

  /// Steps 9 to 13 of hyperdht.md 7.2.
  private func choosePath(noise: [UInt8], keys: SessionKeys, ownAddress: Endpoint?, localAddresses: [Endpoint]) {
    if server.options.relayOnly {
      driver.send(.handshaken(direct: nil, contestants: mayRelay() ? [RaceContestant(.relay)] : []))
      return finish(HandshakeReply(noise: noise))
    }
    // A client whose claim was wrong waits for our packets all the same; a relay that one of us names is a way.
    let relays = !request.isDirect && doubts.contains(.clients) && mayRelay()
    if request.isDirect || (remotePayload.firewall == .open && !relays) {
      node.statistics.punches.open += 1
      let socket = request.isDirect ? request.socket : node.rpc.socket  // The client may send to where it is from.
      finish(HandshakeReply(noise: noise, socket: socket))
      guard let socket else { return die() }
      return driver.send(.handshaken(direct: SocketRoute(socket: socket, remote: clientAddress), contestants: []))
    }
    let mayPunch = ownAddress == nil && server.options.allowsHolepunching
    var contestants = mayRelay() ? [RaceContestant(.relay)] : []
    contestants.append(
      RaceContestant(mayPunch ? .punch : .passive, remote: clientAddress, firewall: remotePayload.firewall))
    driver.send(.handshaken(direct: nil, contestants: contestants))
    let isSameNetwork =
      clientAddress.host == request.to.host && !localAddresses.isEmpty
      && AddressMatch.best(own: localAddresses, other: remotePayload.addresses4.filter(\.host.isPrivate)) != nil
    // The client learns our punch socket's mapping from where the answer comes from (hyperdht.md 7.4), unless it will
    // try the local network, where the normal socket is known to work.
    finish(HandshakeReply(noise: noise, socket: isSameNetwork ? nil : port?.socket))
  }

  private func finish(_ answer: HandshakeReply) {
    self.answer = answer
    let waiting = waiters
    waiters = []
    for waiter in waiting { waiter(answer) }
  }

  // MARK: Stream

  /// A packet for the stream, whose id only message 2 tells.
  private func takes(_ socket: any DatagramSocket, _ source: Endpoint) -> Bool {
    guard driver.takes(socket, source) else { return false }
    server.proved(self)
    return true
  }

  private func makeStream(_ keys: SessionKeys) -> EncryptedStream {
    let stream = EncryptedStream(
      environment: node.environment, isInitiator: false, publicKey: keys.publicKey,
      remotePublicKey: keys.remotePublicKey)
    stream.keepAlive = server.options.connectionKeepAlive ?? node.options.connectionKeepAlive
    stream.maximumFrame = node.options.maximumFrame
    stream.strangers = node.strangers
    stream.strangerHost = raw?.remote?.host
    stream.pathTimeline = { [log = driver.log] in log.timeline.lines }
    // Message 1 may be a replay: there is a client only once it proves to know the handshake (hyperdht.md B-21,
    // hyperdht.md C-1).
    stream.onRemoteHeader = { [weak self] in self?.emit() }
    stream.onClose = { [weak self] _ in self?.die() }
    timer = node.environment.schedule(after: Limits.Server.phantomTimeout) { [weak self] in
      if let self, state == .attached { die() }
    }
    return stream
  }

  private func emit() {
    guard state == .attached, let stream else { return }
    state = .connected
    timer?.cancel()
    timer = nil
    stream.onRemoteHeader = nil
    stream.onClose = nil
    registerRoute(stream)
    self.stream = nil
    raw = nil
    server.settled(self)
    // A direct path may still be found, for which the client has to find this session.
    if driver.race.isOver { server.scheduleClearing(self) }
    server.onConnection?(stream)
  }

  // MARK: Paths

  /// Hole punching messages are of use.
  var mayPunch: Bool { driver.race.mayPunch }
  var hasRelay: Bool { driver.relay != nil }

  /// The client is punching: from here on the puncher bounds the session.
  func clientPunches() { driver.send(.peerPunches) }

  /// Punching failed (hyperdht.md 7.3).
  func abort() { driver.send(.directFailed(.holepunchAborted("hole punching failed, or the client gave it up"))) }

  /// Our choice of relay, else the client's.
  private func mayRelay() -> Bool {
    if ticket == nil, let named = remotePayload.relayThrough {
      let isWanted = server.options.acceptsRelay?(named.publicKey) ?? true
      guard isWanted, named.publicKey != server.publicKey, server.hasRoomForRelay(of: .client) else {
        node.statistics.relaying.refused += 1
        return false
      }
      relayOrigin = .client
      ticket = RelayTicket(publicKey: named.publicKey, token: named.token, isInitiator: false)
    }
    return ticket != nil && raw != nil && server.hasRoomForRelay(of: relayOrigin)
  }

  private func startRelay() {
    guard let ticket, let raw else { return }
    node.statistics.relaying.attempts += 1
    server.table.relayStarted(self, relayOrigin)
    // What comes over the relay before its answer is kept by the stream.
    raw.pauseReading()
    driver.startRelay(
      ticket, streamID: raw.localID, origin: relayOrigin, keepAlive: server.options.relayKeepAlive)
  }

  /// The client can read what the handshake has agreed on. Only from here on is there work for it alone.
  func clientProved() {
    server.proved(self)
    guard puncher == nil, let port else { return }
    let puncher = Puncher(node: node, isInitiator: false, remoteFirewall: remotePayload.firewall, port: port)
    puncher.onAbort = { [weak self] in self?.abort() }
    self.puncher = puncher
  }

  // MARK: End

  /// Ends the attempt and leaves the entry to the clearing timer.
  private func die() {
    guard state != .dead, state != .connected else { return }
    if state == .attached { node.statistics.handshakes.phantoms += 1 }
    kill()
    server.settled(self)
    server.scheduleClearing(self)
  }

  /// Ends the attempt without a trace.
  private func drop() {
    kill()
    server.clear(self)
  }

  private func kill() {
    guard state != .dead else { return }
    let wasConnected = state == .connected
    state = .dead
    timer?.cancel()
    timer = nil
    let waiting = waiters
    waiters = []
    driver.send(.cancelled)
    if !wasConnected {
      raw?.onClose = nil
      stream?.onClose = nil
      stream?.onRemoteHeader = nil
      stream?.destroy()
      raw?.destroy()
    }
    stream = nil
    raw = nil
    for waiter in waiting { waiter(nil) }
  }

  /// Called when the server forgets the session.
  func close() {
    clearTimer?.cancel()
    clearTimer = nil
    guard state == .connected else { return kill() }
    // The connection lives on, on the relay if it still is there.
    state = .dead
    driver.send(.cancelled)
  }

  func scheduleClear(after milliseconds: UInt64, _ body: @escaping () -> Void) {
    guard clearTimer == nil else { return }
    clearTimer = node.environment.schedule(after: milliseconds, body)
  }
}

extension ServerSession: PathRaceOwner {
  func start(_ contestant: RaceContestant) {
    switch contestant.path {
    case .relay: return startRelay()
    case .punch, .passive:
      guard let keys else { return }
      // Also without a puncher: then hole punching messages are answered with "aborted" instead of silence.
      sealer = HolepunchSealer(handshakeHash: keys.handshakeHash, localSecret: node.environment.random32())
      if contestant.path == .punch { port = node.punchPorts.acquire() }
    case .direct, .local: break
    }
  }

  func connect(_ route: SocketRoute, over path: RacePath) throws(DHTError) {
    if resumed != nil {
      state = .connected
      return server.settled(self)
    }
    if path == .relay {
      node.statistics.relaying.successes += 1
      server.table.relayPaired(self)
    }
    guard let raw, let udx = remotePayload.udx else { throw .handshakeUnfinished }
    if path.isDirect { raw.firewall = nil }
    lease = leaseForRoute(route.socket)
    if !checksSources { raw.judgesSource = nil }
    do throws(TransportError) {
      try raw.connect(socket: route.socket, remoteID: route.relayedID ?? udx.id, to: route.remote)
    } catch {
      throw .other("cannot start the stream: \(error.description)")
    }
    if driver.race.isClaimed { raw.limitUntilHeard() }
    state = .attached
  }

  func connected(over path: RacePath, relay: RelayPath?) {
    guard state == .attached, let raw, let keys, let udx = remotePayload.udx else { return }
    raw.resumeReading()
    let stream = makeStream(keys)
    self.stream = stream
    stream.checksSources = checksSources
    stream.start(transport: raw, keys: keys)
    raw.followsPeer = relay == nil
    if canMigrate, let keyPair = server.keyPair {
      let peer = MovablePeer(
        keyPair: keyPair, keys: keys, remoteID: udx.id, isRelayed: relay != nil, handshake: server.options.handshake)
      node.migrations.add(raw: raw, stream: stream, peer: peer)
    }
    let hosts = Set(remotePayload.addresses4.prefix(Limits.Punch.peerAddresses).map(\.host) + [clientAddress.host])
    let peer = RelayedPeer(remoteID: udx.id, hosts: hosts, routeKey: keepsRoute ? remoteKey : nil)
    relay?.attached(raw: raw, stream: stream, peer: peer)
  }

  func release(_ path: RacePath, _ release: RaceRelease) {
    switch path {
    case .relay: if release == .dropped { node.statistics.relaying.aborts += 1 }
    case .punch:
      puncher?.onAbort = nil
      if release == .kept { puncher?.succeed() } else { puncher?.destroy() }
      puncher = nil
      port?.release()
      port = nil
    case .direct, .passive, .local: break
    }
  }

  func ended(_ end: RaceEnd) {
    switch end {
    case .failed, .lost: die()
    case .won, .moved, .stayed: if state == .connected { server.scheduleClearing(self) }
    case .cancelled: break
    }
  }
}
