import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

/// Accepts connections under a public key (hyperdht.md 7).
package final class DHTServer {
  /// A client has proven to hold the key in `remotePublicKey` to the extent Noise IK allows: its first stream bytes fit
  /// the handshake. Set the stream's callbacks inside this call.
  package var onConnection: ((EncryptedStream) -> Void)?
  package var onListening: (() -> Void)?
  /// Exactly once, when closing is done.
  package var onClose: (() -> Void)?

  package let options: ServerOptions
  package unowned let node: DHTNode

  enum State {
    case idle
    case opening
    case listening
    case closing
    case closed
  }

  private(set) var state = State.idle
  private(set) package var isSuspended = false
  /// Clients that the firewall admits are told at once that they cannot be served now.
  package var isBusy = false
  private(set) var keyPair: KeyPair?
  package var publicKey: Bytes32? { keyPair?.publicKey }
  /// Where the server is announced: the hash of its public key.
  private(set) package var target: Bytes32?
  private(set) var announcer: Announcer?
  var table = HandshakeTable()
  private var budget: HandshakeBudget
  /// Microseconds; what new first messages cost is measured by it.
  lazy var clock: () -> UInt64 = { [unowned node] in node.environment.now }
  /// Servers of other nodes that take handshakes for this one.
  var sharing = ServerShare()
  /// The host from which a server hands handshakes over to this one.
  var frontHost: IPv4Address?
  var onPresence: ((Endpoint?) -> Void)?
  private var closeWaiters: [() -> Void] = []
  /// The suspension whose withdrawal is still under way: a second caller waits for it, too.
  private var suspension: Suspension?
  private var listenCompletion: ((Result<Void, DHTError>) -> Void)?

  init(node: DHTNode, options: ServerOptions) {
    self.node = node
    self.options = options
    budget = HandshakeBudget(now: node.environment.nowMilliseconds)
  }

  package var isListening: Bool { state == .listening }
  package var isClosed: Bool { state == .closing || state == .closed }

  /// Nodes that hold our announcement; our own address first when we are reachable, unless others share the key: a
  /// client that comes here stays here.
  package var relayAddresses: [Endpoint] {
    let all = announcer?.relayAddresses ?? []
    guard sharing.isUsed, let own = node.rpc.remoteAddress else { return all }
    return all.filter { $0 != own }
  }

  /// `nil` before `listen`; the host is `nil` and the port 0 where they are not known or not predictable.
  package var address: (publicKey: Bytes32, host: IPv4Address?, port: UInt16)? {
    publicKey.map { ($0, node.rpc.host, node.rpc.port) }
  }

  /// Handshakes being worked on or remembered.
  package var handshakeCount: Int { table.count }

  // MARK: Life cycle

  /// Announces the key and accepts connections from the first announcement on. `completion` runs once: after the first
  /// announce cycle, with an error, or quietly when the server is closed meanwhile.
  package func listen(keyPair: KeyPair? = nil, completion: ((Result<Void, DHTError>) -> Void)? = nil) {
    let keyPair = keyPair ?? node.defaultKeyPair
    if let error = refusal(keyPair.publicKey) {
      if let completion { node.environment.defer { completion(.failure(error)) } }
      return
    }
    state = .opening
    self.keyPair = keyPair
    let target = Target.of(publicKey: keyPair.publicKey)
    self.target = target
    listenCompletion = completion
    node.servers.append(self)
    node.start()
    do {
      try node.rpc.bind()
    } catch {
      node.environment.defer {
        self.settleListen(.failure(.bindFailed(code: error.code, error.description)))
        self.close()
      }
      return
    }
    node.router.pin(target: target, record: PeerRecord(publicKey: keyPair.publicKey), server: self)
    if options.shareLocalAddress {
      node.localAddressValidator.validate(
        LocalAddresses.list(environment: node.environment, serverSocket: node.rpc.serverSocket)
      ) { _ in }
    }
    isSuspended = node.isSuspended
    guard options.isAnnounced else {
      node.environment.defer { [self] in begin() }
      return
    }
    let announcer = Announcer(node: node, target: target, keyPair: keyPair)
    self.announcer = announcer
    announcer.start { [weak self] in self?.begin() }
  }

  private func begin() {
    if state == .opening {
      state = .listening
      reportPresence()
      onListening?()
    }
    settleListen(.success(()))
  }

  private func refusal(_ publicKey: Bytes32) -> DHTError? {
    if node.isDestroyed { return .nodeDestroyed }
    if state != .idle { return isClosed ? .nodeDestroyed : .alreadyListening }
    if node.servers.contains(where: { !$0.isClosed && $0.publicKey == publicKey }) { return .keyPairAlreadyUsed }
    return nil
  }

  private func settleListen(_ result: Result<Void, DHTError>) {
    let completion = listenCompletion
    listenCompletion = nil
    completion?(result)
  }

  /// Stops accepting and withdraws the announcement. Connections stay. Idempotent; every completion runs once.
  package func close(_ completion: (() -> Void)? = nil) { close(isForced: false, completion) }

  /// Forced, it withdraws nothing, and ends a close that is still withdrawing.
  func close(isForced: Bool, _ completion: (() -> Void)?) {
    if state == .closed {
      if let completion { node.environment.defer(completion) }
      return
    }
    if let completion { closeWaiters.append(completion) }
    if state == .closing {
      if isForced { node.environment.defer { [self] in finishClosing() } }
      return
    }
    state = .closing
    reportPresence()
    if let target { node.router.unpin(target: target) }
    dropSessions()
    node.environment.defer { [self] in
      guard let announcer else { return finishClosing() }
      announcer.stop(isForced: isForced) { [self] in finishClosing() }
    }
  }

  private func finishClosing() {
    guard state == .closing else { return }
    state = .closed
    node.servers.removeAll { $0 === self }
    settleListen(.success(()))
    onClose?()
    let waiters = closeWaiters
    closeWaiters = []
    for waiter in waiters { waiter() }
  }

  /// Announce again soon.
  package func refresh() {
    guard !isSuspended else { return }
    announcer?.refresh()
  }

  package func suspend(_ completion: (() -> Void)? = nil) {
    let isNews = !isSuspended && !isClosed
    isSuspended = true
    if isNews {
      reportPresence()
      dropSessions()
    }
    guard isNews, let announcer else {
      guard let completion else { return }
      if let suspension { suspension.waiters.append(completion) } else { node.environment.defer(completion) }
      return
    }
    let current = Suspension(completion)
    suspension = current
    announcer.suspend { [weak self] in
      if self?.suspension === current { self?.suspension = nil }
      current.finish()
    }
  }

  package func resume() {
    guard isSuspended, !isClosed else { return }
    isSuspended = false
    reportPresence()
    announcer?.resume()
  }

  /// The network is back.
  package func notifyOnline() { announcer?.wake() }

  // MARK: Handshakes

  var accepts: Bool { !isClosed && !isSuspended && !node.isDestroyed }

  /// Works on a new first message if it may cost anything now, and counts the time.
  /// - Returns: whether it did.
  func charge(_ request: HandshakeRequest, _ origin: HandshakeOrigin, _ work: () -> Void) -> Bool {
    let began = clock()
    guard budget.admits(request, origin, now: began) else { return false }
    work()
    budget.spent(clock() - began, origin)
    return true
  }

  func origin(of request: HandshakeRequest) -> HandshakeOrigin {
    if request.isDirect { return .direct }
    if request.isHandedOver { return .relay }
    return announcer?.isRelay(request.from) ?? false ? .relay : .stranger
  }

  /// Gives a session its place, if need be that of one whose client has not proved itself.
  func insert(_ session: ServerSession) {
    if let victim = table.victim(for: session.origin) { evict(victim) }
    table.insert(session)
  }

  /// The client has got message 2.
  func proved(_ session: ServerSession) {
    if let victim = table.prove(session) { evict(victim) }
  }

  /// Whether a relay may be asked; a client that has not proved itself loses its request to the next.
  func hasRoomForRelay(of origin: RelayPath.Origin) -> Bool {
    if !node.relays.hasRoom(for: origin), let victim = table.relayVictim(of: origin) { evict(victim) }
    return node.relays.hasRoom(for: origin)
  }

  private func evict(_ session: ServerSession) {
    node.statistics.handshakes.evicted += 1
    clear(session)
  }

  func scheduleClearing(_ session: ServerSession) {
    session.scheduleClear(after: options.handshakeClearWait) { [weak self, weak session] in
      if let self, let session { clear(session) }
    }
  }

  /// The session needs no more work; it stays remembered until cleared.
  func settled(_ session: ServerSession) {
    if let oldest = table.settle(session) { clear(oldest) }
  }

  func clear(_ session: ServerSession) {
    table.remove(session)
    session.close()
  }

  /// The firewall hook said no.
  func refuse(_ session: ServerSession) {
    node.statistics.handshakes.refused += 1
    table.refuse(session)
    let message = session.message
    session.close()
    _ = node.environment.schedule(after: options.handshakeClearWait) { [weak self] in
      self?.table.forgetRefused(message)
    }
  }

  private func dropSessions() {
    let all = table.sessions
    table.removeAll()
    for session in all { session?.close() }
  }
}
