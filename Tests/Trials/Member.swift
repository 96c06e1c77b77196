import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperSecretStream
import HyperswarmEngine
import HyperswarmTesting

/// One end of a connection that a swarm has reported.
final class End {
  let connection: VirtualConnection
  /// The same on both sides, whatever the path.
  let session: Bytes64?
  let openedAt: Duration
  /// The computer at the other end, and what it has of this connection; `nil` once that has closed.
  var peer: Member?
  var other: End?
  /// Since when the other end is missing, or cannot be reached.
  var loneSince: Duration?
  var isReported = false
  private(set) var sent: UInt64 = 0
  private(set) var received: UInt64 = 0

  init(_ connection: VirtualConnection, at now: Duration) {
    self.connection = connection
    session = connection.stream.handshakeHash
    openedAt = now
  }

  /// A message with its number in front.
  func write(size: Int) {
    var bytes = (0..<8).map { UInt8(truncatingIfNeeded: sent >> (8 * $0)) }
    bytes += [UInt8](repeating: UInt8(truncatingIfNeeded: sent), count: size)
    sent += 1
    connection.write(bytes)
  }

  /// What its transport knows.
  var state: String {
    guard let transport = connection.stream.transport else { return "no transport" }
    return "over \(String(describing: transport.remote)), \(transport.statistics)"
  }

  /// Whether the message is the next one.
  func take(_ bytes: [UInt8]) -> Bool {
    let number = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    defer { received += 1 }
    return bytes.count >= 8 && number == received
  }
}

/// A computer and the swarm that runs on it, one after the other: the swarm comes back under its key.
final class Member {
  let name: String
  let host: VirtualHost
  let keyPair: KeyPair
  private(set) var swarm: VirtualSwarm?
  private(set) var ends: [End] = []
  /// Nothing reaches it or leaves it.
  private(set) var isCutOff = false
  private(set) var cutOffSince: Duration?
  var isSuspended = false
  /// A disturbance of this member goes on.
  var isDisturbed = false
  /// When the last one began or ended.
  var disturbedAt = Duration.zero
  private(set) var reports = 0
  var onViolation: ((String) -> Void)?
  /// A swarm of this member has reported a connection.
  var onEnd: ((End) -> Void)?
  /// Set where all that happens is told.
  var onEvent: ((String) -> Void)?

  private let network: VirtualNetwork
  private let settlements: Settlements

  init(name: String, host: VirtualHost, network: VirtualNetwork, settlements: Settlements) {
    self.name = name
    self.host = host
    self.network = network
    self.settlements = settlements
    keyPair = KeyPair(seed: Bytes32(network.random.bytes(32)) ?? Bytes32())
  }

  func start(_ testnet: VirtualTestnet, relays: [Bytes32], topic: Bytes32) throws {
    let swarm = testnet.makeSwarm(on: host, keyPair: keyPair, relays: relays)
    self.swarm = swarm
    swarm.onConnection = { [unowned self] in opened($0) }
    if let onEvent {
      swarm.engine.onAttempt = { onEvent("dial of \(Member.short($0.peer.publicKey)): \($0.stage)") }
    }
    let ready = settlements.expect("\(name): join", within: Bounds.join)
    try swarm.join(topic) { _ in ready() }
    let flushed = settlements.expect("\(name): flush", within: Bounds.flush)
    swarm.engine.flush(timeout: 60_000) { _ in flushed() }
  }

  private func opened(_ connection: VirtualConnection) {
    reports += 1
    let end = End(connection, at: network.elapsed)
    ends.append(end)
    onEnd?(end)
    onEvent?("open, \(connection.isInitiator ? "dialled" : "accepted"): \(Member.short(connection.remotePublicKey))")
    let closed = settlements.expect("\(name): close of a connection", within: .seconds(1_000_000_000))
    connection.onMessage = { [unowned self, unowned end] bytes in
      if !end.take(bytes) { onViolation?("\(name): a message is missing, or came twice") }
    }
    connection.onClose = { [unowned self, unowned end] reason in
      onEvent?("closed: \(Member.short(connection.remotePublicKey)), \(reason ?? "end")")
      if let onEvent { for line in connection.stream.pathTimeline?() ?? [] { onEvent("  \(line)") } }
      end.other?.other = nil
      end.other = nil
      ends.removeAll { $0 === end }
      closed()
    }
  }

  /// Enough of a key to tell members apart.
  static func short(_ key: Bytes32) -> String { key.bytes.prefix(3).map { String($0, radix: 16) }.joined() }

  // MARK: Disturbances

  func cutOff(_ isCut: Bool) {
    isCutOff = isCut
    cutOffSince = isCut ? network.elapsed : nil
    host.isDown = isCut
  }

  /// The process is gone at once, without a word to its peers.
  func kill(_ completion: @escaping () -> Void) {
    guard let swarm else { return completion() }
    host.isDown = true
    let done = settlements.expect("\(name): destroy(force)", within: Bounds.destroy)
    self.swarm = nil
    isSuspended = false
    swarm.engine.destroy(force: true) { [self] in
      done()
      withExtendedLifetime(swarm) {}
      if !isCutOff { host.isDown = false }
      completion()
    }
  }

  func stop(_ completion: @escaping () -> Void) {
    guard let swarm else { return completion() }
    let done = settlements.expect("\(name): destroy", within: Bounds.destroy)
    self.swarm = nil
    isSuspended = false
    swarm.destroy {
      done()
      withExtendedLifetime(swarm) {}
      completion()
    }
  }

  func suspend() {
    isSuspended = true
    let done = settlements.expect("\(name): suspend", within: Bounds.destroy)
    swarm?.suspend(done)
    if swarm == nil { done() }
  }

  func resume() {
    isSuspended = false
    let done = settlements.expect("\(name): resume", within: Bounds.destroy)
    swarm?.resume(done)
    if swarm == nil { done() }
  }

  func rejoin(_ topic: Bytes32) {
    guard let swarm else { return }
    let left = settlements.expect("\(name): leave", within: Bounds.destroy)
    let joined = settlements.expect("\(name): join again", within: Bounds.join)
    swarm.leave(topic, left)
    do {
      try swarm.join(topic) { _ in joined() }
    } catch {
      onViolation?("\(name): \(error)")
    }
  }

  /// What its node and server think.
  var state: String {
    guard let swarm else { return "no swarm" }
    let node = swarm.engine.dht
    return "online \(swarm.engine.dht.isOnline), address \(String(describing: node.rpc.remoteAddress)), "
      + "listening \(swarm.engine.isListening), relays \(swarm.engine.server.relayAddresses), "
      + "\(swarm.connections.count) connections"
  }

  var openKeys: Set<Bytes32> { Set(ends.lazy.filter { !$0.connection.isClosed }.map(\.connection.remotePublicKey)) }
}
