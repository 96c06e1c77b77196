import CLibuv
import CUDX
import CompactEncoding
import CryptoPrimitives
import Environment
import EventLoop

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The outside world of one node: real time, real sockets, the system's random source, over a libuv loop.
///
/// One instance per node, because stream ids are unique per instance. Loop-confined. Whoever makes one calls `close`;
/// the shutdown of the loop does it otherwise.
package final class UVEnvironment: Environment {
  package let loop: UVEventLoop
  let udx: UnsafeMutablePointer<udx_t>
  let pool = RequestPool()
  private(set) var isClosed = false
  /// Datagrams that could not be handed to the system.
  package var droppedSends: UInt64 = 0

  private var hook = 0
  private var closeCallbacks: [() -> Void] = []
  private var selfUntilIdle: UVEnvironment?

  package init(loop: UVEventLoop) throws(TransportError) {
    loop.assertOnLoop()
    self.loop = loop
    udx = .allocate(capacity: 1)
    udx.initialize(to: udx_t())
    let result = udx_init(loop.uv, udx) { udx in
      guard let udx, let context = udx.pointee.data else { return }
      Unmanaged<UVEnvironment>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.becameIdle() }
    }
    guard result == 0 else { throw TransportError(uv: result) }
    // Streams, sockets and requests hold the environment; it lets go of C in `close`.
    udx.pointee.data = Unmanaged.passUnretained(self).toOpaque()
    hook = loop.addShutdownHook { [weak self] closed in
      guard let self else { return closed() }
      self.close(closed)
    }
  }

  deinit {
    loop.removeShutdownHook(hook)
    udx.deallocate()
  }

  // MARK: Environment

  @inline(__always)
  package var now: UInt64 { loop.now }

  package var wallClock: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(max(0, time.tv_sec)) &* 1000 &+ UInt64(max(0, time.tv_nsec)) / 1_000_000
  }

  package func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    loop.schedule(after: milliseconds, action)
  }

  package func `defer`(_ action: @escaping () -> Void) { loop.defer(action) }

  package func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) { Sodium.randomBytes(bytes) }

  package func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) {
    loop.resolve(name, completion)
  }

  package func makeSocket() -> any DatagramSocket { UDXSocket(environment: self) }

  package func makeStream(localID: UInt32) -> any TransportStream { UDXStream(environment: self, localID: localID) }

  package func interfaces() -> [InterfaceAddress] { UVEventLoop.interfaces() }

  package func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    loop.watchInterfaces(every: milliseconds, onChange)
  }

  // MARK: Closing

  /// Destroys all streams, closes all sockets; `completion` runs once, later, when the C instance holds nothing any
  /// more.
  package func close(_ completion: (() -> Void)? = nil) {
    if let completion { closeCallbacks.append(completion) }
    if isClosed, udx_is_idle(udx) == 0 { return }
    if !isClosed {
      isClosed = true
      loop.removeShutdownHook(hook)
      // Whoever closes may let go at once; C refers to the environment until it is idle.
      selfUntilIdle = self
      udx_teardown(udx)
    }
    if udx_is_idle(udx) != 0 { becameIdle() }
  }

  private func becameIdle() {
    guard isClosed else { return }
    let callbacks = closeCallbacks
    closeCallbacks = []
    // The C engine is still on the stack; the environment has to outlive it.
    loop.defer { [self] in
      selfUntilIdle = nil
      for callback in callbacks { callback() }
    }
  }

}
