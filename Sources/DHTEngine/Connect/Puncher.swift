import HyperEncoding
import HyperEnvironment
import HyperRPC

/// One side's attempt to open a path through two NATs: its sockets, what it knows of both NATs, its probes
/// (hyperdht.md 8.1, 8.2, 8.6).
///
/// The initiator commits to the first probe that reaches it; the other side only echoes probes and learns of success
/// from the stream's packets. Both wait for their own punch to start before they react to probes: an earlier one proves
/// nothing about the path that will be used (hyperdht.md C-1).
final class Puncher {
  let isInitiator: Bool
  private(set) var analyzer: NATAnalyzer
  private(set) var remote: RemoteView
  private(set) var isPunching = false
  private(set) var isConnected = false
  private(set) var isDestroyed = false

  /// The initiator got through: from which socket, to whom.
  var onConnect: ((any DatagramSocket, Endpoint) -> Void)?
  /// Gave up.
  var onAbort: (() -> Void)?

  private unowned let node: DHTNode
  private var port: PunchPort?
  private var extra: [PunchSocket] = []
  private var analysisWaiters: [() -> Void] = []
  private var isAnalysisOver = false
  private var reopenResult: Bool?
  private var reopenWaiters: [(Bool) -> Void] = []
  private var isReopening = false
  private var timer: (any ScheduledAction)?
  private var ticket: PunchBudget.Ticket?

  /// Works with `port`, or one of its own. Without one (none to be had) the puncher is of no use: see `socket`.
  init(node: DHTNode, isInitiator: Bool, remoteFirewall: Firewall, port: PunchPort? = nil) {
    self.node = node
    self.isInitiator = isInitiator
    remote = RemoteView(firewall: remoteFirewall)
    analyzer = NATAnalyzer(isFirewalled: node.rpc.isFirewalled)
    if let port {
      port.hold()
      use(port)
    } else {
      open()
    }
  }

  var socket: (any DatagramSocket)? { port?.socket }
  var firewall: Firewall { analyzer.firewall }
  var socketCount: Int { (port == nil ? 0 : 1) + extra.count }

  /// What goes into payloads; `nil` before there is something to say.
  var addresses: [Endpoint]? {
    if let known = analyzer.addresses { return known.map(\.address) }
    return firewall == .open && !analyzer.knownAddresses.isEmpty ? analyzer.knownAddresses : nil
  }

  var isStable: Bool { PunchStrategy.isStable(local: firewall, remote: remote.firewall) }

  private func open() {
    port = PunchPort(node: node)
    isAnalysisOver = port == nil
    guard let port else { return }
    port.sampleCount = { [weak self] in self?.analyzer.sampleCount ?? 0 }
    use(port)
    port.startSampling()
  }

  private func use(_ port: PunchPort) {
    self.port = port
    port.attach(self)
    isAnalysisOver = false
    for sample in port.samples { addSample(sample.seen, from: sample.referrer) }
    if port.isSampled { portIsSampled() }
  }

  private func leavePort() {
    guard let port else { return }
    self.port = nil
    port.detach(self)
    port.release()
  }

  /// No node is left to ask how it sees the port.
  func portIsSampled() {
    guard !isDestroyed else { return }
    analyzer.conclude(isFirewalled: node.rpc.isFirewalled)
    finishAnalysis()
  }

  /// The others that use a shared port need its samples.
  private func stopSampling() {
    if let port, !port.isShared { port.stopSampling() }
  }

  // MARK: NAT analysis

  func addSample(_ seen: Endpoint, from referrer: Endpoint) {
    guard !isDestroyed else { return }
    analyzer.add(seen, from: referrer, isFirewalled: node.rpc.isFirewalled)
    if analyzer.isSettled { finishAnalysis() }
  }

  func freeze() { analyzer.freeze() }

  private func finishAnalysis() {
    isAnalysisOver = true
    let waiters = analysisWaiters
    analysisWaiters = []
    for waiter in waiters { waiter() }
  }

  private func whenAnalysed(_ body: @escaping () -> Void) {
    if isAnalysisOver || isDestroyed { body() } else { analysisWaiters.append(body) }
  }

  /// Whether punching may start, once enough is known; with `allowReopen` other sockets are tried if not.
  func analyze(allowReopen: Bool, _ completion: @escaping (Bool) -> Void) {
    whenAnalysed { [weak self] in
      guard let self, !isDestroyed else { return completion(false) }
      if isStable { return completion(true) }
      guard allowReopen else { return completion(false) }
      if let reopenResult { return completion(reopenResult) }
      reopenWaiters.append(completion)
      if !isReopening {
        isReopening = true
        reopen(attempt: 1)
      }
    }
  }

  private func reopen(attempt: Int) {
    let isOver = isDestroyed || isConnected || isPunching || isStable
    guard !isOver, attempt <= Limits.Punch.socketReopens else {
      let result = !isDestroyed && (firewall == .consistent || firewall == .open)
      reopenResult = result
      let waiters = reopenWaiters
      reopenWaiters = []
      for waiter in waiters { waiter(result) }
      return
    }
    leavePort()
    analyzer = NATAnalyzer(isFirewalled: node.rpc.isFirewalled)
    open()
    whenAnalysed { [weak self] in self?.reopen(attempt: attempt + 1) }
  }

  // MARK: The other side

  func updateRemote(_ payload: HolepunchPayload, verifiedHost: IPv4Address?, observedHost: IPv4Address?) {
    remote.update(
      firewall: payload.firewall, isPunching: payload.punching, addresses: payload.addresses ?? [],
      verifiedHost: verifiedHost, observedHost: observedHost)
  }

