import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC

/// The client's side of hole punching (hyperdht.md 8.4): a probe round, in which both sides learn their NATs,
/// then a punch round, after which both probe.
final class ClientPunch {
  var onConnect: ((any DatagramSocket, Endpoint) -> Void)?
  var onFailure: ((DHTError) -> Void)?
  /// A relay carries the connection, or may soon: then there is time to wait for another try.
  var isRelayed: () -> Bool = { false }

  private unowned let node: DHTNode
  private let target: Bytes32
  private let options: ConnectOptions
  private let usesFastOpen: Bool
  private let id: UInt64
  private let tokens: RelayTokens
  private let sealer: HolepunchSealer
  private let puncher: Puncher
  private let session: RequestSession
  /// The server's relay that we talk through, and the server's announcing address there.
  private var serverRelay: NoisePayload.Relay
  /// The node that carried the handshake.
  private var clientRelay: Endpoint
  /// Other relays of the server, for when that one falls silent (hyperdht.md C-12).
  private var spareRelays: ArraySlice<NoisePayload.Relay>
  /// The server's punch socket as a relay saw it.
  private var serverAddress: Endpoint
  private var round: UInt64 = 0
  private var waits = 0
  private var timer: (any ScheduledAction)?
  private var isOver = false
  /// The server has said something since its message 2.
  private(set) var isAnswered = false

  init(
    node: DHTNode, target: Bytes32, handshaken: Handshaken, tokens: RelayTokens, options: ConnectOptions,
    usesFastOpen: Bool
  ) {
    self.node = node
    self.target = target
    self.tokens = tokens
    self.options = options
    self.usesFastOpen = usesFastOpen && options.fastOpen
    id = handshaken.payload.holepunch?.id ?? 0
    sealer = HolepunchSealer(
      handshakeHash: handshaken.keys.handshakeHash, localSecret: node.environment.random32())
    puncher = Puncher(node: node, isInitiator: true, remoteFirewall: handshaken.payload.firewall)
    session = node.rpc.makeSession()
    clientRelay = handshaken.relay
    serverAddress = handshaken.serverAddress
    let relays = handshaken.payload.holepunch?.relays.prefix(Limits.Punch.peerAddresses) ?? []
    serverRelay =
      relays.first { $0.relayAddress == handshaken.relay } ?? relays.first
      ?? .init(relayAddress: handshaken.relay, peerAddress: handshaken.serverAddress)
    let chosen = serverRelay
    spareRelays = relays.filter { $0.relayAddress != chosen.relayAddress }.prefix(Limits.Connect.spareRelays)
  }

  func start() {
    puncher.onConnect = { [weak self] socket, remote in
      guard let self, !isOver else { return }
      onConnect?(socket, remote)
    }
    puncher.onAbort = { [weak self] in
      self?.finish(.holepunchAborted("probing found no way through the two NATs"))
    }
    guard puncher.socket != nil else {
      let error = DHTError.cannotHolepunch("no socket for hole punching could be opened")
      node.environment.defer { [weak self] in self?.finish(error) }
      return
    }
    probeRound(mayRepeat: true)
  }

  /// The connection is made.
  func succeed() {
    guard !isOver else { return }
    end()
    puncher.succeed()
  }

  func destroy() {
    // Once over, the puncher is released by what has ended us.
    guard !isOver else { return }
    end()
    puncher.destroy()
  }

  private func end() {
    isOver = true
    onConnect = nil
    onFailure = nil
    timer?.cancel()
    timer = nil
    session.destroy()
    puncher.onAbort = nil
  }

  private func finish(_ error: DHTError) {
    guard !isOver else { return }
    let report = onFailure
    destroy()
    report?(error)
  }

  /// Tells the server and gives up.
  private func abort(_ error: DHTError) {
    guard !isOver else { return }
    let payload = HolepunchPayload(error: .aborted, round: nextRound())
    guard let socket = puncher.socket, let request = makeRequest(payload, peerAddress: serverRelay.peerAddress) else {
      return finish(error)
    }
    let report = onFailure
    end()
    puncher.quiesce()
    // The answer is not used, but the socket has to live until then.
    node.rpc.request(request, to: serverRelay.relayAddress, options: RequestOptions(socket: socket)) { [puncher] _ in
      puncher.destroy()
    }
    report?(error)
  }

