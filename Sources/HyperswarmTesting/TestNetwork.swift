import HyperEncoding
import HyperEnvironment
import HyperRuntime

/// A virtual network on virtual time: hosts, datagrams, timers, one seeded random source.
///
/// Nothing happens until time is moved by `advance(by:)` or one of the `run` functions. Equal seeds and equal calls give
/// equal runs. Not thread-safe: one test, one network.
package final class TestNetwork {
  /// One packet that a socket sent.
  package struct Packet {
    /// Microseconds since the start.
    package var sentAt: UInt64
    /// As the receiver sees the sender.
    package var source: Endpoint
    package var destination: Endpoint
    /// The bytes of a datagram; empty for packets of transport streams.
    package var bytes: [UInt8]
    /// A packet of a transport stream rather than a datagram.
    package var isStream: Bool
    package var ttl: UInt8
    /// Set in the log: dropped by a hook, by a NAT, or because nobody listens there.
    package var wasDropped: Bool
  }

  /// Microseconds.
  package private(set) var now: UInt64 = 1_000_000
  package var random: SeededRandom
  /// One-way delay in microseconds of a packet; the default is 0 to 1 ms, seeded. Packets of one pair of endpoints may
  /// overtake each other.
  package var latency: ((Packet) -> UInt64)?
  /// Return `true` to lose a packet. Streams repair such losses.
  package var shouldDrop: ((Packet) -> Bool)?
  /// Every datagram sent, in order; stream packets only with `logsStreams`.
  package var log: [Packet] = []
  package var isLogging = true
  package var logsStreams = false
  /// What `resolve` finds, by lower-case name.
  package var names: [String: [IPv4Address]] = [:]
  package var resolveDelay: UInt64 = 5_000

  var hosts: [IPv4Address: TestEnvironment] = [:]
  var nats: [IPv4Address: TestNAT] = [:]
  private var queue = EventQueue()
  private var nextHost: UInt32 = 0

  package init(seed: UInt64 = 1) {
    random = SeededRandom(seed: seed)
  }

  // Hosts and their sockets refer to each other.
  deinit { for host in hosts.values { host.dismantle() } }

  /// A new host. Without an address: 1.0.1.1, 1.0.2.1, ... (public-looking, each in a /24 of its own).
  package func makeHost(_ address: IPv4Address? = nil) -> TestEnvironment {
    var chosen = address
    while chosen == nil {
      nextHost += 1
      let candidate = IPv4Address(value: 0x0100_0001 + nextHost << 8)
      if hosts[candidate] == nil { chosen = candidate }
    }
    let host = TestEnvironment(network: self, address: chosen ?? .loopback, seed: random.next())
    hosts[host.address] = host
    return host
  }

  /// A host with a private address behind `nat`.
  package func makeHost(_ address: IPv4Address, behind nat: TestNAT) -> TestEnvironment {
    let host = makeHost(address)
    host.nat = nat
    return host
  }

  // MARK: Time

  /// Runs everything that is due within the next `milliseconds` and stops there.
  package func advance(by milliseconds: UInt64) {
    let end = now &+ milliseconds * 1000
    while let next = queue.nextTime, next <= end { runNext() }
    now = max(now, end)
  }

  /// Runs until `condition` holds, at most `milliseconds`; returns whether it holds.
  @discardableResult
  package func run(within milliseconds: UInt64, until condition: () -> Bool) -> Bool {
    let end = now &+ milliseconds * 1000
    while !condition() {
      guard let next = queue.nextTime, next <= end else {
        now = max(now, end)
        return condition()
      }
      runNext()
    }
    return true
  }

  /// Runs until no event is left, at most `milliseconds` (periodic timers of living nodes never end); returns whether
  /// nothing is left.
  @discardableResult
  package func runUntilIdle(within milliseconds: UInt64 = 60_000) -> Bool {
    let end = now &+ milliseconds * 1000
    while let next = queue.nextTime, next <= end { runNext() }
    return queue.nextTime == nil
  }

  /// Timers, datagrams and deferred actions that have not run yet.
  package var pendingEventCount: Int { queue.count }

  private func runNext() {
    guard let event = queue.pop() else { return }
    now = max(now, event.time)
    event.action?()
  }

  /// As `Environment.schedule`, with the resolution of the clock.
  package func schedule(afterMicroseconds delay: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    queue.push(time: now &+ delay, isDeferred: false, action)
  }

  func deferred(_ action: @escaping () -> Void) { _ = queue.push(time: now, isDeferred: true, action) }

  // MARK: Packets

  /// Sends from a socket; `deliver` is called on the receiving host's socket when the packet gets there.
  func send(
    from socket: TestSocket, to destination: Endpoint, bytes: [UInt8], isStream: Bool, ttl: UInt8,
    deliver: @escaping (TestSocket, Endpoint) -> Void
  ) {
    guard let local = socket.localEndpoint else { return }
    let host = socket.environment
    var source = Endpoint(host: local.host == .any ? host.address : local.host, port: local.port)
    let isLoopback = destination.host.value >> 24 == 127
    if isLoopback, local.host == .any { source.host = .loopback }
    // Inside one private network packets do not pass the NAT.
    let staysInside = host.nat != nil && hosts[destination.host]?.nat === host.nat
    if let nat = host.nat, !isLoopback, !staysInside {
      source = nat.outbound(from: source, to: destination, now: now)
    }
    var packet = Packet(
      sentAt: now, source: source, destination: destination, bytes: bytes, isStream: isStream, ttl: ttl,
      wasDropped: false)
    if shouldDrop?(packet) == true {
      packet.wasDropped = true
      record(packet)
      return
    }
    let delay = latency?(packet) ?? random.next() % 1001
    let index = record(packet)
    let origin = host
    _ = schedule(afterMicroseconds: delay) { [weak self] in
      guard let self else { return }
      guard let target = receiver(of: packet, from: origin) else {
        if let index, index < log.count { log[index].wasDropped = true }
        return
      }
      deliver(target, source)
    }
  }

  @discardableResult
  private func record(_ packet: Packet) -> Int? {
    guard isLogging, !packet.isStream || logsStreams else { return nil }
    log.append(packet)
    return log.count - 1
  }

  private func receiver(of packet: Packet, from origin: TestEnvironment) -> TestSocket? {
    var destination = packet.destination
    if destination.host.value >> 24 == 127 { return origin.socket(at: destination) }
    if let nat = nats[destination.host] {
      guard let inside = nat.inbound(to: destination, from: packet.source, now: now) else { return nil }
      destination = inside
      return hosts[destination.host]?.socket(at: destination)
    }
    guard let host = hosts[destination.host] else { return nil }
    // A private address is reachable only from the same network.
    if let nat = host.nat, origin.nat !== nat { return nil }
    return host.socket(at: destination)
  }
}

