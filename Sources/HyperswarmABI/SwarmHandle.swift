import CHyperswarm
import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime
import HyperSecretStream
import HyperUDX
import Hyperswarm
import HyperswarmEngine

/// What stands behind a `hyperswarm_t`: the engines of one node, and the count of the completions that C callers still
/// wait for.
///
/// Everything but `shared` and constants is confined to the loop.
final class SwarmHandle: @unchecked Sendable {
  let home: LoopHome
  let callbacks: hyperswarm_options_t
  private(set) var pointer: OpaquePointer?

  struct Shared {
    var operations = 0
    var isDestroying = false
    var keyPair: KeyPair?
    var port: UInt16 = 0
  }
  let shared = Locked(Shared())

  private(set) var environment: UVEnvironment?
  private(set) var node: DHTNode?
  private(set) var engine: SwarmEngine?
  /// One per topic: a second `join` of the same topic changes the roles of the first.
  var sessions: [Bytes32: DiscoverySession] = [:]
  var connections: [ObjectIdentifier: ConnectionHandle] = [:]
  var servers: [ObjectIdentifier: ServerHandle] = [:]
  /// Questions of `on_firewall` that are open.
  var verdicts: [ObjectIdentifier: VerdictHandle] = [:]
  /// Requests of other nodes that have no answer yet.
  var incoming: [ObjectIdentifier: IncomingHandle] = [:]
  private(set) var events: EventReport?
  /// How to give up what is under way, by the number of the operation.
  private var running: [UInt64: () -> Void] = [:]
  /// Of the operation that is being started.
  private var giveUp: (() -> Void)?
  private var whenIdle: (() -> Void)?
  /// What the system said when `open` failed.
  private(set) var failure: String?

  /// Copies what it needs of the caller's options.
  init(home: LoopHome, callbacks: hyperswarm_options_t) {
    self.home = home
    self.callbacks = callbacks
  }

  // MARK: Life

  /// On the loop.
  func open(_ options: DHTOptions, _ swarmOptions: SwarmOptions, qlog: String?) -> Int32 {
    do throws(TransportError) {
      let environment = try UVEnvironment(loop: home.loop)
      if let qlog {
        do throws(TransportError) {
          try environment.instance.openTrace(path: qlog, title: "hyperswarm")
        } catch {
          failure = systemText(error.code, error.description)
          environment.close()
          return Int32(HYPERSWARM_ERR_INVALID_ARGUMENT)
        }
      }
      let node = DHTNode(environment: environment, options: options)
      node.start()
      do throws(TransportError) {
        try node.rpc.bind()
      } catch {
        failure = systemText(error.code, error.description)
        node.destroy(force: true) { environment.close() }
        return Int32(HYPERSWARM_ERR_BIND_FAILED)
      }
      self.environment = environment
      self.node = node
    } catch {
      failure = systemText(error.code, error.description)
      return Int32(HYPERSWARM_ERR_BIND_FAILED)
    }
    guard let environment, let node else { return Int32(HYPERSWARM_ERR_UNKNOWN) }
    var swarmOptions = swarmOptions
    swarmOptions.keyPair = node.defaultKeyPair
    // Destroyed here, so that servers beside the swarm's can withdraw their announcements.
    swarmOptions.ownsDHT = false
    if let firewall {
      swarmOptions.firewall = { request, verdict in
        firewall(request.publicKey, request.address) {
          switch $0 {
          case Int32(HYPERSWARM_ACCEPT): verdict(.accept)
          case Int32(HYPERSWARM_BAN): verdict(.ban)
          default: verdict(.refuse)
          }
        }
      }
    }
    let engine = SwarmEngine(environment: environment, dht: node, options: swarmOptions)
    engine.onConnection = { [weak self] stream, peer in self?.connected(stream, peer) }
    if let onNetwork = callbacks.on_network {
      node.onNetworkState.add { [weak self] state in
        guard let self, let pointer, !shared.withLock({ $0.isDestroying }) else { return }
        onNetwork(pointer, state == .online ? 1 : 0, userData)
      }
    }
    self.engine = engine
    events = EventReport(self, engine, node)
    let port = node.rpc.serverSocket?.localEndpoint?.port ?? 0
    shared.withLock {
      $0.keyPair = node.defaultKeyPair
      $0.port = port
    }
    pointer = Handles.swarms.add(self)
    return Int32(HYPERSWARM_OK)
  }