  private func nextRound() -> UInt64 {
    defer { round += 1 }
    return round
  }

  // MARK: Messages

  private struct Reply {
    var payload: HolepunchPayload
    /// The server's sending socket as the relay saw it.
    var peerAddress: Endpoint
  }

  private func makeRequest(_ payload: HolepunchPayload, peerAddress: Endpoint) -> RequestMessage? {
    guard let sealed = sealer.seal(payload, nonce: node.environment.random(count: 24)) else { return nil }
    let message = HolepunchMessage(mode: .fromClient, id: id, payload: sealed, peerAddress: peerAddress)
    return RequestMessage(command: Command.peerHolepunch.rawValue, target: target, value: message.encoded)
  }

  /// One message to the server and its answer, from the punch socket.
  private func exchange(
    _ payload: HolepunchPayload, via relay: Endpoint, to peerAddress: Endpoint, onTimeout: (() -> Void)? = nil,
    onTryLater: (() -> Void)? = nil, _ body: @escaping (Reply) -> Void
  ) {
    guard let request = makeRequest(payload, peerAddress: peerAddress), let socket = puncher.socket else {
      return abort(.holepunchAborted("the socket for hole punching is gone"))
    }
    tokens.request(request, to: relay, options: RequestOptions(session: session, socket: socket)) {
      [weak self] result in
      guard let self, !isOver else { return }
      switch result {
      case .failure(.requestTimeout):
        if let onTimeout, !spareRelays.isEmpty { return onTimeout() }
        abort(.holepunchAborted("the node between us and the server, or the server, does not answer any more"))
      case .failure(let error):
        finish(DHTError(error))
      case .success(let response):
        receive(response, from: relay, sentToken: payload.token, onTryLater: onTryLater, body)
      }
    }
  }

  private func receive(
    _ response: Response, from relay: Endpoint, sentToken: Bytes32?, onTryLater: (() -> Void)?,
    _ body: (Reply) -> Void
  ) {
    guard response.from.endpoint == relay, let value = response.value,
      let message = try? CompactReader.decode(HolepunchMessage.self, from: value), message.mode == .reply
    else { return abort(.badHolepunchReply) }
    guard let payload = sealer.open(message.payload) else { return abort(.holepunchInvalid) }
    isAnswered = true
    if payload.error == .tryLater, let onTryLater, mayWait { return onTryLater() }
    guard payload.error == .none else { return finish(.remoteAborted(payload.error.rawValue)) }
    var verifiedHost: IPv4Address?
    if let sentToken, let echo = payload.remoteToken, constantTimeEqual(sentToken, echo) {
      verifiedHost = serverAddress.host
    }
    puncher.updateRemote(payload, verifiedHost: verifiedHost, observedHost: serverAddress.host)
    puncher.addSample(response.to, from: relay)
    body(Reply(payload: payload, peerAddress: message.peerAddress ?? serverAddress))
  }

  // MARK: Rounds

  private func probeRound(mayRepeat: Bool) {
    guard !isOver else { return }
    if usesFastOpen { puncher.openSession(to: serverAddress) }
    let payload = HolepunchPayload(
      firewall: puncher.firewall, round: nextRound(), addresses: puncher.addresses,
      remoteAddress: options.fastOpen ? serverAddress : nil)
    let retry = { [weak self] in self?.useSpareRelay(mayRepeat: mayRepeat) ?? () }
    exchange(payload, via: serverRelay.relayAddress, to: serverRelay.peerAddress, onTimeout: retry) {
      [weak self] reply in
      guard let self else { return }
      guard puncher.remote.firewall == .unknown else { return analyze(reply, mayRepeat: mayRepeat) }
      timer = node.environment.schedule(after: Limits.Punch.remoteUnknownWait) { [weak self] in
        self?.analyze(reply, mayRepeat: mayRepeat)
      }
    }
  }

