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

/// Time and random numbers for a stream over a transport of the program's own. A secret stream asks for nothing else.
final class LoopEnvironment: Environment {
  private let loop: UVEventLoop
  private(set) lazy var sharedTicks = SharedTicks(self)

  init(loop: UVEventLoop) { self.loop = loop }

  @inline(__always)
  var now: UInt64 { loop.now }

  var wallClock: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(max(0, time.tv_sec)) &* 1000 &+ UInt64(max(0, time.tv_nsec)) / 1_000_000
  }

  func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    loop.schedule(after: milliseconds, action)
  }

  func `defer`(_ action: @escaping () -> Void) { loop.defer(action) }

  func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) { Sodium.randomBytes(bytes) }

  func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) { loop.resolve(name, completion) }

  func makeSocket() -> any DatagramSocket { preconditionFailure("a secret stream opens no socket") }

  func makeStream(localID: UInt32) -> any TransportStream {
    preconditionFailure("a secret stream is given its transport")
  }

  func interfaces() -> [InterfaceAddress] { UVEventLoop.interfaces() }

  func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    loop.watchInterfaces(every: milliseconds, onChange)
  }
}

/// The thread of the streams that were given no loop. It runs as long as one of them refers to it.
final class SharedLoop: Sendable {
  private final class Latest: @unchecked Sendable {
    weak var loop: SharedLoop?
  }

  private static let latest = Locked(Latest())

  let loop: UVEventLoop

  private init() throws(EventLoopError) { loop = try UVEventLoop.startThread() }

  static func current() throws(EventLoopError) -> SharedLoop {
    // Read and made under the lock, so that two first streams share one thread.
    let result = latest.withLock { latest -> Result<SharedLoop, EventLoopError> in
      if let loop = latest.loop { return .success(loop) }
      do throws(EventLoopError) {
        let loop = try SharedLoop()
        latest.loop = loop
        return .success(loop)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  deinit { loop.beginShutdown(nil) }
}
