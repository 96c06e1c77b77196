import HyperEncoding
import HyperEnvironment
import HyperUDX

/// One computer of a virtual network: its addresses, sockets, streams and view of time. Made by
/// `VirtualNetwork.makeHost`, which holds it.
///
/// Sockets and streams are those of the real transport: the C engine in virtual time. Confined to the thread of its
/// network.
public final class VirtualHost: Environment {
  /// `nil` once the network is gone.
  package var network: VirtualNetwork? { networkLink.object }
  /// The host's own address, before any NAT.
  public private(set) var address: IPv4Address
  /// The NAT box in front of this host, of the same network; `nil` is none. May be exchanged: later packets pass the
  /// new one.
  public var nat: VirtualNAT?
  /// The conditions of packets that this host sends; `nil` is those of the network.
  public var conditions: LinkConditions? {
    didSet { link = conditions.map(Link.init) }
  }
  /// A host that is down neither receives nor sends, and packets on their way to it are lost; its timers run on.
  public var isDown = false
  /// Added to the wall clock and the uptime, in milliseconds: raise it to simulate sleep.
  package var wallClockOffset: UInt64 = 0
  package private(set) lazy var sharedTicks = SharedTicks(self)
  /// Added to the wall clock alone, in milliseconds: the clock is set.
  package var clockStep: UInt64 = 0
  /// This host's random source, seeded from the network's.
  package var random: SeededRandom
  /// Bytes to hand out before random ones, for replaying recorded sessions.
  package var scriptedRandom: [[UInt8]] = []

  /// What a processor and a radio would have had to do for this host.
  package let activity: HostActivity

  let time: VirtualTime
  private let networkLink: BackLink<VirtualNetwork>
  /// For what outlives the host.
  let backLink = BackLink<VirtualHost>()
  /// The transport's own source, so that its draws do not move those of the protocols.
  var transportRandom: SeededRandom
  private(set) var link: Link?
  var partition = 0
  private var sockets: [UInt16: [VirtualSocket]] = [:]
  private var streams: [WeakStream] = []
  private var streamsPrunedAt = 0
  private var interfaceList: [InterfaceAddress]
  private var watches: [InterfaceWatch] = []
  private var transport: UDXInstance?

  init(network: VirtualNetwork, time: VirtualTime, address: IPv4Address, seed: UInt64) {
    networkLink = network.backLink
    self.time = time
    self.address = address
    activity = HostActivity(time: time)
    random = SeededRandom(seed: seed)
    transportRandom = SeededRandom(seed: ~seed)
    interfaceList = VirtualHost.interfaces(address)
    backLink.object = self
  }

  deinit { backLink.object = nil }

  private static func interfaces(_ address: IPv4Address) -> [InterfaceAddress] {
    [
      InterfaceAddress(name: "lo", address: .loopback, isInternal: true),
      InterfaceAddress(name: "eth0", address: address, isInternal: false),
    ]
  }

  // MARK: Environment

  package var now: UInt64 { time.now }
  package var wallClock: UInt64 { 1_700_000_000_000 + uptime &+ clockStep }
  package var uptime: UInt64 { time.now / 1000 + wallClockOffset }