  var userData: UnsafeMutableRawPointer? { callbacks.user_data }
  /// The swarm's identity.
  var engineKeyPair: KeyPair? { shared.withLock { $0.keyPair } }

  /// Asks the callbacks of the options, whichever there is.
  private var firewall: ((Bytes32, Endpoint?, _ answer: @escaping (Int32) -> Void) -> Void)? {
    if let ask = callbacks.on_firewall {
      return { [weak self] publicKey, address, answer in
        guard let self else { return answer(Int32(HYPERSWARM_REFUSE)) }
        VerdictHandle.ask(self, answer) { [self] verdict in
          _ = firewallAnswer(publicKey, address) {
            ask(pointer, verdict, $0, $1, userData)
            return 0
          }
        }
      }
    }
    guard let firewall = callbacks.firewall else { return nil }
    return { [weak self] publicKey, address, answer in
      guard let self else { return answer(Int32(HYPERSWARM_REFUSE)) }
      answer(firewallAnswer(publicKey, address) { firewall(self.pointer, $0, $1, self.userData) })
    }
  }

  private func connected(_ stream: EncryptedStream, _ peer: PeerInfo) {
    guard let onConnection = callbacks.on_connection else { return stream.destroy() }
    let connection = ConnectionHandle(swarm: self, isInitiator: stream.isInitiator)
    connection.adopt(stream)
    withPeerInfo(peer, isConnected: true) { onConnection(pointer, connection.pointer, $0, userData) }
  }

  /// The handle is out of the table: no call can begin anything any more. `false`: the loop has ended already, with all
  /// that was on it, and `done` will not be called.
  func destroy(force: Bool, _ done: @escaping @Sendable () -> Void) -> Bool {
    shared.withLock { $0.isDestroying = true }
    let isPosted = home.run { [self] in
      guard let engine, let node, let environment else { return done() }
      for verdict in verdicts.values { verdict.answer(Int32(HYPERSWARM_REFUSE)) }
      for request in incoming.values { request.finish { _ in } }
      var left = 2
      let leave = { [self] in
        left -= 1
        if left > 0 { return }
        engine.onConnection = nil
        environment.close { [self] in
          whenIdle = { [self] in
            // Closing the loop is the last act: the program may then close its own.
            home.loop.beginShutdown { [self] in
              release()
              done()
            }
          }
          checkIdle()
        }
      }
      // Beside each other: they share the second that withdrawing may take, and all peers learn it now.
      engine.destroy(force: force, leave)
      node.destroy(force: force, leave)
    }
    if !isPosted { release() }
    return isPosted
  }

  private func release() {
    sessions = [:]
    engine = nil
    node = nil
    environment = nil
  }

  func checkIdle() {
    guard let body = whenIdle, connections.isEmpty, servers.isEmpty, shared.withLock({ $0.operations }) == 0 else {
      return
    }
    whenIdle = nil
    home.loop.defer(body)
  }

  // MARK: Operations

  /// Counts one call whose completion is to come.
  func begin() throws(Failure) {
    let code = shared.withLock { shared -> Int in
      if shared.isDestroying { return HYPERSWARM_ERR_SWARM_DESTROYED }
      guard shared.operations < Limits.operations else { return HYPERSWARM_ERR_TOO_MANY_OPERATIONS }
      shared.operations += 1
      return HYPERSWARM_OK
    }
    if code != HYPERSWARM_OK { throw Failure(code) }
    Handles.operations.withLock { $0 += 1 }
  }

