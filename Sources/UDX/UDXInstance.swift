import CHyperUDX
import HyperEnvironment
import HyperRuntime

/// A C transport instance: what sockets and streams share. Stream ids are unique within one.
///
/// Loop-confined, like the sockets and streams on it: made, used and let go of on its loop. They call back on the loop,
/// never inside the call that causes it unless said so. The owner of an instance calls `close`; the shutdown of the
/// loop does it otherwise.
public final class UDXInstance {
  package let udx: UnsafeMutablePointer<udx_t>
  let pool: RequestPool
  /// Runs a closure in the next turn.
  let later: (@escaping () -> Void) -> Void
  /// Whether `close` has been called.
  public private(set) var isClosed = false
  /// Undoes what the loop knows about this instance.
  private var detach: (() -> Void)?

  private var closeCallbacks: [() -> Void] = []
  private var isHeld = false

  /// On `loop`, on whose thread the caller must be.
  /// - Throws: what the system says: `EMFILE` without descriptors, `ENOMEM`.
  public convenience init(loop: UVEventLoop) throws(TransportError) {
    loop.assertOnLoop()
    try self.init(later: { loop.defer($0) }, start: { udx_init(loop.uv, $0, $1) })
    let hook = loop.addShutdownHook { [weak self] closed in
      guard let self else { return closed() }
      self.close(closed)
    }
    detach = { loop.removeShutdownHook(hook) }
  }

  /// On libuv or on another driver.
  /// - Parameters:
  ///   - later: runs a closure in the next turn of whatever the instance lives on.
  ///   - pool: shared with other instances of the thread; `nil` is one of its own.
  ///   - start: initializes the C instance with the given idle callback.
  package init(
    later: @escaping (@escaping () -> Void) -> Void,
    pool: RequestPool? = nil,
    start: (UnsafeMutablePointer<udx_t>, @escaping @convention(c) (UnsafeMutablePointer<udx_t>?) -> Void) -> Int32
  ) throws(TransportError) {
    Limits.check()
    self.later = later
    self.pool = pool ?? RequestPool()
    udx = .allocate(capacity: 1)
    udx.initialize(to: udx_t())
    let result = start(udx) { udx in
      guard let context = udx?.pointee.data else { return }
      // A strong reference for the time of the call: C allows that the instance is freed at its end, not earlier.
      let this = Unmanaged<UDXInstance>.fromOpaque(context).takeUnretainedValue()
      this.becameIdle()
    }
    guard result == 0 else { throw TransportError(uv: result) }
    udx.pointee.data = Unmanaged.passUnretained(self).toOpaque()
  }

  deinit {
    detach?()
    closeTrace()
    udx.deallocate()
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
    closeTrace()
    let callbacks = closeCallbacks
    closeCallbacks = []
    guard !callbacks.isEmpty else { return }
    later { for callback in callbacks { callback() } }
  }

  /// Packets of this host take another way out than before: nothing leaves from an address because that was asked.
  func forgetAsked() {
    if !isClosed { udx_forget_asked(udx) }
  }

  /// Destroys all streams, closes all sockets; `completion` runs once, on the loop, in a later turn, when C holds
  /// nothing any more. Nothing can be made on the instance from now on. May be called more than once.
  public func close(_ completion: (() -> Void)? = nil) {
    detach?()
    detach = nil
    if let completion { closeCallbacks.append(completion) }
    if !isClosed {
      isClosed = true
      udx_teardown(udx)
    }
    if udx_is_idle(udx) != 0 { becameIdle() }
  }
}
