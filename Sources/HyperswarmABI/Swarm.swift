// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime
import Hyperswarm
import HyperswarmEngine

@c @implementation
public func hyperswarm_create(
  _ options: UnsafePointer<hyperswarm_options_t>?, _ swarm: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  checked { () throws(Failure) in
    let swarm = try require(swarm)
    swarm.pointee = nil
    let given = try sized(
      options, from: \.user_data, zero: hyperswarm_options_t())
    let dht = try LoopBound<DHTOptions>(given)
    let relays = try keys(given.relays, given.relay_count)
    let qlog = try text(given.qlog)
    guard (0...HYPERSWARM_LOG_DEBUG).contains(Int(given.log_level)), given.reserved == 0 else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    let home = try LoopHome(given.loop)
    // Pointers of the caller that are only good during this call are not kept.
    var callbacks = given
    callbacks.secret_key = nil
    callbacks.bootstrap = nil
    callbacks.host = nil
    callbacks.relays = nil
    callbacks.nodes = nil
    callbacks.known_address = nil
    callbacks.qlog = nil
    let handle = SwarmHandle(home: home, callbacks: callbacks)
    let code = home.runAndWait { handle.open(dht.value, SwarmOptions(given, relays), qlog: qlog) }
    guard code == HYPERSWARM_OK else {
      home.abandon()
      throw Failure(code, handle.failure)
    }
    swarm.pointee = handle.pointer
  }
}

extension LoopBound where Value == DHTOptions {
  fileprivate init(_ given: hyperswarm_options_t) throws(Failure) {
    var options = HyperDHT.Options(port: given.port)
    options.bootstrap = try text(given.bootstrap).map(list)
    if let host = try text(given.host) {
      guard let address = IPv4Address(host) else { throw Failure(HYPERSWARM_ERR_INVALID_ADDRESS) }
      options.host = address
    }
    options.keyPair = try keyPair(given.secret_key)
    for node in list(try text(given.nodes) ?? "") { options.nodes.append(try endpoint(node)) }
    if let address = try text(given.known_address) { options.knownAddress = try endpoint(address) }
    let flags = Int(given.flags)
    let known =
      Int(HYPERSWARM_NODE_PERMANENT) | Int(HYPERSWARM_NODE_EPHEMERAL) | Int(HYPERSWARM_NODE_REACHABLE)
      | Int(HYPERSWARM_NODE_EXACT_PORT) | Int(HYPERSWARM_NODE_LOW_POWER)
    let isPermanent = flags & Int(HYPERSWARM_NODE_PERMANENT) != 0
    let isEphemeral = flags & Int(HYPERSWARM_NODE_EPHEMERAL) != 0
    let isLowPower = flags & Int(HYPERSWARM_NODE_LOW_POWER) != 0
    guard flags & ~known == 0, !(isPermanent && (isEphemeral || isLowPower)), given.keep_alive >= -1,
      given.max_message_size <= Limits.message
    else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    if isPermanent { options.isEphemeral = false }
    if isEphemeral { options.isEphemeral = true }
    options.isLowPower = isLowPower
    options.isFirewalled = flags & Int(HYPERSWARM_NODE_REACHABLE) == 0
    options.anyPort = flags & Int(HYPERSWARM_NODE_EXACT_PORT) == 0
    if given.max_message_size > 0 { options.maximumMessageSize = given.max_message_size }
    if given.keep_alive != 0 { options.connectionKeepAlive = Duration(milliseconds: max(given.keep_alive, 0)) }
    do throws(DHTError) {
      try self.init(options)
    } catch {
      throw Failure(status(error))
    }
  }
}

extension SwarmOptions {
  fileprivate init(_ given: hyperswarm_options_t, _ relays: [Bytes32]) {
    self.init()
    if !relays.isEmpty { relayThrough = .keys(relays) }
    if given.max_peers > 0 { maxPeers = Int(given.max_peers) }
    if given.max_parallel > 0 { maxParallel = Int(given.max_parallel) }
    if given.max_connections > 0 { maxConnections = Int(given.max_connections) }
    if given.max_client_connections > 0 { maxClientConnections = Int(given.max_client_connections) }
    if given.max_server_connections > 0 { maxServerConnections = Int(given.max_server_connections) }
  }
}

@c @implementation
public func hyperswarm_destroy(
  _ swarm: OpaquePointer?, _ force: Int32, _ done: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    try find(Handles.swarms, swarm).home.checkThread()
    guard let handle = Handles.swarms.remove(swarm) else { throw Failure(HYPERSWARM_ERR_BAD_HANDLE) }
    Handles.operations.withLock { $0 += 1 }
    let userData = LoopBound(userData)
    let isUnderWay = handle.destroy(force: force != 0) {
      Handles.operations.withLock { $0 -= 1 }
      done?(userData.value)
    }
    guard isUnderWay else {
      Handles.operations.withLock { $0 -= 1 }
      throw Failure(HYPERSWARM_ERR_LOOP_FAILED)
    }
  }
}