  package func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    time.schedule(afterMicroseconds: milliseconds * 1000) { [activity] in
      activity.wake()
      action()
    }
  }

  package func `defer`(_ action: @escaping () -> Void) { time.deferred(action) }

  package func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
    if let next = scriptedRandom.first, next.count == bytes.count {
      scriptedRandom.removeFirst()
      bytes.copyBytes(from: next)
      return
    }
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
  }

  package func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) {
    let found = network?.names[name.lowercased()] ?? []
    _ = time.schedule(afterMicroseconds: network?.resolveDelay ?? 0) { completion(found) }
  }

  package func makeSocket() -> any DatagramSocket { UDXSocket(environment: instance) }

  package func makeStream(localID: UInt32) -> any TransportStream {
    let stream = UDXStream(environment: instance, localID: localID)
    if streams.count > 2 * streamsPrunedAt + 16 {
      streams.removeAll { $0.stream == nil }
      streamsPrunedAt = streams.count
    }
    streams.append(WeakStream(stream: stream))
    return stream
  }

  package func interfaces() -> [InterfaceAddress] { interfaceList }

  package func routes(to destinations: [IPv4Address]) -> [Route?]? {
    isOutOfDescriptors ? nil : routesByInterface(to: destinations)
  }

  /// The system cannot be asked for routes.
  package var isOutOfDescriptors = false

  package func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    let watch = InterfaceWatch(host: self, onChange: onChange)
    watches.append(watch)
    return watch
  }

  // MARK: The transport

  /// Made with the first socket or stream: hosts that only tell the time need none.
  package var instance: UDXInstance {
    if let transport { return transport }
    do {
      let made = try makeInstance(of: self)
      transport = made
      return made
    } catch {
      preconditionFailure("the driver's table has the size that the engine expects: \(error)")
    }
  }

  /// Destroys all streams and closes all sockets of this host, as a crash of the process would; `completion` runs once,
  /// later.
  package func close(_ completion: (() -> Void)? = nil) {
    guard let transport else {
      if let completion { time.deferred(completion) }
      return
    }
    self.transport = nil
    transport.close(completion)
  }

  /// The network is gone: no callback comes any more, and the transport lets go of its memory.
  func dismantle() {
    for port in sockets.keys.sorted() {
      for socket in sockets[port] ?? [] { socket.silence() }
    }
    for stream in streams { stream.stream?.silence() }
    transport?.close()
    transport = nil
    watches = []
    nat = nil
  }

  // MARK: Changes

  /// Moves the host to another address, and behind another NAT box or none: the interfaces change, sockets that are
  /// bound to all addresses stay open.
  /// - Precondition: no other host of the network has the address.
  public func move(to address: IPv4Address, behind nat: VirtualNAT? = nil) {
    network?.rename(self, to: address)
    self.address = address
    self.nat = nat
    setInterfaces(VirtualHost.interfaces(address))
  }

  /// Changes the interface list and tells the watchers in the next turn.
  package func setInterfaces(_ list: [InterfaceAddress]) {
    interfaceList = list
    for watch in watches { time.deferred { [weak watch] in watch?.onChange?(list) } }
  }

  /// Changes the interface list as on a system that does not tell.
  package func setInterfacesSilently(_ list: [InterfaceAddress]) { interfaceList = list }

  /// Takes the ports of all sockets away, as some systems do when a network goes: each gets another one.
  package func takePorts() {
    for socket in sockets.keys.sorted().flatMap({ sockets[$0] ?? [] }) { socket.bindAnew() }
  }

  package var openSocketCount: Int { sockets.values.reduce(0) { $0 + $1.count } }
  package var openStreamCount: Int { streams.count { $0.stream?.isClosed == false } }
  package var interfaceWatchCount: Int { watches.count }

  // MARK: Sockets

  /// The bound endpoint, or a negative errno.
  func bind(_ socket: VirtualSocket, host: IPv4Address, port: UInt16) -> Result<Endpoint, TransportError> {
    guard host == .any || host == address || host.value >> 24 == 127 else { return .failure(.notAvailable) }
    var chosen = port
    if chosen == 0 {
      repeat { chosen = UInt16(32_768 + random.next() % 28_000) } while sockets[chosen] != nil
    } else if let others = sockets[chosen], others.contains(where: { overlaps($0.boundHost, host) }) {
      return .failure(.inUse)
    }
    sockets[chosen, default: []].append(socket)
    return .success(Endpoint(host: host, port: chosen))
  }

  private func overlaps(_ a: IPv4Address, _ b: IPv4Address) -> Bool { a == .any || b == .any || a == b }

  func unbind(_ socket: VirtualSocket, port: UInt16) {
    sockets[port]?.removeAll { $0 === socket }
    if sockets[port]?.isEmpty == true { sockets[port] = nil }
  }

  func socket(at endpoint: Endpoint) -> VirtualSocket? {
    guard !isDown else { return nil }
    return sockets[endpoint.port]?.first { $0.boundHost == .any || $0.boundHost == endpoint.host }
  }

  fileprivate func forget(_ watch: InterfaceWatch) { watches.removeAll { $0 === watch } }
}

/// Counters of one host since it was made.
package final class HostActivity {
  /// Moments of the clock at which a timer ran or a packet arrived.
  package private(set) var wakeUps = 0
  package private(set) var packetsSent = 0
  package private(set) var packetsReceived = 0
  /// Of the packets, with their IP and UDP headers.
  package private(set) var bytes = 0

  private static let headers = 28
  private let time: VirtualTime
  private var lastWakeUp: UInt64?

  init(time: VirtualTime) { self.time = time }

  func wake() {
    guard lastWakeUp != time.now else { return }
    lastWakeUp = time.now
    wakeUps += 1
  }

  func send(_ count: Int) {
    packetsSent += 1
    bytes += count + HostActivity.headers
  }

  func receive(_ count: Int) {
    wake()
    packetsReceived += 1
    bytes += count + HostActivity.headers
  }
}

private struct WeakStream {
  weak var stream: UDXStream?
}

extension UDXStream {
  fileprivate func silence() {
    firewall = nil
    onData = nil
    onEnd = nil
    onDrain = nil
    onMessage = nil
    onClose = nil
  }
}

private final class InterfaceWatch: ScheduledAction {
  private let host: BackLink<VirtualHost>
  var onChange: (([InterfaceAddress]) -> Void)?

  init(host: VirtualHost, onChange: @escaping ([InterfaceAddress]) -> Void) {
    self.host = host.backLink
    self.onChange = onChange
  }

  func cancel() {
    onChange = nil
    host.object?.forget(self)
  }
}
