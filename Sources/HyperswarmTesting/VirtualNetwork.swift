import HyperEncoding
import HyperEnvironment
import HyperUDX

/// A network in virtual time: hosts, NAT boxes, packets, timers, one seeded random source. The transport on it is the
/// real one, packet by packet.
///
/// - Time: nothing happens until `advance(by:)` or `run(within:until:)` moves it. Times are whole microseconds; an hour
///   without packets costs no time.
/// - Determinism: the same program with the same seed sees the same packets at the same times and has the same
///   `traceDigest`, on every processor. It stays so as long as the program takes its own random numbers from `random`
///   and does nothing in the order of a `Set` or `Dictionary`, which Swift changes from run to run.
/// - Threads: a network and all that is made on it belong to one thread (or actor). Nothing is locked. Tasks of its
///   `executor`, such as those of `task(_:)`, run inside `advance` and `run`, on the thread that calls them.
/// - Bounds: no limit of its own; a host with a DHT node takes about 50 KB of memory.
///
/// The async interface of `Hyperswarm` runs on real event loops and is not available in virtual time; `VirtualSwarm`
/// has its features with callbacks.
public final class VirtualNetwork {
  /// One datagram that a socket sent.
  public struct Packet {
    /// Microseconds on the clock of the network, which begins at 1,000,000: `elapsed` is that much less.
    public var sentAt: UInt64
    /// As the receiver sees the sender, behind the sender's NAT.
    public var source: Endpoint
    /// Where the packet goes.
    public var destination: Endpoint
    /// The UDP payload.
    public var bytes: [UInt8]
    /// A packet of a transport stream rather than a datagram of the DHT.
    public var isStream: Bool
    /// Hops that the sender has allowed, 1 to 255, 64 where it has not said. The network itself takes none off.
    public var ttl: UInt8
    /// In `log`: lost, filtered by a NAT, or without a receiver.
    public var wasDropped: Bool
  }

  /// Give it to `init(seed:)` to see the same run again.
  public let seed: UInt64
  /// Random numbers of the simulation, also for the program that uses it.
  public var random: SeededRandom
  /// Of every packet of hosts without conditions of their own.
  public var conditions = LinkConditions() {
    didSet { link = Link(conditions) }
  }
  /// Return `true` to lose a packet. Called for each one when it is sent, in the order of sending; must not move time.
  /// Held until it is replaced or the network goes.
  public var shouldDrop: ((Packet) -> Bool)?
  /// One-way delay in microseconds of a packet, instead of the one by `conditions`.
  package var latency: ((Packet) -> UInt64)?
  /// Every datagram sent while `isLogging`, in order; packets of streams only with `logsStreams`. Grows without bound:
  /// see `clearLog`.
  public package(set) var log: [Packet] = []
  /// Whether packets are kept in `log`, which grows without bound then.
  public var isLogging: Bool
  /// Whether the packets of streams are logged as well.
  public var logsStreams = false
  /// What hosts find by name, by lower-case name: 5 milliseconds after they have asked. Other names lead nowhere.
  public var names: [String: [IPv4Address]] = [:]
  /// Microseconds.
  package var resolveDelay: UInt64 = 5_000

  let time = VirtualTime()
  let backLink = BackLink<VirtualNetwork>()
  var hosts: [IPv4Address: VirtualHost] = [:]
  var nats: [IPv4Address: VirtualNAT] = [:]
  var link = Link(LinkConditions())
  var digest = TraceDigest()
  /// Memory that the transports of all hosts use in turn.
  let pool = RequestPool()
  var transports = WarmTransports()
  private var nextHost: UInt32 = 0
  private var nextNAT: UInt32 = 0

  /// Deferred actions that run when a network goes: closing a host takes a few for each of its sockets and streams.
  private static let closingActions = 1 << 20

  /// A network without hosts; the seed decides everything that is random on it. Letting go of it ends all that is on
  /// it: no callback comes any more.
  public init(seed: UInt64, isLogging: Bool = false) {
    self.seed = seed
    self.isLogging = isLogging
    random = SeededRandom(seed: seed)
    backLink.object = self
  }

  deinit {
    backLink.object = nil
    shouldDrop = nil
    latency = nil
    for host in hosts.values { host.dismantle() }
    time.stop(bound: VirtualNetwork.closingActions)
  }

  // MARK: Hosts

