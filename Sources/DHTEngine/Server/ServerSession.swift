import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

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

  let index: Int
  /// Noise message 1, which the table knows the session by.
  let message: [UInt8]
  let clientAddress: Endpoint
  private(set) var state = State.deciding
  /// Kept by the table: no longer counts as under way.
  var isSettled = false

  unowned let server: DHTServer
  unowned let node: DHTNode
  private let request: HandshakeRequest
  private var handshake: NoiseHandshake
  private(set) var remotePayload: NoisePayload
  private(set) var keys: SessionKeys?
  private(set) var answer: HandshakeReply?
  private var waiters: [(HandshakeReply?) -> Void] = []

  private(set) var raw: (any TransportStream)?
  private var stream: EncryptedStream?
  /// Hole punching, where it applies (hyperdht.md 8.5).
  var sealer: HolepunchSealer?
  var puncher: Puncher?
  /// Highest round seen, and the state of hyperdht.md 8.5.
  var round: UInt64 = 0

  /// A blind relay beside hole punching (hyperdht.md 10.3).
  private(set) var relay: RelayPath?
  private var ticket: RelayTicket?
  /// The stream runs over the relay, and a direct path may still be found.
  private(set) var isRelayed = false
  /// No direct path will come any more.
  private var isDirectOver = false
  /// Waits for the client's next step, or for the end of attempts to leave the relay.
  private var punchTimer: (any ScheduledAction)?
  private var timer: (any ScheduledAction)?
  private var clearTimer: (any ScheduledAction)?

  /// `nil` when message 1 does not decrypt or decode.
  init?(server: DHTServer, index: Int, request: HandshakeRequest, keyPair: KeyPair) {
    self.server = server
    node = server.node
    self.index = index
    self.request = request
    message = request.noise
    clientAddress = request.clientAddress
    let ephemeral = KeyPair(seed: server.node.environment.random32())
    do {
      handshake = try NoiseHandshake(
        pattern: .ik, isInitiator: false, keyPair: keyPair, prologue: Namespaces.peerHandshake.bytes,
        ephemeral: ephemeral)
      let bytes = try handshake.receive(request.noise)
      remotePayload = try CompactReader.decode(NoisePayload.self, from: bytes)
    } catch {
      return nil
    }
  }

  // MARK: Handshake

  /// Copies of one message, through whichever relay, all get the same answer.
  func wait(_ completion: @escaping (HandshakeReply?) -> Void) {
    if let answer { return completion(answer) }
    guard state != .dead, waiters.count < Limits.Server.handshakeCopies else { return completion(nil) }
    waiters.append(completion)
  }

  func begin() {
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
    let all = LocalAddresses.list(environment: node.environment, serverSocket: node.rpc.serverSocket)
    node.localAddressValidator.validate(all) { [weak self] usable in self?.reply(localAddresses: usable) }
  }

  private func reply(localAddresses: [Endpoint]) {
    guard state == .preparing else { return }
    let ownAddress = node.rpc.remoteAddress
    var error = PayloadError.none
    if remotePayload.version != NoisePayload.currentVersion {
      error = .versionMismatch
    } else if remotePayload.udx == nil {
      error = .aborted
    }
    if error == .none {
      guard let raw = node.rawStreams.make() else { return drop() }
      self.raw = raw
      raw.firewall = { [weak self] socket, source in
        guard let self, source.port != 0 else { return false }
        // The client may use the relay before we have heard that we are paired.
        if self.relay?.isRelay(socket, source) ?? false { return true }
        return self.clientArrived(socket, source)
      }
      raw.onClose = { [weak self] _ in self?.die() }
    }
    if error == .none, let key = server.options.relayThrough?.pick(node.environment), key != server.publicKey {
      ticket = RelayTicket(publicKey: key, token: node.environment.random32(), isInitiator: true)
    }
    let addresses = (ownAddress.map { [$0] } ?? []) + localAddresses
    let announcer = server.announcer
    let payload = NoisePayload(
      error: error, firewall: ownAddress == nil ? .unknown : .open,
      holepunch: ownAddress == nil ? .init(id: UInt64(index), relays: announcer?.relays ?? []) : nil,
      addresses4: addresses, udx: .init(id: raw?.localID ?? 0), secretStream: .init(),
      relayThrough: ticket.map { .init(publicKey: $0.publicKey, token: $0.token) },
      relayAddresses: announcer.flatMap { $0.relayAddresses.isEmpty ? nil : $0.relayAddresses })
    guard let noise = try? handshake.send(payload: payload.encoded), let keys = handshake.sessionKeys() else {
      return drop()
    }
    self.keys = keys
    state = .answered
    guard error == .none else {
      finish(HandshakeReply(noise: noise))
      return die()
    }
    choosePath(noise: noise, keys: keys, ownAddress: ownAddress, localAddresses: localAddresses)
  }

  /// Steps 9 to 13 of hyperdht.md 7.2.
  private func choosePath(noise: [UInt8], keys: SessionKeys, ownAddress: Endpoint?, localAddresses: [Endpoint]) {
    if request.isDirect || remotePayload.firewall == .open {
      node.statistics.punches.open += 1
      finish(HandshakeReply(noise: noise))
      guard let socket = request.isDirect ? request.socket : node.rpc.socket else { return die() }
      return attach(socket, clientAddress)
    }
    punchTimer = node.environment.schedule(after: Limits.Server.prepunchTimeout) { [weak self] in self?.abort() }
    startRelay()
    // Also without a puncher: then hole punching messages are answered with "aborted" instead of silence.
    sealer = HolepunchSealer(handshakeHash: keys.handshakeHash, localSecret: node.environment.random32())
    guard ownAddress == nil, server.options.allowsHolepunching else {
      return finish(HandshakeReply(noise: noise))
    }
    let isSameNetwork =
      clientAddress.host == request.to.host && !localAddresses.isEmpty
      && AddressMatch.best(own: localAddresses, other: remotePayload.addresses4.filter(\.host.isPrivate)) != nil
    puncher = Puncher(node: node, isInitiator: false, remoteFirewall: remotePayload.firewall)
    puncher?.onAbort = { [weak self] in self?.abort() }
    // The client learns our punch socket's mapping from where the answer comes from (hyperdht.md 7.4), unless it will
    // try the local network, where the normal socket is known to work.
    finish(HandshakeReply(noise: noise, socket: isSameNetwork ? nil : puncher?.socket))
  }

  private func finish(_ answer: HandshakeReply) {
    self.answer = answer
    let waiting = waiters
    waiters = []
    for waiter in waiting { waiter(answer) }
  }

  // MARK: Stream

  /// Whether the packet is taken. A stream that stays on the relay takes none from elsewhere.
  private func clientArrived(_ socket: any DatagramSocket, _ source: Endpoint) -> Bool {
    if isRelayed { return upgrade(socket, source) }
    attach(socket, source)
    return state == .attached
  }

  /// The first path on which the client shows up wins (hyperdht.md 9.2).
  private func attach(_ socket: any DatagramSocket, _ remote: Endpoint) {
    guard state == .answered, let raw, let udx = remotePayload.udx else { return }
    raw.firewall = nil
    stopPrepunchTimer()
    relay?.standBy()
    relay = nil
    run(socket, remote, remoteID: udx.id)
    // After the stream has taken its socket over.
    releasePuncher()
  }

  /// Starts the stream.
  private func run(_ socket: any DatagramSocket, _ remote: Endpoint, remoteID: UInt32) {
    guard state == .answered, let raw, let keys else { return }
    do {
      try raw.connect(socket: socket, remoteID: remoteID, to: remote)
    } catch {
      return die()
    }
    state = .attached
    raw.resumeReading()
    let stream = EncryptedStream(
      environment: node.environment, isInitiator: false, publicKey: keys.publicKey,
      remotePublicKey: keys.remotePublicKey)
    stream.keepAlive = server.options.connectionKeepAlive ?? node.options.connectionKeepAlive
    self.stream = stream
    // Message 1 may be a replay: there is a client only once it proves to know the handshake (hyperdht.md B-21, C-1).
    stream.onRemoteHeader = { [weak self] in self?.emit() }
    stream.onClose = { [weak self] _ in self?.die() }
    timer = node.environment.schedule(after: Limits.Server.phantomTimeout) { [weak self] in
      if let self, state == .attached { die() }
    }
    stream.start(transport: raw, keys: keys)
  }

  private func emit() {
    guard state == .attached, let stream else { return }
    state = .connected
    timer?.cancel()
    timer = nil
    stream.onRemoteHeader = nil
    stream.onClose = nil
    self.stream = nil
    raw = nil
    server.settled(self)
    // A direct path may still be found, for which the client has to find this session.
    if !isRelayed { server.scheduleClearing(self) }
    server.onConnection?(stream)
  }

  private func releasePuncher() {
    puncher?.onAbort = nil
    puncher?.succeed()
    puncher = nil
  }

  /// The client is punching: from here on the puncher bounds the session.
  func stopPrepunchTimer() {
    guard !isRelayed else { return }
    punchTimer?.cancel()
    punchTimer = nil
  }

  // MARK: Relay

  /// Hole punching messages are of use.
  var mayPunch: Bool { state == .answered || isRelayed }

  private func startRelay() {
    var origin = RelayPath.Origin.ourselves
    if ticket == nil, let named = remotePayload.relayThrough {
      let isWanted = server.options.acceptsRelay?(named.publicKey) ?? true
      guard isWanted, named.publicKey != server.publicKey, node.relays.hasRoom(for: .client) else {
        node.statistics.relaying.refused += 1
        return
      }
      origin = .client
      ticket = RelayTicket(publicKey: named.publicKey, token: named.token, isInitiator: false)
    }
    guard let ticket, let raw, node.relays.hasRoom(for: origin) else { return }
    node.statistics.relaying.attempts += 1
    let relay = RelayPath(node: node, ticket: ticket, streamID: raw.localID, origin: origin)
    self.relay = relay
    // What comes over the relay before its answer is kept by the stream.
    raw.pauseReading()
    relay.onPaired = { [weak self] in self?.attachRelayed($0) }
    relay.onFailed = { [weak self] _ in
      guard let self else { return }
      self.relay = nil
      node.statistics.relaying.aborts += 1
      if isDirectOver { die() }
    }
    relay.start(keepAlive: server.options.relayKeepAlive)
  }

  private func attachRelayed(_ way: RelayPath.Attachment) {
    node.statistics.relaying.successes += 1
    guard state == .answered, let raw, let relay else { return }
    run(way.socket, way.remote, remoteID: way.remoteID)
    guard state == .attached, let stream else { return }
    isRelayed = true
    relay.onLeft = { [weak self] in self?.leftRelay() }
    relay.attached(raw: raw, stream: stream)
    punchTimer?.cancel()
    punchTimer = node.environment.schedule(after: Limits.Relay.upgradeWindow) { [weak self] in self?.abort() }
    if isDirectOver { giveUpDirect() }
  }

  /// The client has shown itself on a direct path.
  private func upgrade(_ socket: any DatagramSocket, _ remote: Endpoint) -> Bool {
    guard !isDirectOver, let relay, let udx = remotePayload.udx,
      relay.move(to: remote, socket: socket, remoteID: udx.id)
    else { return false }
    node.statistics.relaying.upgrades += 1
    leftRelay()
    return true
  }

  /// The stream has moved or closed, or stays on the relay for good: the session has done its work.
  private func leftRelay() {
    relay?.onLeft = nil
    relay = nil
    isRelayed = false
    punchTimer?.cancel()
    punchTimer = nil
    releasePuncher()
    if state == .connected { server.scheduleClearing(self) }
  }

  private func giveUpDirect() {
    isDirectOver = true
    puncher?.onAbort = nil
    puncher?.destroy()
    puncher = nil
    if isRelayed {
      leftRelay()
    } else if relay == nil {
      die()
    }
  }

  // MARK: End

  /// Nobody came in time, or punching failed (hyperdht.md 7.3).
  func abort() {
    guard mayPunch else { return }
    giveUpDirect()
  }

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
    punchTimer?.cancel()
    punchTimer = nil
    if let relay {
      relay.onLeft = nil
      if !relay.isRunning { node.statistics.relaying.aborts += 1 }
      relay.discard()
    }
    relay = nil
    isRelayed = false
    let waiting = waiters
    waiters = []
    puncher?.onAbort = nil
    puncher?.destroy()
    puncher = nil
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
    if isRelayed { leftRelay() }
    state = .dead
  }

  func scheduleClear(after milliseconds: UInt64, _ body: @escaping () -> Void) {
    guard clearTimer == nil else { return }
    clearTimer = node.environment.schedule(after: milliseconds, body)
  }
}