/// SplitMix64: small, seeded, the same on every machine.
package struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  package mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}

/// A timer of the network.
final class TestEvent: ScheduledAction {
  let time: UInt64
  let order: UInt64
  var action: (() -> Void)?

  init(time: UInt64, order: UInt64, action: @escaping () -> Void) {
    self.time = time
    self.order = order
    self.action = action
  }

  func cancel() { action = nil }
}

/// Binary heap by time, then by order of creation; deferred actions come before timers of the same time.
struct EventQueue {
  private var heap: [TestEvent] = []
  private var counter: UInt64 = 1 << 32
  private var deferredCounter: UInt64 = 0

  var count: Int { heap.count { $0.action != nil } }

  /// Time of the next event that has not been cancelled.
  var nextTime: UInt64? {
    mutating get {
      while let first = heap.first, first.action == nil { _ = removeFirst() }
      return heap.first?.time
    }
  }

  mutating func push(time: UInt64, isDeferred: Bool, _ action: @escaping () -> Void) -> TestEvent {
    let order: UInt64
    if isDeferred {
      deferredCounter += 1
      order = deferredCounter
    } else {
      counter += 1
      order = counter
    }
    let event = TestEvent(time: time, order: order, action: action)
    heap.append(event)
    var index = heap.count - 1
    while index > 0 {
      let parent = (index - 1) / 2
      guard before(heap[index], heap[parent]) else { break }
      heap.swapAt(index, parent)
      index = parent
    }
    return event
  }

  mutating func pop() -> (time: UInt64, action: (() -> Void)?)? {
    guard !heap.isEmpty else { return nil }
    let event = removeFirst()
    defer { event.action = nil }
    return (event.time, event.action)
  }

  private func before(_ a: TestEvent, _ b: TestEvent) -> Bool {
    a.time != b.time ? a.time < b.time : a.order < b.order
  }

  private mutating func removeFirst() -> TestEvent {
    let first = heap[0]
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      var index = 0
      while true {
        var smallest = index
        for child in [2 * index + 1, 2 * index + 2] where child < heap.count && before(heap[child], heap[smallest]) {
          smallest = child
        }
        guard smallest != index else { break }
        heap.swapAt(index, smallest)
        index = smallest
      }
    }
    return first
  }
}
