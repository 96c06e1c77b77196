// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime

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
    let known =
      Int(HYPERSWARM_SERVER_NO_HOLEPUNCH) | Int(HYPERSWARM_SERVER_RELAY) | Int(HYPERSWARM_SERVER_NO_LOCAL_ADDRESS)
    guard Int(given.flags) & ~known == 0 else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    let bounds = try BlindRelayServer.Bounds(given.relay_limits)
    // Only good during this call.
    given.secret_key = nil
    given.relays = nil
    given.relay_limits = nil
    try handle.home.checkThread()
    try handle.begin()
    let made = ServerHandle(
      swarm: handle, callbacks: given, publicKey: identity.publicKey, relays: relays, bounds: bounds)
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

// MARK: What it does

@c @implementation
public func hyperswarm_server_refresh(_ server: OpaquePointer?) -> Int32 { onServer(server) { $0.refresh() } }

@c @implementation
public func hyperswarm_server_set_busy(_ server: OpaquePointer?, _ isBusy: Int32) -> Int32 {
  onServer(server) { $0.setBusy(isBusy != 0) }
}

@c @implementation
public func hyperswarm_server_suspend(_ server: OpaquePointer?) -> Int32 { onServer(server) { $0.suspend() } }

@c @implementation
public func hyperswarm_server_resume(_ server: OpaquePointer?) -> Int32 { onServer(server) { $0.resume() } }

private func onServer(_ server: OpaquePointer?, _ body: @escaping (ServerHandle) -> Void) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.servers, server)
    try handle.swarm.home.checkThread()
    guard !handle.isClosing.withLock({ $0 }), handle.swarm.home.run({ body(handle) }) else {
      throw Failure(HYPERSWARM_ERR_CLOSED)
    }
  }
}

@c @implementation
public func hyperswarm_server_relay_addresses(
  _ server: OpaquePointer?,
  _ callback: (@convention(c) (OpaquePointer?, UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Void)?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.servers, server)
    let callback = try require(callback)
    let pointer = handle.pointer
    try handle.swarm.operation(
      failed: { _ in "" }, report: { text in text.withCString { callback(pointer, $0, userData) } }
    ) { _, _, settle in settle(handle.relayAddresses.map(\.description).joined(separator: ",")) }
  }
}

extension BlindRelayServer.Bounds {
  /// Zeros, and NULL, leave a bound as it is.
  fileprivate init(_ given: UnsafePointer<hyperswarm_relay_limits_t>?) throws(Failure) {
    self.init()
    guard given != nil else { return }
    let limits = try sized(given, from: \.connection_bytes, zero: hyperswarm_relay_limits_t())
    func set(_ bound: inout Int, _ value: UInt32) {
      if value > 0 { bound = Int(value) }
    }
    set(&sessions, limits.clients)
    set(&sessionsPerKey, limits.clients_per_key)
    set(&sessionsPerHost, limits.clients_per_host)
    set(&links, limits.connections)
    set(&linksPerSession, limits.connections_per_client)
    set(&pendingTokens, limits.requests)
    set(&pendingTokensPerSession, limits.requests_per_client)
    set(&pendingTokensPerHost, limits.requests_per_host)
    if limits.connection_bytes_per_second > 0 { linkBytesPerSecond = limits.connection_bytes_per_second }
    if limits.bytes_per_second > 0 { bytesPerSecond = limits.bytes_per_second }
    linkBytes = limits.connection_bytes
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
