import CHyperUV
import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRuntime

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The outside world of one node: real time, real sockets, the system's random source, over a libuv loop.
///
/// One instance per node, because stream ids are unique per instance. Loop-confined. Its owner calls `close`;
/// the shutdown of the loop does it otherwise.
package final class UVEnvironment: Environment {
  package let loop: UVEventLoop
  package let instance: UDXInstance
  package private(set) lazy var sharedTicks = SharedTicks(self)
  private var drawn = RandomPool()

  package init(loop: UVEventLoop) throws(TransportError) {
    self.loop = loop
    instance = try UDXInstance(loop: loop)
  }

  // MARK: Environment

  @inline(__always)
  package var now: UInt64 { loop.now }

  package var wallClock: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(max(0, time.tv_sec)) &* 1000 &+ UInt64(max(0, time.tv_nsec)) / 1_000_000
  }

  package var uptime: UInt64 {
    var time = timespec()
    #if canImport(Darwin)
      // Runs on while the machine sleeps.
      clock_gettime(CLOCK_MONOTONIC, &time)
    #else
      clock_gettime(CLOCK_BOOTTIME, &time)
    #endif
    return UInt64(max(0, time.tv_sec)) &* 1000 &+ UInt64(max(0, time.tv_nsec)) / 1_000_000
  }

  package func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    loop.schedule(after: milliseconds, action)
  }

  package func `defer`(_ action: @escaping () -> Void) { loop.defer(action) }

  package func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) { drawn.take(bytes) }

  package func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) {
    loop.resolve(name, completion)
  }

  package func makeSocket() -> any DatagramSocket { UDXSocket(environment: instance) }

  package func makeStream(localID: UInt32) -> any TransportStream { UDXStream(environment: instance, localID: localID) }

  package func interfaces() -> [InterfaceAddress] { UVEventLoop.interfaces() }

  package func routes(to destinations: [IPv4Address]) -> [Route?]? { UVEventLoop.routes(to: destinations) }

  package func routesChanged() { instance.forgetAsked() }

  package func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    loop.watchInterfaces(every: milliseconds, onChange)
  }

  // MARK: Closing

  /// Destroys all streams, closes all sockets; `completion` runs once, later, when that has happened.
  package func close(_ completion: (() -> Void)? = nil) { instance.close(completion) }
}