  /// The completion has been called. On the loop, or before anything was posted.
  func finish() {
    shared.withLock { $0.operations -= 1 }
    Handles.operations.withLock { $0 -= 1 }
    if home.loop.isOnLoop { checkIdle() }
  }

  /// One operation. `start` runs on the loop, later, and calls its argument with the outcome; `report` calls the C
  /// callback, exactly once.
  func operation<Outcome>(
    failed: @escaping (Int32) -> Outcome, report: @escaping (Outcome) -> Void,
    _ start: @escaping (SwarmEngine, DHTNode, _ settle: @escaping (Outcome) -> Void) -> Void
  ) throws(Failure) {
    try home.checkThread()
    try begin()
    let number = Operations.next()
    var isSettled = false
    let settle: (Outcome) -> Void = { [self] outcome in
      guard !isSettled else { return }
      isSettled = true
      running[number] = nil
      report(outcome)
      finish()
    }
    let isPosted = home.run { [self] in
      guard let engine, let node, !shared.withLock({ $0.isDestroying }) else {
        return settle(failed(Int32(HYPERSWARM_ERR_SWARM_DESTROYED)))
      }
      giveUp = nil
      // Engines may answer at once; C never hears of it inside a call of its own, because this runs later.
      start(engine, node, settle)
      if !isSettled {
        running[number] = { [giveUp] in
          settle(failed(Int32(HYPERSWARM_ERR_CANCELLED)))
          giveUp?()
        }
      }
      giveUp = nil
    }
    if !isPosted {
      finish()
      throw Failure(HYPERSWARM_ERR_SWARM_DESTROYED)
    }
    Operations.last = number
  }

  /// How to end what the operation that is being started has begun, when it is cancelled.
  func whenCancelled(_ body: @escaping () -> Void) { giveUp = body }

  func cancel(_ operation: UInt64) throws(Failure) {
    try home.checkThread()
    // Behind the start of the operation.
    let isPosted = home.run { [self] in running.removeValue(forKey: operation)?() }
    if !isPosted { throw Failure(HYPERSWARM_ERR_SWARM_DESTROYED) }
  }

  func operation(
    _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?,
    _ start: @escaping (SwarmEngine, DHTNode, _ settle: @escaping (Int32) -> Void) -> Void
  ) throws(Failure) {
    try operation(failed: { $0 }, report: { [pointer] in done?(pointer, $0, userData) }, start)
  }
}

/// Hands key and address to a firewall callback.
func firewallAnswer(
  _ publicKey: Bytes32, _ address: Endpoint?, _ body: (UnsafePointer<UInt8>?, UnsafePointer<CChar>?) -> Int32
) -> Int32 {
  publicKey.withUnsafePointer { key in
    guard let address else { return body(key, nil) }
    return address.description.withCString { body(key, $0) }
  }
}

func withPeerInfo(
  _ peer: PeerInfo, isConnected: Bool, _ body: (UnsafePointer<hyperswarm_peer_info_t>?) -> Void
) {
  let topics = peer.topics.flatMap(\.bytes)
  topics.withUnsafeBufferPointer { topics in
    peer.publicKey.withUnsafePointer { key in
      var info = hyperswarm_peer_info_t()
      info.size = MemoryLayout<hyperswarm_peer_info_t>.size
      info.public_key = key
      info.topics = topics.baseAddress
      info.topic_count = topics.count / Bytes32.count
      info.attempts = UInt32(clamping: peer.attempts)
      info.is_client = peer.isClient ? 1 : 0
      info.is_proven = peer.isProven ? 1 : 0
      info.is_banned = peer.isBanned ? 1 : 0
      info.is_explicit = peer.isExplicit ? 1 : 0
      info.is_queued = peer.isQueued ? 1 : 0
      info.is_waiting = peer.isWaiting ? 1 : 0
      info.is_connected = isConnected ? 1 : 0
      peer.relayAddresses.map(\.description).joined(separator: ",").withCString {
        info.relay_addresses = $0
        body(&info)
      }
    }
  }
}