// MARK: About itself

@c @implementation
public func hyperswarm_user_data(_ swarm: OpaquePointer?) -> UnsafeMutableRawPointer? {
  Handles.swarms.find(swarm)?.userData
}

@c @implementation
public func hyperswarm_public_key(_ swarm: OpaquePointer?, _ publicKey: UnsafeMutablePointer<UInt8>?) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    try require(handle.engineKeyPair).publicKey.copy(to: try require(publicKey))
  }
}

@c @implementation
public func hyperswarm_local_port(_ swarm: OpaquePointer?, _ port: UnsafeMutablePointer<UInt16>?) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let port = try require(port)
    port.pointee = handle.shared.withLock { $0.port }
  }
}

@c @implementation
public func hyperswarm_bootstrapped(
  _ swarm: OpaquePointer?, _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    try find(Handles.swarms, swarm).operation(done, userData) { _, node, settle in
      node.whenBootstrapped { settle(status($0)) }
    }
  }
}

@c @implementation
public func hyperswarm_flush(
  _ swarm: OpaquePointer?, _ timeout: UInt64, _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    try handle.operation(done, userData) { engine, _, settle in
      let pending = engine.flush(timeout: timeout == 0 ? nil : timeout) { settle(roundStatus($0, engine, nil)) }
      handle.whenCancelled { pending?.cancel() }
    }
  }
}

@c @implementation
public func hyperswarm_listen(
  _ swarm: OpaquePointer?, _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    try find(Handles.swarms, swarm).operation(done, userData) { engine, _, settle in
      engine.listen { settle(status($0)) }
    }
  }
}

@c @implementation
public func hyperswarm_suspend(
  _ swarm: OpaquePointer?, _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    try find(Handles.swarms, swarm).operation(done, userData) { engine, _, settle in
      engine.suspend { settle(Int32(HYPERSWARM_OK)) }
    }
  }
}

@c @implementation
public func hyperswarm_resume(
  _ swarm: OpaquePointer?, _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    try find(Handles.swarms, swarm).operation(done, userData) { engine, _, settle in
      engine.resume { settle(status($0)) }
    }
  }
}

// MARK: Peers

@c @implementation
public func hyperswarm_peer_join(_ swarm: OpaquePointer?, _ publicKey: UnsafePointer<UInt8>?) -> Int32 {
  onPeer(swarm, publicKey) { $0.joinPeer($1) }
}

@c @implementation
public func hyperswarm_peer_leave(_ swarm: OpaquePointer?, _ publicKey: UnsafePointer<UInt8>?) -> Int32 {
  onPeer(swarm, publicKey) { $0.leavePeer($1) }
}

@c @implementation
public func hyperswarm_peer_ban(
  _ swarm: OpaquePointer?, _ publicKey: UnsafePointer<UInt8>?, _ isBanned: Int32
) -> Int32 {
  onPeer(swarm, publicKey) { $0.peers[$1]?.ban(isBanned != 0) }
}

@c @implementation
public func hyperswarm_peer_reconnect(
  _ swarm: OpaquePointer?, _ publicKey: UnsafePointer<UInt8>?, _ isEnabled: Int32
) -> Int32 {
  onPeer(swarm, publicKey) { $0.peers[$1]?.reconnect(isEnabled != 0) }
}

private func onPeer(
  _ swarm: OpaquePointer?, _ publicKey: UnsafePointer<UInt8>?, _ body: @escaping (SwarmEngine, Bytes32) -> Void
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let publicKey = try key(publicKey)
    try handle.operation(nil, nil) { engine, _, settle in
      body(engine, publicKey)
      settle(Int32(HYPERSWARM_OK))
    }
  }
}

@c @implementation
public func hyperswarm_peers(
  _ swarm: OpaquePointer?,
  _ each: (@convention(c) (OpaquePointer?, UnsafePointer<hyperswarm_peer_info_t>?, UnsafeMutableRawPointer?) -> Void)?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let each = try require(each)
    try handle.operation(done, userData) { engine, _, settle in
      let connected = Set(engine.connections.compactMap(\.remotePublicKey))
      for peer in Array(engine.peers.values) {
        withPeerInfo(peer, isConnected: connected.contains(peer.publicKey)) { each(handle.pointer, $0, userData) }
      }
      settle(Int32(HYPERSWARM_OK))
    }
  }
}
