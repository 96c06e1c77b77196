import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

/// One outgoing connection on its way: finds the server, shakes hands through a node of the DHT, opens a path
/// (hyperdht.md 6).
///
/// Lives in the node's list until the stream runs or has failed. Whoever reaches the raw stream first wins.
final class Connector {
  private enum State {
    case idle
    /// Looking for nodes and trying handshakes through them.
    case searching
    /// Keys exist; paths are being tried.
    case opening
    /// The stream runs over a relay; direct paths are still being tried.
    case relayed
    case done
  }

  /// Ways to the peer that are being tried after the handshake.
  private enum Path {
    case passive, local, punch, relay
  }

  private unowned let node: DHTNode
  private let publicKey: Bytes32
  private let target: Bytes32
  private let keyPair: KeyPair
  private let options: ConnectOptions
  private let stream: EncryptedStream
  private let raw: any TransportStream
  private var state = State.idle

  private var search: CandidateSearch?
  private let session: RequestSession
  /// Message 1 is the same through every node (hyperdht.md 4.6).
  private var handshake: NoiseHandshake?
  private var message: [UInt8] = []
  private var isOpen = false
  private var tried: [Endpoint] = []

  private(set) var keys: SessionKeys?
  private(set) var remotePayload: NoisePayload?
  private var paths: Set<Path> = []
  private var lastError = DHTError.cannotHolepunch("no way to the peer could be tried")
  private var punch: ClientPunch?
  /// Our choice of relay, if any, and the token for it; the server may have another.
  private let ticket: RelayTicket?
  private var relay: RelayPath?
  /// A local address that answers pings without having proven to be the server's.
  private var lastResort: (socket: any DatagramSocket, address: Endpoint)?
  private var timer: (any ScheduledAction)?
  private var deadline: (any ScheduledAction)?