  /// A new host, which the network holds. Without an address: 1.0.1.1, 1.0.2.1, ... (public-looking, each in a /24 of
  /// its own). An address that is given must be free: a host that has it would not be reached any more.
  public func makeHost(_ address: IPv4Address? = nil) -> VirtualHost {
    let host = VirtualHost(
      network: self, time: time, address: address ?? freeAddress(0x0100_0001, &nextHost), seed: random.next())
    hosts[host.address] = host
    return host
  }

  /// A host with a private address behind `nat`. The address must be free on the whole network, also of hosts behind
  /// other boxes.
  public func makeHost(_ address: IPv4Address, behind nat: VirtualNAT) -> VirtualHost {
    let host = makeHost(address)
    host.nat = nat
    return host
  }

  /// A NAT box with a public address of its own: 101.0.1.1, 101.0.2.1, ...
  public func makeNAT(mapping: VirtualNAT.Mapping, filter: VirtualNAT.Filter) -> VirtualNAT {
    VirtualNAT(network: self, address: freeAddress(0x6500_0001, &nextNAT), mapping: mapping, filter: filter)
  }

  private func freeAddress(_ base: UInt32, _ counter: inout UInt32) -> IPv4Address {
    while true {
      counter += 1
      let candidate = IPv4Address(value: base &+ counter << 8)
      if hosts[candidate] == nil, nats[candidate] == nil { return candidate }
    }
  }

  func rename(_ host: VirtualHost, to address: IPv4Address) {
    precondition(hosts[address] == nil || hosts[address] === host, "the address is free")
    hosts[host.address] = nil
    hosts[address] = host
  }

  // MARK: Partitions

  /// Cuts the network: packets pass only between hosts of one group. Hosts that are in none, and hosts that are made
  /// later, form one more group. Replaces an earlier partition; packets on their way across are lost, too.
  public func partition(_ groups: [[VirtualHost]]) {
    heal()
    for (index, group) in groups.enumerated() {
      for host in group { host.partition = index + 1 }
    }
  }

  /// Ends a partition.
  public func heal() {
    for host in hosts.values { host.partition = 0 }
  }

  // MARK: Time

  /// Microseconds on the clock of the network.
  package var now: UInt64 { time.now }

  /// Virtual time since the network was made.
  public var elapsed: Duration { .microseconds(Int64(clamping: time.now - VirtualTime.start)) }

  /// Runs everything that is due within `duration` and stops there. Not from inside a callback.
  public func advance(by duration: Duration) { advance(microseconds: duration.microseconds) }

  /// Runs until `condition` holds, at most for `duration`. Not from inside a callback.
  /// - `condition`: asked before the first event and after each; must not move time.
  /// - Returns: whether it holds. Time stands then at the event that has made it hold, else at the end of `duration`.
  @discardableResult
  public func run(within duration: Duration, until condition: () -> Bool) -> Bool {
    time.run(until: time.now &+ duration.microseconds, condition: condition)
  }

  /// Runs `action` once, after `delay` of virtual time, inside an `advance` or `run`. Held until then.
  @discardableResult
  public func schedule(after delay: Duration, _ action: @escaping () -> Void) -> VirtualTimer {
    time.schedule(afterMicroseconds: delay.microseconds, action)
  }

  package func advance(by milliseconds: UInt64) { advance(microseconds: milliseconds * 1000) }

  private func advance(microseconds: UInt64) { _ = time.run(until: time.now &+ microseconds) { false } }

  @discardableResult
  package func run(within milliseconds: UInt64, until condition: () -> Bool) -> Bool {
    time.run(until: time.now &+ milliseconds * 1000, condition: condition)
  }

  /// Runs until no event is left, at most `milliseconds` (periodic timers of living nodes never end); returns whether
  /// nothing is left.
  @discardableResult
  package func runUntilIdle(within milliseconds: UInt64 = 60_000) -> Bool {
    time.runUntilIdle(until: time.now &+ milliseconds * 1000)
    return time.isIdle
  }

  /// Timers, datagrams and deferred actions that have not run yet.
  package var pendingEventCount: Int { time.pendingEventCount }

  /// As `Environment.schedule`, with the resolution of the clock.
  package func schedule(afterMicroseconds delay: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    time.schedule(afterMicroseconds: delay, action)
  }

  /// A hash of all packets so far: times, addresses, bytes and fate. Equal runs have equal digests.
  public var traceDigest: UInt64 { digest.value }
}

/// A reference that does not hold its object, which clears it when it goes. Read for each packet: a `weak` reference
/// costs more, and makes every other reference to the object dearer.
final class BackLink<Object: AnyObject> {
  unowned(unsafe) var object: Object?
}
