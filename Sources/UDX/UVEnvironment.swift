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
  private var isHeld = false

  package init(loop: UVEventLoop) throws(TransportError) {
    loop.assertOnLoop()
    self.loop = loop
    udx = .allocate(capacity: 1)
    udx.initialize(to: udx_t())
    let result = udx_init(loop.uv, udx) { udx in
      guard let context = udx?.pointee.data else { return }
      // A strong reference for the time of the call: C allows that the instance is freed at its end, not earlier.
      let this = Unmanaged<UVEnvironment>.fromOpaque(context).takeUnretainedValue()
      this.becameIdle()
    }
    guard result == 0 else { throw TransportError(uv: result) }
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
      udx_teardown(udx)
    }
    if udx_is_idle(udx) != 0 { becameIdle() }
  }

  /// Called with every socket and stream that is made: C refers to the instance until it reports idle, a moment after
  /// the last of them has let go of this object.
  func becameBusy() {
    guard !isHeld else { return }
    isHeld = true
    _ = Unmanaged.passRetained(self)
  }

  private func becameIdle() {
    if isHeld {
      isHeld = false
      Unmanaged.passUnretained(self).release()
    }
    guard isClosed else { return }
    let callbacks = closeCallbacks
    closeCallbacks = []
    guard !callbacks.isEmpty else { return }
    loop.defer { for callback in callbacks { callback() } }
  }

}
