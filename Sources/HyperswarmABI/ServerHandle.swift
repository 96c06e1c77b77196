import CHyperswarm
import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream

/// What stands behind a `hyperswarm_server_t`.
final class ServerHandle: @unchecked Sendable {
  let swarm: SwarmHandle
  let callbacks: hyperswarm_server_options_t
  let publicKey: Bytes32
  let relays: [Bytes32]
  private let bounds: BlindRelayServer.Bounds
  let isClosing = Locked(false)
  private(set) var pointer: OpaquePointer?
  private var server: DHTServer?
  /// Around the server of a relay.
  fileprivate var relay: RelayService?

  init(
    swarm: SwarmHandle, callbacks: hyperswarm_server_options_t, publicKey: Bytes32, relays: [Bytes32],
    bounds: BlindRelayServer.Bounds
  ) {
    self.relays = relays
    self.bounds = bounds
    self.swarm = swarm
    self.callbacks = callbacks
    self.publicKey = publicKey
    pointer = Handles.servers.add(self)
  }

  private var userData: UnsafeMutableRawPointer? { callbacks.user_data }

  // MARK: On the loop

  func listen(_ keyPair: KeyPair) {
    guard let node = swarm.node, !swarm.shared.withLock({ $0.isDestroying }) else {
      callbacks.on_listening?(pointer, Int32(HYPERSWARM_ERR_SWARM_DESTROYED), userData)
      return closed()
    }
    swarm.servers[ObjectIdentifier(self)] = self
    var options = ServerOptions()
    if let ask = callbacks.on_firewall {
      options.firewall = { [weak self] publicKey, _, address, verdict in
        guard let self else { return verdict(.reject) }
        let answer: (Int32) -> Void = { verdict($0 == HYPERSWARM_ACCEPT ? .accept : .reject) }
        VerdictHandle.ask(swarm, answer) { [self] question in
          _ = firewallAnswer(publicKey, address) {
            ask(self.pointer, question, $0, $1, self.userData)
            return 0
          }
        }
      }
    } else if let firewall = callbacks.firewall {
      options.firewall = { [weak self] publicKey, _, address, verdict in
        guard let self else { return verdict(.reject) }
        let answer = firewallAnswer(publicKey, address) { firewall(self.pointer, $0, $1, self.userData) }
        verdict(answer == HYPERSWARM_ACCEPT ? .accept : .reject)
      }
    }
    let flags = Int(callbacks.flags)
    options.allowsHolepunching = flags & Int(HYPERSWARM_SERVER_NO_HOLEPUNCH) == 0
    options.shareLocalAddress = flags & Int(HYPERSWARM_SERVER_NO_LOCAL_ADDRESS) == 0
    if !relays.isEmpty { options.relayThrough = .keys(relays) }
    let server: DHTServer
    if flags & Int(HYPERSWARM_SERVER_RELAY) != 0 {
      let service = RelayService(node: node, options: options, bounds: bounds)
      relay = service
      server = service.server
    } else {
      server = node.makeServer(options: options)
      server.onConnection = { [weak self] stream in
        guard let self, let onConnection = callbacks.on_connection else { return stream.destroy() }
        let connection = ConnectionHandle(swarm: swarm, isInitiator: false)
        connection.adopt(stream)
        onConnection(pointer, connection.pointer, userData)
      }
    }
    self.server = server
    server.onClose = { [weak self] in self?.closed() }
    server.listen(keyPair: keyPair) { [weak self] result in
      guard let self else { return }
      if !server.isClosed || result.isFailure { callbacks.on_listening?(pointer, status(result), userData) }
      if result.isFailure { close() }
    }
    // Closed by its owner before it was made.
    if isClosing.withLock({ $0 }) { close() }
  }

  /// Of nodes that route to it.
  var relayAddresses: [Endpoint] { server?.relayAddresses ?? [] }

  func refresh() { server?.refresh() }
  func setBusy(_ isBusy: Bool) { server?.isBusy = isBusy }
  func suspend() { server?.suspend() }
  func resume() { server?.resume() }

  func close() {
    relay?.relay.close()
    server?.close()
  }

  private func closed() {
    isClosing.withLock { $0 = true }
    callbacks.on_close?(pointer, userData)
    Handles.servers.remove(pointer)
    swarm.servers[ObjectIdentifier(self)] = nil
    relay?.relay.close()
    server?.onConnection = nil
    server = nil
    relay = nil
    swarm.checkIdle()
  }
}

extension ServerHandle {
  func report(
    _ callback:
      @convention(c) (OpaquePointer?, UnsafePointer<hyperswarm_relay_statistics_t>?, UnsafeMutableRawPointer?) -> Void,
    _ userData: UnsafeMutableRawPointer?
  ) {
    let numbers = relay.map { HyperDHT.RelayServer.Statistics($0.relay) } ?? .init()
    var statistics = hyperswarm_relay_statistics_t()
    statistics.size = MemoryLayout<hyperswarm_relay_statistics_t>.size
    statistics.active_sessions = UInt64(numbers.activeSessions)
    statistics.active_links = UInt64(numbers.activeLinks)
    statistics.pending_tokens = UInt64(numbers.pendingTokens)
    statistics.sessions_accepted = numbers.sessionsAccepted
    statistics.sessions_refused = numbers.sessionsRefused
    statistics.sessions_evicted = numbers.sessionsEvicted
    statistics.pairings_matched = numbers.pairingsMatched
    statistics.pairings_cancelled = numbers.pairingsCancelled
    statistics.pairings_expired = numbers.pairingsExpired
    statistics.pairings_refused = numbers.pairingsRefused
    statistics.pairings_evicted = numbers.pairingsEvicted
    statistics.packets_dropped = numbers.packetsDropped
    statistics.bytes_relayed = numbers.bytesRelayed
    callback(pointer, &statistics, userData)
  }
}

extension Result {
  fileprivate var isFailure: Bool { if case .failure = self { true } else { false } }
}
