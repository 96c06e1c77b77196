import HyperEncoding

/// Everything an engine may ask of the outside world.
///
/// Engines (RPC, DHT, secret streams, swarm) are confined to one loop and never read a clock, a socket or a random
/// source themselves: they get an environment. Production runs on libuv (`EventLoop` + `UDX`), tests and simulations
/// on virtual time. All calls and all callbacks happen on the loop.
package protocol Environment: AnyObject {
  /// Monotonic time in microseconds since an arbitrary start.
  var now: UInt64 { get }

  /// Wall-clock time in milliseconds since 1970-01-01 UTC.
  var wallClock: UInt64 { get }

  /// Milliseconds since an arbitrary start, the time that the machine sleeps included. Setting the wall clock does not
  /// move it.
  var uptime: UInt64 { get }

  /// Runs `action` once after `milliseconds`, unless cancelled. Never runs it inside this call.
  func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction

  /// For deadlines that may come a little early, and that many have.
  var sharedTicks: SharedTicks { get }

  /// Runs `action` in the next turn of the loop, before timers.
  func `defer`(_ action: @escaping () -> Void)

  /// Fills `bytes` with cryptographically secure random bytes (seeded in simulations).
  func randomBytes(_ bytes: UnsafeMutableRawBufferPointer)

  /// Resolves a host name to IPv4 addresses; `completion` runs exactly once, later, with an empty list on failure.
  func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void)

  /// A new unbound UDP socket.
  func makeSocket() -> any DatagramSocket

  /// A new unconnected transport stream with a caller-chosen local id, unique in this environment.
  func makeStream(localID: UInt32) -> any TransportStream

  /// The IPv4 addresses of this host's interfaces.
  func interfaces() -> [InterfaceAddress]

  /// The ways that packets to these destinations take now. Equal before and after a change of interfaces, they say that
  /// the change is none of ours. `nil` when the system cannot be asked now, which says nothing about the ways.
  func routes(to destinations: [IPv4Address]) -> [Route?]?

  /// Packets take other ways than before: what is sent now leaves from the address that the system chooses, also to
  /// those that have lately spoken to another one.
  func routesChanged()

  /// Calls `onChange` when the interface list or a route changes, until cancelled. Where the system does not
  /// tell, it is asked every `milliseconds`.
  func watchInterfaces(every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void)
    -> any ScheduledAction
}

extension Environment {
  /// Where the system tells no better, the wall clock.
  package var uptime: UInt64 { wallClock }

  package func routes(to destinations: [IPv4Address]) -> [Route?]? { routesByInterface(to: destinations) }

  package func routesChanged() {}

  /// Where the system tells no better, all packets leave from the first interface.
  package func routesByInterface(to destinations: [IPv4Address]) -> [Route?] {
    let first = interfaces().first { !$0.isInternal }
    let route = first.map { first in
      Route(source: first.address, interface: first.name.utf8.reduce(0) { $0 &* 31 &+ UInt32($1) })
    }
    return destinations.map { $0.isLoopback ? Route(source: $0) : route }
  }

  /// Monotonic time in whole milliseconds.
  package var nowMilliseconds: UInt64 { now / 1000 }

  /// Milliseconds, at least one, until the clock shows a whole multiple of `period`. Timers whose periods divide each
  /// other come together then, whenever they were begun.
  package func untilWhole(_ period: UInt64) -> UInt64 { period - nowMilliseconds % period }

  package func random(count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { randomBytes($0) }
    return bytes
  }

  package func random32() -> Bytes32 {
    Bytes32(filledBy: { randomBytes(UnsafeMutableRawBufferPointer(start: $0, count: 32)) })
  }

  package func randomUInt32() -> UInt32 {
    var value: UInt32 = 0
    withUnsafeMutableBytes(of: &value) { randomBytes($0) }
    return value
  }

  /// Uniform in `0..<bound` by rejection; 0 for a bound of 0.
  package func random(below bound: UInt32) -> UInt32 {
    guard bound > 1 else { return 0 }
    let limit = UInt32.max - UInt32.max % bound
    while true {
      let value = randomUInt32()
      if value < limit { return value % bound }
    }
  }
}

/// A timer or a watch. Cancelling twice, or after it has fired, does nothing.
package protocol ScheduledAction: AnyObject {
  func cancel()
}

/// The way of packets to a destination.
package struct Route: Hashable, Sendable {
  package var source: IPv4Address
  /// 0.0.0.0 for a neighbour, and where the system does not tell.
  package var gateway: IPv4Address
  /// The system's number of the interface; 0 where it does not tell.
  package var interface: UInt32

  package init(source: IPv4Address, gateway: IPv4Address = .any, interface: UInt32 = 0) {
    self.source = source
    self.gateway = gateway
    self.interface = interface
  }
}

package struct InterfaceAddress: Hashable, Sendable {
  package var name: String
  package var address: IPv4Address
  /// Loopback and the like.
  package var isInternal: Bool

  package init(name: String, address: IPv4Address, isInternal: Bool) {
    self.name = name
    self.address = address
    self.isInternal = isInternal
  }
}

/// Why a socket or stream operation failed: a negative errno as libuv has it, and its text.
public struct TransportError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The negative errno of libuv.
  public var code: Int32
  public var description: String

  /// An error with the negative errno of libuv and a text for people.
  public init(code: Int32, description: String) {
    self.code = code
    self.description = description
  }
}
