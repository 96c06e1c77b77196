import HyperEncoding
import HyperEnvironment

/// One virtual host: its address, sockets, streams and view of time.
package final class TestEnvironment: Environment {
  package unowned let network: TestNetwork
  package let address: IPv4Address
  /// May be exchanged: the host moves to another network.
  package var nat: TestNAT?
  /// This host's random source, seeded from the network's.
  package var random: SeededRandom
  /// Bytes to hand out before random ones, for replaying recorded sessions.
  package var scriptedRandom: [[UInt8]] = []
  /// Added to the wall clock, in milliseconds: raise it to simulate sleep or a clock step.
  package var wallClockOffset: UInt64 = 0
  /// A host that is down neither receives nor sends.
  package var isDown = false

  private var sockets: [UInt16: [TestSocket]] = [:]
  var streams: [UInt32: TestStream] = [:]
  private var interfaceList: [InterfaceAddress]
  private var watches: [ObjectIdentifier: InterfaceWatch] = [:]

  init(network: TestNetwork, address: IPv4Address, seed: UInt64) {
    self.network = network
    self.address = address
    random = SeededRandom(seed: seed)
    interfaceList = [
      InterfaceAddress(name: "lo", address: .loopback, isInternal: true),
      InterfaceAddress(name: "eth0", address: address, isInternal: false),
    ]
  }

  // MARK: Environment

  package var now: UInt64 { network.now }
  package var wallClock: UInt64 { 1_700_000_000_000 + network.now / 1000 + wallClockOffset }

  package func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    network.schedule(afterMicroseconds: milliseconds * 1000, action)
  }

  package func `defer`(_ action: @escaping () -> Void) { network.deferred(action) }

  package func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
    if let next = scriptedRandom.first, next.count == bytes.count {
      scriptedRandom.removeFirst()
      bytes.copyBytes(from: next)
      return
    }
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
  }

  package func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) {
    let found = network.names[name.lowercased()] ?? []
    _ = network.schedule(afterMicroseconds: network.resolveDelay) { completion(found) }
  }

  package func makeSocket() -> any DatagramSocket { TestSocket(environment: self) }

  package func makeStream(localID: UInt32) -> any TransportStream { TestStream(environment: self, localID: localID) }

  package func interfaces() -> [InterfaceAddress] { interfaceList }

  package func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    let watch = InterfaceWatch(environment: self, onChange: onChange)
    watches[ObjectIdentifier(watch)] = watch
    return watch
  }

  // MARK: Test controls

  /// Changes the interface list and tells the watchers in the next turn.
  package func setInterfaces(_ list: [InterfaceAddress]) {
    interfaceList = list
    for watch in watches.values { network.deferred { [weak watch] in watch?.onChange?(list) } }
  }

  /// The network is gone: drops everything that holds on to this host.
  func dismantle() {
    sockets = [:]
    streams = [:]
    watches = [:]
    nat = nil
  }

  package var openSocketCount: Int { sockets.values.reduce(0) { $0 + $1.count } }
  package var openStreamCount: Int { streams.values.count { !$0.isClosed } }
  package var interfaceWatchCount: Int { watches.count }

  // MARK: Sockets

  func bind(_ socket: TestSocket, host: IPv4Address, port: UInt16) throws(TransportError) -> Endpoint {
    guard host == .any || host == address || host.value >> 24 == 127 else {
      throw TransportError(code: -99, description: "cannot assign requested address")
    }
    var chosen = port
    if chosen == 0 {
      repeat { chosen = UInt16(32_768 + random.next() % 28_000) } while sockets[chosen] != nil
    } else if let others = sockets[chosen], others.contains(where: { overlaps($0.boundHost, host) }) {
      throw TransportError(code: -98, description: "address already in use")
    }
    sockets[chosen, default: []].append(socket)
    return Endpoint(host: host, port: chosen)
  }

  private func overlaps(_ a: IPv4Address, _ b: IPv4Address) -> Bool { a == .any || b == .any || a == b }

  func unbind(_ socket: TestSocket, port: UInt16) {
    sockets[port]?.removeAll { $0 === socket }
    if sockets[port]?.isEmpty == true { sockets[port] = nil }
  }

  func socket(at endpoint: Endpoint) -> TestSocket? {
    guard !isDown else { return nil }
    return sockets[endpoint.port]?.first { $0.boundHost == .any || $0.boundHost == endpoint.host }
  }

  fileprivate func forget(_ watch: InterfaceWatch) { watches[ObjectIdentifier(watch)] = nil }
}

private final class InterfaceWatch: ScheduledAction {
  weak var environment: TestEnvironment?
  var onChange: (([InterfaceAddress]) -> Void)?

  init(environment: TestEnvironment, onChange: @escaping ([InterfaceAddress]) -> Void) {
    self.environment = environment
    self.onChange = onChange
  }

  func cancel() {
    onChange = nil
    environment?.forget(self)
  }
}
