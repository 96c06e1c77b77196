// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

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
  let isClosing = Locked(false)
  private(set) var pointer: OpaquePointer?
  private var server: DHTServer?
  /// Around the server of a relay.
  fileprivate var relay: RelayService?

  init(swarm: SwarmHandle, callbacks: hyperswarm_server_options_t, publicKey: Bytes32, relays: [Bytes32]) {
    self.relays = relays
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
    if let firewall = callbacks.firewall {
      options.firewall = { [weak self] publicKey, _, address, verdict in
        guard let self else { return verdict(.reject) }
        let answer = firewallAnswer(publicKey, address) { firewall(self.pointer, $0, $1, self.userData) }
        verdict(answer == HYPERSWARM_ACCEPT ? .accept : .reject)
      }
    }
    let flags = Int(callbacks.flags)
    options.allowsHolepunching = flags & Int(HYPERSWARM_SERVER_NO_HOLEPUNCH) == 0
    if !relays.isEmpty { options.relayThrough = .keys(relays) }
    let server: DHTServer
    if flags & Int(HYPERSWARM_SERVER_RELAY) != 0 {
      let service = RelayService(node: node, options: options)
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
  fileprivate func report(
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

@c @implementation
public func hyperswarm_server_listen(
  _ swarm: OpaquePointer?, _ options: UnsafePointer<hyperswarm_server_options_t>?,
  _ server: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let server = try require(server)
    server.pointee = nil
    var given = try sized(
      options, from: \.user_data, zero: hyperswarm_server_options_t())
    let identity = try require(try keyPair(given.secret_key) ?? handle.engineKeyPair)
    let relays = try keys(given.relays, given.relay_count)
    guard Int(given.flags) & ~(Int(HYPERSWARM_SERVER_NO_HOLEPUNCH) | Int(HYPERSWARM_SERVER_RELAY)) == 0 else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    // Only good during this call.
    given.secret_key = nil
    given.relays = nil
    try handle.home.checkThread()
    try handle.begin()
    let made = ServerHandle(swarm: handle, callbacks: given, publicKey: identity.publicKey, relays: relays)
    let isPosted = handle.home.run {
      made.listen(identity)
      handle.finish()
    }
    guard isPosted else {
      Handles.servers.remove(made.pointer)
      handle.finish()
      throw Failure(HYPERSWARM_ERR_SWARM_DESTROYED)
    }
    server.pointee = made.pointer
  }
}

@c @implementation
public func hyperswarm_server_close(_ server: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.servers, server)
    try handle.swarm.home.checkThread()
    let isFirst = handle.isClosing.withLock { isClosing -> Bool in
      defer { isClosing = true }
      return !isClosing
    }
    guard isFirst else { throw Failure(HYPERSWARM_ERR_CLOSED) }
    guard handle.swarm.home.run({ handle.close() }) else { throw Failure(HYPERSWARM_ERR_CLOSED) }
  }
}

@c @implementation
public func hyperswarm_server_user_data(_ server: OpaquePointer?) -> UnsafeMutableRawPointer? {
  Handles.servers.find(server)?.callbacks.user_data
}

@c @implementation
public func hyperswarm_server_public_key(
  _ server: OpaquePointer?, _ publicKey: UnsafeMutablePointer<UInt8>?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.servers, server)
    handle.publicKey.copy(to: try require(publicKey))
  }
}

@c @implementation
public func hyperswarm_server_relay_statistics(
  _ server: OpaquePointer?,
  _ callback: (
    @convention(c) (
      OpaquePointer?, UnsafePointer<hyperswarm_relay_statistics_t>?, UnsafeMutableRawPointer?
    ) -> Void
  )?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.servers, server)
    let callback = try require(callback)
    guard Int(handle.callbacks.flags) & Int(HYPERSWARM_SERVER_RELAY) != 0 else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    try handle.swarm.operation(
      failed: { _ in () }, report: { handle.report(callback, userData) }, { _, _, settle in settle(()) })
  }
}
