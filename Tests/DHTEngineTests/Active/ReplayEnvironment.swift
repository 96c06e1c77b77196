import HyperEncoding
import HyperEnvironment
import HyperswarmTesting

@testable import HyperDHTEngine

/// The world of one role of a recorded session: time is virtual, ports and secrets are the recorded ones, datagrams go
/// to the harness.
final class ReplayEnvironment: Environment {
  let clock: VirtualHost
  /// Secrets to hand out, by size; random (seeded) bytes when there are none left.
  var secrets: [Int: [[UInt8]]] = [:]
  /// Ports for sockets that leave the choice to the system, by bind host where it matters.
  var ports: [UInt16] = []
  var onSend: ((ReplaySocket, [UInt8], Endpoint, UInt8) -> Void)?
  var sockets: [ReplaySocket] = []
  var streams: [ReplayStream] = []
  private var nextPort: UInt16 = 20_000
  private(set) lazy var sharedTicks = SharedTicks(self)

  init(clock: VirtualHost) { self.clock = clock }

  var now: UInt64 { clock.now }
  var wallClock: UInt64 { clock.wallClock }

  func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    clock.schedule(after: milliseconds, action)
  }

  func `defer`(_ action: @escaping () -> Void) { clock.defer(action) }

  func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
    if var queue = secrets[bytes.count], !queue.isEmpty {
      bytes.copyBytes(from: queue.removeFirst())
      secrets[bytes.count] = queue
      return
    }
    clock.randomBytes(bytes)
  }

  func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) { clock.resolve(name, completion) }

  func makeSocket() -> any DatagramSocket {
    let socket = ReplaySocket(environment: self)
    sockets.append(socket)
    return socket
  }

  func makeStream(localID: UInt32) -> any TransportStream {
    let stream = ReplayStream(environment: self, localID: localID)
    streams.append(stream)
    return stream
  }

  /// The recorded hosts had nothing but loopback.
  func interfaces() -> [InterfaceAddress] { [InterfaceAddress(name: "lo", address: .loopback, isInternal: true)] }

  func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    clock.watchInterfaces(every: milliseconds, onChange)
  }

  func socket(port: UInt16) -> ReplaySocket? { sockets.first { $0.localEndpoint?.port == port } }

  func choosePort(host: IPv4Address) -> UInt16 {
    // Local address self-tests bind to loopback; their ports are of no interest.
    if host != .loopback, !ports.isEmpty { return ports.removeFirst() }
    nextPort += 1
    return nextPort
  }
}

final class ReplaySocket: DatagramSocket {
  unowned let environment: ReplayEnvironment
  var onMessage: ((UnsafeRawBufferPointer, Endpoint) -> Void)?
  var onRebind: (() -> Void)?
  var onIdle: (() -> Void)?
  private(set) var localEndpoint: Endpoint?
  private(set) var isClosed = false
  let streamCount = 0

  init(environment: ReplayEnvironment) { self.environment = environment }

  func bind(host: IPv4Address, port: UInt16) throws(TransportError) {
    localEndpoint = Endpoint(host: host, port: port == 0 ? environment.choosePort(host: host) : port)
  }

  func send(_ bytes: [UInt8], to destination: Endpoint, ttl: UInt8) {
    guard !isClosed else { return }
    environment.onSend?(self, bytes, destination, ttl)
  }

  func receive(_ bytes: [UInt8], from source: Endpoint) {
    guard !isClosed else { return }
    bytes.withUnsafeBytes { onMessage?($0, source) }
  }

  func close(_ completion: (() -> Void)?) {
    isClosed = true
    if let completion { environment.defer(completion) }
  }
}

/// Records what is written; the harness says what arrives.
final class ReplayStream: TransportStream {
  unowned let environment: ReplayEnvironment
  let localID: UInt32
  var firewall: ((any DatagramSocket, Endpoint) -> Bool)?
  var asksForSources = false
  var judgesSource: (([UnsafeRawBufferPointer]) -> SourceVerdict)?
  var judgesMessage: ((UnsafeRawBufferPointer) -> Bool)?
  var followsPeer = false
  var onPeerMoved: ((Endpoint) -> Void)?
  var onData: ((UnsafeRawBufferPointer) -> Void)?
  var onEnd: (() -> Void)?
  var onDrain: (() -> Void)?
  var onMessage: ((UnsafeRawBufferPointer) -> Void)?
  var onUnacknowledged: (() -> Void)?
  var onClose: ((TransportStreamError?) -> Void)?
  let hasUnacknowledged = false
  private(set) var socket: (any DatagramSocket)?
  private(set) var remote: Endpoint?
  private(set) var remoteID: UInt32?
  var isConnected: Bool { remote != nil }
  private(set) var isClosed = false
  let statistics = TransportStatistics()
  var written: [UInt8] = []

  init(environment: ReplayEnvironment, localID: UInt32) {
    self.environment = environment
    self.localID = localID
  }

  func connect(socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint) throws(TransportError) {
    self.socket = socket
    self.remoteID = remoteID
    self.remote = remote
  }

  func changeRemote(
    socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint, _ completion: @escaping () -> Void
  ) throws(TransportError) {
    throw TransportError(code: -38, description: "not in a replay")
  }

  let isPathValidated = true
  func reroute() {}
  func limitUntilHeard() {}
  func retransmit() {}
  func addRelayQuota(_ quota: RelayQuota) {}

  func migrate(socket: any DatagramSocket, to remote: Endpoint) throws(TransportError) {
    throw TransportError(code: -38, description: "not in a replay")
  }

  func relay(to other: any TransportStream) throws(TransportError) {
    throw TransportError(code: -38, description: "not in a replay")
  }

  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
    written.append(contentsOf: buffer.bytes)
    if let onAcknowledged { environment.defer { onAcknowledged(true) } }
    return true
  }

  /// A packet of the peer: asks the firewall as a transport does, then delivers.
  func receive(_ bytes: [UInt8], on socket: any DatagramSocket, from source: Endpoint) {
    guard !isClosed else { return }
    if self.socket == nil || self.socket !== socket, let firewall {
      guard firewall(socket, source), !isClosed else { return }
    }
    bytes.withUnsafeBytes { onData?($0) }
  }

  func end() {
  }

  func sendMessage(_ bytes: [UInt8]) {}
  func destroy() { close(nil) }
  func pauseReading() {}
  func resumeReading() {}

  private func close(_ error: TransportStreamError?) {
    guard !isClosed else { return }
    isClosed = true
    environment.defer { [self] in
      let report = onClose
      onClose = nil
      onData = nil
      onEnd = nil
      report?(error)
    }
  }
}