  // MARK: Probes

  private static let probe: [UInt8] = [0]

  /// Opens our NAT towards `endpoint` with a probe that dies on the way.
  func openSession(to endpoint: Endpoint) {
    socket?.send(Self.probe, to: endpoint, ttl: Limits.Punch.openSessionTTL)
  }

  func ping(_ endpoint: Endpoint) { socket?.send(Self.probe, to: endpoint) }

  /// - Returns: whether this puncher is at work, so that no other one has to look at the probe.
  @discardableResult
  func receiveProbe(on socket: any DatagramSocket, from source: Endpoint) -> Bool {
    guard !isDestroyed, !isConnected, isPunching, source.port != 0 else { return false }
    guard isInitiator else {
      socket.send(Self.probe, to: source)
      return true
    }
    isConnected = true
    timer?.cancel()
    onConnect?(socket, source)
    return true
  }

  // MARK: Punching

  /// Whether the strategy that fits the two NATs may be tried now: random ones cost other networks and our own NAT
  /// much.
  var hasBudget: Bool {
    guard let cost = PunchBudget.cost(local: firewall, remote: remote.firewall) else { return true }
    return node.punchBudget.isAvailable(for: remote.network, sockets: cost)
  }

  /// Starts probing, once. `false` when no strategy fits; for birthday sockets the answer comes after all are open.
  func punch() -> Bool {
    guard !isDestroyed, let socket else { return false }
    if isPunching || isConnected { return true }
    guard
      let strategy = PunchStrategy.decide(
        local: firewall, remote: remote.firewall, remoteAddresses: remote.addresses)
    else { return false }
    isPunching = true
    stopSampling()
    switch strategy {
    case .consistentProbes:
      node.statistics.punches.consistent += 1
      after(isInitiator ? 0 : Limits.Punch.responderLeadIn) { $0.probeConsistently(round: 1) }
    case .randomProbes:
      guard let host = remote.firstVerified?.host else { return false }
      beginRandom()
      probeRandomPorts(of: host, from: socket, left: Limits.Punch.randomProbes)
    case .birthdaySockets:
      guard let verified = remote.firstVerified else { return false }
      beginRandom()
      openBirthdaySockets(towards: verified)
      after(Limits.Punch.birthdayWait) { $0.probeFromBirthdaySockets(to: verified, sent: 0) }
    }
    return true
  }

  private func beginRandom() {
    node.statistics.punches.random += 1
    guard let cost = PunchBudget.cost(local: firewall, remote: remote.firewall) else { return }
    ticket = node.punchBudget.begin(for: remote.network, sockets: cost) { [weak self] in self?.destroy() }
  }

  private func after(_ milliseconds: UInt64, _ body: @escaping (Puncher) -> Void) {
    timer = node.environment.schedule(after: milliseconds) { [weak self] in
      guard let self, !isDestroyed, !isConnected else { return }
      body(self)
    }
  }

  private func probeConsistently(round: Int) {
    guard round <= Limits.Punch.consistentRounds else { return destroy() }
    for address in remote.addresses where address.isVerified || Limits.Punch.unverifiedRounds.contains(round) {
      if address.endpoint.port != 0 { ping(address.endpoint) }
    }
    after(Limits.Punch.consistentInterval) { $0.probeConsistently(round: round + 1) }
  }

  private func probeRandomPorts(of host: IPv4Address, from socket: any DatagramSocket, left: Int) {
    guard left > 0 else { return destroy() }
    let port = UInt16(truncatingIfNeeded: 1000 + node.environment.random(below: 64_536))
    socket.send(Self.probe, to: Endpoint(host: host, port: port))
    after(Limits.Punch.randomProbeInterval) { $0.probeRandomPorts(of: host, from: socket, left: left - 1) }
  }

  private func openBirthdaySockets(towards endpoint: Endpoint) {
    openSession(to: endpoint)
    while socketCount < Limits.Punch.birthdaySockets, let holder = try? node.sockets.acquire() {
      holder.onProbe = { [weak self, unowned holder] in self?.receiveProbe(on: holder.socket, from: $0) }
      extra.append(holder)
      holder.socket.send(Self.probe, to: endpoint, ttl: Limits.Punch.openSessionTTL)
    }
  }

  private func probeFromBirthdaySockets(to endpoint: Endpoint, sent: Int) {
    guard sent < Limits.Punch.randomProbes, let socket else { return destroy() }
    let place = sent % socketCount
    let ttl = sent < socketCount ? Limits.Punch.openSessionTTL : 0
    (place == 0 ? socket : extra[place - 1].socket).send(Self.probe, to: endpoint, ttl: ttl)
    after(Limits.Punch.randomProbeInterval) { $0.probeFromBirthdaySockets(to: endpoint, sent: sent + 1) }
  }

  // MARK: End

  /// No more probes and samples; the socket stays open until `destroy`.
  func quiesce() {
    timer?.cancel()
    timer = nil
    stopSampling()
    onConnect = nil
    onAbort = nil
  }

  /// The stream runs on `socket` now (or on another one): the puncher is not needed any more.
  func succeed() {
    isConnected = true
    destroy()
  }

  /// Releases everything; without a connection the abort handler hears of it.
  func destroy() {
    guard !isDestroyed else { return }
    isDestroyed = true
    timer?.cancel()
    timer = nil
    if let ticket { node.punchBudget.end(ticket) }
    ticket = nil
    leavePort()
    for holder in extra { holder.release() }
    extra = []
    finishAnalysis()
    onConnect = nil
    let abort = isConnected ? nil : onAbort
    onAbort = nil
    abort?()
  }
}