  /// The server's stream packets may overtake its handshake reply (hyperdht.md 9.1).
  private var early: (socket: any DatagramSocket, source: Endpoint)?
  private var earlyBytes: [UInt8] = []
  private var earlyEnd = false

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
    state = .searching
    node.statistics.connects.started += 1
    stream.onDestroying = { [weak self] in self?.finish() }
    listenForEarlyPackets()
    if options.deadline > 0 {
      deadline = node.environment.schedule(after: options.deadline) { [weak self] in self?.fail(.connectTimeout) }
    }
    // A later turn, so that the caller can set the stream's callbacks first.
    node.environment.defer { [weak self] in self?.beginSearch() }
  }

  private func listenForEarlyPackets() {
    raw.firewall = { [weak self] socket, source in
      guard let self, source.port != 0 else { return false }
      // The server may use the relay before we have heard that we are paired.
      if relay?.isRelay(socket, source) ?? false { return true }
      if state == .opening {
        attach(socket, source)
      } else if state == .relayed {
        guard !paths.isEmpty else { return false }
        attach(socket, source)
      } else if early == nil {
        early = (socket, source)
      }
      return true
    }
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

  // MARK: Finding a way in

  private func beginSearch() {
    guard state == .searching else { return }
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
    guard state == .searching else { return done(false) }
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
      guard let self, state == .searching, case .success(let response) = result else { return done(false) }
      let succeeded = receive(response, from: relay)
      done(succeeded)
    }
  }

  /// A reply may be anybody's: it works on a copy of the handshake (hyperdht.md 4.6, B-7).
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

  private var handshaken: Handshaken?

  private func open(_ result: Handshaken) {
    state = .opening
    handshaken = result
    keys = result.keys
    remotePayload = result.payload
    search?.stop()
    search = nil
    session.destroy()
    if let early { return attach(early.socket, early.source) }
    // The server streams to where our request came from, so the socket that got the reply is the right one.
    guard result.isRelayed else { return attach(result.socket, result.serverAddress) }
    if result.payload.firewall == .open || result.payload.holepunch?.relays.isEmpty ?? true {
      guard let socket = node.rpc.socket else { return fail(.ioSuspended) }
      node.statistics.punches.open += 1
      let address = result.serverAddresses.first { !$0.host.isBogon } ?? result.serverAddress
      return attach(socket, address)
    }
    if isOpen { return waitForServer() }
    startRelay(result)
    if options.localConnection, result.clientAddress.host == result.serverAddress.host { tryLocal(result) }
    tryPunch(result)
  }

  /// We are reachable: the server comes to us.
  private func waitForServer() {
    paths.insert(.passive)
    timer = node.environment.schedule(after: Limits.Connect.passiveTimeout) { [weak self] in
      self?.pathFailed(.passive, .holepunchAborted("the server did not connect to us in time"))
    }
  }

  /// Both seem to be on one network: a ping tells whether the server's local address is right (hyperdht.md 6.5).
  private func tryLocal(_ result: Handshaken) {
    let usable = result.serverAddresses.filter { !$0.host.isReserved && $0.port != 0 }
    let own = LocalAddresses.list(environment: node.environment, serverSocket: node.rpc.serverSocket)
    guard let candidate = AddressMatch.best(own: own, other: usable) ?? usable.first,
      let socket = node.rpc.serverSocket
    else { return }
    paths.insert(.local)
    // The socket that the stream will use, so that a host firewall that admits the pong admits the stream (hyperdht.md
    // C-10).
    node.rpc.ping(candidate, options: RequestOptions(session: session, socket: socket)) { [weak self] result in
      guard let self, state == .opening else { return }
      switch result {
      case .success: verifyLocal(candidate, socket)
      case .failure: pathFailed(.local, .holepunchAborted("the server does not answer at its local address"))
      }
    }
  }

  /// Private addresses are not unique: whoever answered the ping may be somebody else on our own network, and a stream
  /// that is once attached cannot be moved. Only the server can repeat its answer to our message 1.
  private func verifyLocal(_ candidate: Endpoint, _ socket: any DatagramSocket) {
    let request = RequestMessage(
      command: Command.peerHandshake.rawValue, target: target,
      value: HandshakeMessage(mode: .fromClient, noise: message).encoded)
    let options = RequestOptions(retries: 1, session: session, socket: socket)
    node.rpc.request(request, to: candidate, options: options) { [weak self] result in
      guard let self, state == .opening else { return }
      if case .success(let response) = result, let value = response.value,
        let reply = try? CompactReader.decode(HandshakeMessage.self, from: value), reply.noise == handshaken?.message
      {
        return attach(socket, candidate)
      }
      lastResort = (socket, candidate)
      pathFailed(.local, .holepunchAborted("somebody else answers at the server's local address"))
    }
  }

  /// Beside everything else: whoever is first carries the connection, and a direct path takes it over (hyperdht.md
  /// 10.3).
  private func startRelay(_ result: Handshaken) {
    var chosen = ticket
    if options.followsServerRelay, let named = result.payload.relayThrough, named.publicKey != publicKey {
      chosen = RelayTicket(publicKey: named.publicKey, token: named.token, isInitiator: false)
    }
    guard let chosen, node.relays.hasRoom(for: .ourselves) else { return }
    paths.insert(.relay)
    let relay = RelayPath(node: node, ticket: chosen, streamID: raw.localID, origin: .ourselves)
    self.relay = relay
    relay.onPaired = { [weak self] in self?.attachRelayed($0) }
    relay.onFailed = { [weak self] error in
      self?.relay = nil
      self?.pathFailed(.relay, error)
    }
    relay.start(keepAlive: options.relayKeepAlive)
  }

  private func tryPunch(_ result: Handshaken) {
    paths.insert(.punch)
    let punch = ClientPunch(
      node: node, target: target, handshaken: result, options: options, usesFastOpen: !paths.contains(.local))
    self.punch = punch
    punch.onConnect = { [weak self] socket, remote in self?.attach(socket, remote) }
    punch.onFailure = { [weak self] in self?.pathFailed(.punch, $0) }
    punch.isRelayed = { [weak self] in self?.relay != nil }
    punch.start()
  }

  /// The connection fails only when no other path can still win.
  private func pathFailed(_ path: Path, _ error: DHTError) {
    guard state == .opening || state == .relayed, paths.remove(path) != nil else { return }
    // What punching says is worth more than that the local network does not help.
    if path != .local || paths.isEmpty && punch == nil { lastError = error }
    if path == .punch { punch = nil }
    guard paths.isEmpty else { return }
    if state == .relayed {
      leave()
    } else if let lastResort {
      attach(lastResort.socket, lastResort.address)
    } else {
      fail(lastError)
    }
  }

  // MARK: Ends

  /// First come, first served (hyperdht.md 9.2).
  private func attach(_ socket: any DatagramSocket, _ remote: Endpoint) {
    guard let result = handshaken else { return }
    if state == .relayed { return upgrade(to: remote, socket, result) }
    guard state == .opening else { return }
    raw.firewall = nil
    guard connectTransport(socket, remote, id: result.streamID, result) else { return }
    let (head, ended) = (earlyBytes, earlyEnd)
    leave()
    punch?.succeed()
    punch = nil
    relay?.standBy()
    relay = nil
    stream.start(transport: raw, keys: result.keys, head: head, ended: ended)
  }

  private func connectTransport(
    _ socket: any DatagramSocket, _ remote: Endpoint, id: UInt32, _ result: Handshaken
  ) -> Bool {
    raw.onClose = nil
    raw.onEnd = nil
    raw.onData = nil
    do {
      try raw.connect(socket: socket, remoteID: id, to: remote)
    } catch {
      fail(.other("cannot start the stream: \(error.description)"))
      return false
    }
    node.statistics.connects.opened += 1
    node.relayHints[publicKey] = result.payload.relayAddresses.flatMap { $0.isEmpty ? nil : $0 } ?? tried
    return true
  }

  /// The relay was first.
  private func attachRelayed(_ way: RelayPath.Attachment) {
    guard state == .opening, let result = handshaken, let relay else { return }
    guard connectTransport(way.socket, way.remote, id: way.remoteID, result) else { return }
    state = .relayed
    paths.remove(.relay)
    deadline?.cancel()
    deadline = nil
    let (head, ended) = (earlyBytes, earlyEnd)
    earlyBytes = []
    stream.start(transport: raw, keys: result.keys, head: head, ended: ended)
    relay.attached(raw: raw, stream: stream)
    if paths.isEmpty { leave() }
  }

  /// A direct path for a stream that runs over the relay.
  private func upgrade(to remote: Endpoint, _ socket: any DatagramSocket, _ result: Handshaken) {
    guard relay?.move(to: remote, socket: socket, remoteID: result.streamID) ?? false else { return }
    node.statistics.relaying.upgrades += 1
    leave()
    punch?.succeed()
    punch = nil
  }

  func fail(_ error: DHTError) {
    guard state != .done else { return }
    if state != .relayed { node.statistics.connects.failed += 1 }
    finish()
    stream.destroy(EncryptedStreamError(error))
  }

  /// Gives everything up that is under way; also when the stream is destroyed from above.
  private func finish() {
    guard state != .done else { return }
    let wasRelayed = state == .relayed
    leave()
    punch?.destroy()
    punch = nil
    // A running stream owns its transport, and its relay goes with it.
    guard !wasRelayed else { return }
    relay?.discard()
    relay = nil
    raw.onClose = nil
    raw.onEnd = nil
    raw.onData = nil
    raw.firewall = nil
    raw.destroy()
  }

  private func leave() {
    state = .done
    stream.onDestroying = nil
    timer?.cancel()
    timer = nil
    deadline?.cancel()
    deadline = nil
    search?.stop()
    search = nil
    session.destroy()
    handshake = nil
    early = nil
    earlyBytes = []
    node.connectors[ObjectIdentifier(self)] = nil
  }
}

/// What a finished handshake says.
struct Handshaken {
  var keys: SessionKeys
  var payload: NoisePayload
  /// Noise message 2.
  var message: [UInt8]
  /// The server's transport stream.
  var streamID: UInt32
  /// The node that we asked.
  var relay: Endpoint
  /// Where the server's reply came from, as the relay saw it.
  var serverAddress: Endpoint
  /// Our address as the relay saw it.
  var clientAddress: Endpoint
  var socket: any DatagramSocket

  /// Not the server itself was asked.
  var isRelayed: Bool { serverAddress != relay }

  /// The server's own list, cut to a size that is not the peer's to choose.
  var serverAddresses: [Endpoint] { Array(payload.addresses4.prefix(Limits.Punch.peerAddresses)) }
}
