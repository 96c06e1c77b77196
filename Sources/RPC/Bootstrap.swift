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

  /// Resolves the bootstrap list, all entries at once; entries that fail are skipped. `done` may run inside this call.
  func resolveBootstrap(_ done: @escaping ([Endpoint]) -> Void) {
    let entries = configuration.bootstrap
    var resolved = [Endpoint?](repeating: nil, count: entries.count)
    var left = entries.count
    guard left > 0 else { return done([]) }
    func finish(_ index: Int, _ endpoint: Endpoint?) {
      resolved[index] = endpoint
      left -= 1
      if left == 0 { done(resolved.compactMap { $0 }) }
    }
    for (index, entry) in entries.enumerated() {
      switch entry {
      case .endpoint(let endpoint): finish(index, endpoint)
      case .name(let name, let port): lookUp(name, port) { finish(index, $0) }
      case .suggested(let address, let name, let port):
        let endpoint = Endpoint(host: address, port: port)
        ping(endpoint) { [weak self] result in
          if case .success = result { return finish(index, endpoint) }
          guard let self, !isDestroyed, !isSuspended else { return finish(index, nil) }
          lookUp(name, port) { finish(index, $0) }
        }
      }
    }
  }

  private func lookUp(_ name: String, _ port: UInt16, _ done: @escaping (Endpoint?) -> Void) {
    environment.resolve(name) { addresses in done(addresses.first.map { Endpoint(host: $0, port: port) }) }
  }
}
