import HyperEncoding
import HyperEnvironment

// Entering the network (dht-rpc.md 16).
extension RPCNode {
  /// Binds and bootstraps, beginning in a later turn so that callers can attach callbacks. Idempotent.
  package func start() {
    guard !isStarted, !isDestroyed else { return }
    isStarted = true
    Limits.check()
    environment.defer { [weak self] in self?.beginBootstrap() }
  }

  /// Runs `body` once bootstrapping is over, never inside this call; fails when it cannot be (sockets not bound, node
  /// destroyed).
  package func whenBootstrapped(_ body: @escaping (Result<Void, RPCError>) -> Void) {
    if isDestroyed {
      environment.defer { body(.failure(.nodeDestroyed)) }
    } else if let bootstrapFailure {
      environment.defer { body(.failure(bootstrapFailure)) }
    } else if isBootstrapped {
      environment.defer { body(.success(())) }
    } else {
      bootstrapCallbacks.append(body)
    }
  }

  func finishBootstrap(_ result: Result<Void, RPCError>) {
    let callbacks = bootstrapCallbacks
    bootstrapCallbacks = []
    for callback in callbacks { callback(result) }
  }

  private func beginBootstrap() {
    guard !isDestroyed else { return }
    guard !isSuspended else {
      isStarted = false
      startsOnResume = true
      return
    }
    do throws(TransportError) {
      try bind()
    } catch {
      bootstrapFailure = .bind(error)
      finishBootstrap(.failure(.bind(error)))
      return
    }
    guard !isDestroyed else { return }
    startTicking()
    runBootstrapRound(1)
  }

  private func runBootstrapRound(_ round: Int) {
    let checksQuickly = isFirewalled && !isForcedPersistent && configuration.quickFirewall
    var options = QueryOptions()
    options.isBackground = true
    let query = findNode(target: table.id, options: options)
    var isFirst = true
    var isWorthTesting = false
    query.onReply = { [weak self] response in
      guard let self, isFirst else { return }
      isFirst = false
      guard checksQuickly, let port = serverSocket?.localEndpoint?.port, let client = clientSocket else { return }
      // An answer to the silent socket before the look-up ends makes the full test worthwhile.
      pingNAT(response.from.endpoint, port: port, socket: client) { result in
        if case .success = result { isWorthTesting = true }
      }
    }
    query.onFinished = { [weak self] _ in
      guard let self, !isDestroyed else { return }
      guard isWorthTesting || isForcedPersistent, !isSuspended else {
        becomeReady()
        return
      }
      updatePersistence(firewallOnly: !isForcedPersistent) { [weak self] isBetter in
        guard let self, !isDestroyed else { return }
        if isBetter, round == 1 { runBootstrapRound(2) } else { becomeReady() }
      }
    }
    query.start()
  }

  private func becomeReady() {
    guard !isBootstrapped else { return }
    isBootstrapped = true
    if isForcedPersistent { stabilityTicks = Limits.forcedRetryTicks }
    onReady?()
    finishBootstrap(.success(()))
  }

  // MARK: Resolution

  /// The addresses of bootstrap nodes that are known now and have not been silent lately.
  var knownBootstrap: [Endpoint] {
    var known: [Endpoint] = []
    for entry in configuration.bootstrap { known += knownAddresses(of: entry) }
    let now = environment.nowMilliseconds
    return known.filter { !roundTripTimes.isSilent($0, now: now) }
  }

  /// Without asking the resolver: what the entry says itself, and what its name has led to before.
  func knownAddresses(of entry: BootstrapNode) -> [Endpoint] {
    switch entry {
    case .endpoint(let endpoint): return [endpoint]
    case .name(let name, let port): return (resolvedNames[name] ?? []).map { Endpoint(host: $0, port: port) }
    case .suggested(let address, let name, let port):
      let found = (resolvedNames[name] ?? []).filter { $0 != address }
      return ([address] + found).map { Endpoint(host: $0, port: port) }
    }
  }

  /// Asks the resolver; look-ups of one name at the same time are one, so that a dead resolver is not flooded. `done`
  /// gets all addresses, later.
  func lookUp(_ name: String, _ done: @escaping ([IPv4Address]) -> Void) {
    guard nameWaiters[name] == nil else {
      nameWaiters[name]?.append(done)
      return
    }
    nameWaiters[name] = [done]
    lookUpsBegun[name] = environment.now
    environment.resolve(name) { [weak self] addresses in
      guard let self else { return }
      if !addresses.isEmpty { resolvedNames[name] = addresses }
      lookUpsBegun[name] = nil
      for waiter in nameWaiters.removeValue(forKey: name) ?? [] { waiter(addresses) }
    }
  }
}

// The bootstrap list as seeds of a query (dht-rpc.md 16): all entries in parallel, all addresses of a name.
extension Query {
  /// Visits what is known at once. A name without a known address is looked up at once, too; one with an address only
  /// when no node has answered for a while.
  func addBootstrap(_ node: RPCNode) {
    var later: [(String, UInt16)] = []
    for entry in node.configuration.bootstrap {
      let known = node.knownAddresses(of: entry)
      for endpoint in known { addBootstrap(endpoint) }
      switch entry {
      case .endpoint: break
      case .name(let name, let port), .suggested(_, let name, let port):
        if known.isEmpty { lookUp(name, port, node) } else { later.append((name, port)) }
      }
    }
    guard !later.isEmpty, answers == 0 else { return }
    headStart?.cancel()
    headStart = node.environment.schedule(after: Limits.bootstrapGrace) { [weak self] in
      guard let self else { return }
      headStart = nil
      if answers == 0, let node = self.node, isRunning {
        for (name, port) in later { lookUp(name, port, node) }
      }
      advance()
    }
  }

  private func addBootstrap(_ endpoint: Endpoint) {
    if frontier.states[endpoint] == nil { bootstrapSeeds.insert(endpoint) }
    add(endpoint, referrer: nil)
  }

  private func lookUp(_ name: String, _ port: UInt16, _ node: RPCNode) {
    lookUps += 1
    defer { youngestLookUp = max(youngestLookUp, node.lookUpsBegun[name] ?? 0) }
    node.lookUp(name) { [weak self] addresses in
      guard let self else { return }
      lookUps -= 1
      guard isRunning else { return }
      for address in addresses { addBootstrap(Endpoint(host: address, port: port)) }
      advance()
    }
  }

  /// Addresses of bootstrap nodes may still come.
  var isResolving: Bool { lookUps > 0 || headStart != nil }

  /// Only the bootstrap list names this node: others that answer are as good.
  func isMereBootstrap(_ endpoint: Endpoint) -> Bool {
    guard bootstrapSeeds.contains(endpoint), case .open(nil, _) = frontier.states[endpoint] else { return false }
    return true
  }

  /// Microseconds: until then a query with an answer waits for the resolver. A look-up that other queries have waited
  /// for costs no more time.
  var lookUpDeadline: UInt64 { min(bootstrapDeadline, youngestLookUp + Limits.bootstrapGrace * 1000) }

  /// Microseconds: until then a query with an answer waits for the rest of the bootstrap list.
  var bootstrapDeadline: UInt64 { (firstAnswerAt ?? 0) + Limits.bootstrapGrace * 1000 }
}