  /// The relay, not the server, is what most likely went away since the handshake.
  private func useSpareRelay(mayRepeat: Bool) {
    guard let spare = spareRelays.popFirst() else { return }
    serverRelay = spare
    clientRelay = spare.relayAddress
    probeRound(mayRepeat: mayRepeat)
  }

  private func analyze(_ reply: Reply, mayRepeat: Bool) {
    puncher.analyze(allowReopen: false) { [weak self] isStable in
      guard let self, !isOver else { return }
      if isStable { return decide(reply, mayRepeat: mayRepeat) }
      puncher.analyze(allowReopen: true) { [weak self] isStable in
        guard let self, !isOver else { return }
        if isStable { probeRound(mayRepeat: false) } else { decide(reply, mayRepeat: mayRepeat) }
      }
    }
  }

  private func decide(_ reply: Reply, mayRepeat: Bool) {
    let isIncomplete = puncher.remote.firewall == .unknown || reply.payload.token == nil
    if isIncomplete, mayRepeat { return probeRound(mayRepeat: false) }
    if puncher.remote.firewall == .unknown || puncher.firewall == .unknown { return abort(.holepunchProbeTimeout) }
    if puncher.remote.firewall.isRandom, puncher.firewall.isRandom {
      return abort(.holepunchDoubleRandomizedNATs)
    }
    // Seen by the node that saw the handshake reply: the newer sight is the better one.
    if serverRelay.relayAddress == clientRelay, reply.peerAddress != serverAddress {
      serverAddress = reply.peerAddress
      puncher.openSession(to: serverAddress)
    }
    let mayPunch = options.holepunch?(
      puncher.remote.firewall.rawValue, puncher.firewall.rawValue, puncher.remote.addresses.map(\.endpoint),
      puncher.addresses ?? [])
    guard mayPunch ?? true else { return abort(.holepunchAborted("refused by the holepunch hook")) }
    punchRound(echo: reply.payload.token)
  }

  private var mayWait: Bool { waits < Limits.Punch.waits && isRelayed() }

  /// `isDelayed`: the server's own relay passes the message on, because its NAT may have forgotten ours meanwhile.
  private func punchRound(echo: Bytes32?, isDelayed: Bool = false) {
    puncher.freeze()
    guard puncher.hasBudget else {
      guard mayWait else {
        return abort(.holepunchAborted("another hole is being punched through a difficult NAT, or was just now"))
      }
      if isDelayed { return wait(echo: echo) }
      // The server learns all about us before we let it wait.
      let payload = HolepunchPayload(
        firewall: puncher.firewall, round: nextRound(), addresses: puncher.addresses,
        token: sealer.token(for: serverAddress.host), remoteToken: echo)
      return exchange(payload, via: clientRelay, to: serverAddress) { [weak self] _ in self?.wait(echo: echo) }
    }
    let payload = HolepunchPayload(
      firewall: puncher.firewall, round: nextRound(), punching: true, addresses: puncher.addresses,
      token: isDelayed ? nil : sealer.token(for: serverAddress.host), remoteToken: echo)
    let relay = isDelayed ? serverRelay.relayAddress : clientRelay
    let peerAddress = isDelayed ? serverRelay.peerAddress : serverAddress
    let later = { [weak self] in self?.wait(echo: echo) ?? () }
    exchange(payload, via: relay, to: peerAddress, onTryLater: later) { [weak self] reply in
      guard let self else { return }
      guard puncher.remote.isPunching else { return abort(.remoteNotHolepunching) }
      guard puncher.punch() else { return abort(.remoteNotHolepunchable) }
    }
  }

  private func wait(echo: Bytes32?) {
    guard !isOver else { return }
    waits += 1
    let spread = UInt64(node.environment.random(below: UInt32(Limits.Punch.waitSpread)))
    timer = node.environment.schedule(after: Limits.Punch.wait + spread) { [weak self] in
      guard let self, !isOver else { return }
      punchRound(echo: echo, isDelayed: true)
    }
  }
}
