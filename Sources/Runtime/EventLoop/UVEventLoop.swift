import CHyperUV
import HyperEnvironment
import Synchronization

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A libuv loop as a Swift executor: one thread on which all state of one or more nodes lives.
///
/// The loop can run on a thread of its own (`startThread`), be run by the caller (`init()` and `run()`: until it runs,
/// the calling thread is its own, and it stays for ever without `run` and `shutdown`), or ride on a `uv_loop_t` of
/// another owner (`init(embeddedIn:)`). In the last case it never keeps `uv_run` from returning: only timers, look-ups,
/// sockets and work that was posted from the loop itself do.
///
/// `post`, `isOnLoop`, `shutdown` and the executor functions may be called from any thread.
///
/// As an executor it runs tasks (`Task(executorPreference: loop)`) and actors (`unownedExecutor`) on the loop's thread.
public final class UVEventLoop: @unchecked Sendable {
  /// The libuv loop, for code on the loop's thread.
  package let uv: UnsafeMutablePointer<uv_loop_t>
  let ownsLoop: Bool

  // Any thread.
  let shared = Locked(SharedState())
  let ownerThread: Atomic<UInt>
  let sendersInFlight = Atomic<Int>(0)
  let threadHandle = Locked<pthread_t?>(nil)

  // Loop only from here on.
  var handles: LoopHandles
  var localJobs: [LoopJob] = []
  var spareJobs: [LoopJob] = []
  var isIdleActive = false
  var isDraining = false
  var timers = TimerHeap()
  var nextTimerSequence: UInt64 = 0
  var armedDeadline: UInt64 = .max
  /// Actions of timers run.
  private var isFiring = false
  var pendingLookups: [UInt64: NameLookup] = [:]
  var nextLookup: UInt64 = 0
  /// `false` leaves the interfaces to polling, as on systems that do not tell of changes.
  var hearsInterfaceEvents = true
  var interfaceWatches: [InterfaceWatch] = []
  var interfaceEvents: OpaquePointer?
  var shutdownHooks: [Int: (@escaping () -> Void) -> Void] = [:]
  var nextShutdownHook = 0
  var phase = Phase.open
  var openHandles = 0

  enum Phase { case open, closingUsers, closingHandles, closed }

  /// A loop that the caller runs with `run()`.
  /// - Throws: when the system has no room for the loop's descriptors.
  public convenience init() throws(EventLoopError) {
    let missing = Descriptors.probe()
    guard missing == 0 else { throw EventLoopError(missing) }
    let memory = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)
    memory.initialize(to: uv_loop_t())
    let result = uv_loop_init(memory)
    guard result == 0 else {
      memory.deallocate()
      throw EventLoopError(result)
    }
    Descriptors.took()
    do throws(EventLoopError) {
      try self.init(loop: memory, ownsLoop: true)
    } catch {
      uv_loop_close(memory)
      memory.deallocate()
      throw error
    }
  }

  /// Rides on a loop that the caller runs. Call it on the thread that runs the loop; `shutdown` must have completed
  /// before the caller closes his loop.
  /// - Parameter loop: initialised; borrowed until `shutdown` has completed.
  /// - Throws: when the system has no room for the loop's descriptors.
  public convenience init(embeddedIn loop: UnsafeMutablePointer<uv_loop_t>) throws(EventLoopError) {
    try self.init(loop: loop, ownsLoop: false)
  }

  private init(loop: UnsafeMutablePointer<uv_loop_t>, ownsLoop: Bool) throws(EventLoopError) {
    Limits.check()
    uv = loop
    self.ownsLoop = ownsLoop
    ownerThread = Atomic(currentThreadID())
    handles = LoopHandles()
    let result = handles.start(loop: loop)
    guard result == 0 else { throw EventLoopError(result) }
    openHandles = LoopHandles.count
    // Given back when the last handle has closed: libuv holds the loop from now on.
    handles.attach(Unmanaged.passRetained(self).toOpaque())
  }

  deinit {
    // Only reached after the handles have closed, or when `init` failed.
    handles.deallocate()
    if ownsLoop, phase == .closed { uv.deallocate() }
  }

  /// Whether the caller is on the loop's thread; `false` once it has ended.
  @inline(__always)
  public var isOnLoop: Bool { ownerThread.load(ordering: .relaxed) == currentThreadID() }

  /// Traps when the caller is not on the loop: a programming error, never reachable from the network.
  @inline(__always)
  package func assertOnLoop() { assert(isOnLoop, "called off the loop") }

  /// Monotonic time in microseconds.
  @inline(__always)
  package var now: UInt64 { uv_hrtime() / 1000 }

  // MARK: Running

  /// Runs an own loop on the calling thread until `shutdown`. Once only, and only a loop of `init()`: for an embedded
  /// one it stops the program.
  public func run() {
    precondition(ownsLoop, "the owner of an embedded loop runs it")
    ownerThread.store(currentThreadID(), ordering: .relaxed)
    // uv_run returns early when nothing but the unreferenced handles is left: an own loop then waits for posts.
    uv_ref(handles.asHandle(handles.async))
    while phase != .closed { uv_run(uv, UV_RUN_DEFAULT) }
    finishOwnLoop()
  }

  private func finishOwnLoop() {
    // Handles of others that are still closing get a few turns; what stays open after that is their leak.
    var turns = 0
    while uv_loop_close(uv) == UV_EBUSY.rawValue, turns < Limits.closingTurns {
      uv_run(uv, UV_RUN_NOWAIT)
      turns += 1
    }
    terminated()
  }

  // MARK: Timers

  /// Runs `action` once after `milliseconds` unless cancelled; never inside this call.
  package func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    let (delay, overflow) = milliseconds.multipliedReportingOverflow(by: 1000)
    return scheduleMicroseconds(after: overflow ? UInt64.max / 2 : delay, action)
  }

  package func scheduleMicroseconds(after delay: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    assertOnLoop()
    let (deadline, overflow) = now.addingReportingOverflow(delay)
    let timer = LoopTimer(
      deadline: overflow ? .max - 1 : deadline, sequence: nextTimerSequence, loop: self, action: action)
    nextTimerSequence &+= 1
    guard phase == .open || phase == .closingUsers, !handles.isClosing else { return timer }
    timers.insert(timer)
    if timer.index == 0 { armTimer() }
    return timer
  }

  func timerCancelled(_ timer: LoopTimer) {
    timers.remove(timer)
    // A timer that fires too early re-arms itself; only an empty heap has to let go of the loop at once.
    if timers.count == 0, !handles.isClosing {
      uv_timer_stop(handles.timer)
      armedDeadline = .max
    }
  }

  private func armTimer() {
    guard let first = timers.first, !handles.isClosing else { return }
    guard first.deadline != armedDeadline else { return }
    armedDeadline = first.deadline
    uv_update_time(uv)
    let current = now
    // libuv (1.44) runs what is started with 0 by a timer in the same pass, before it looks at a socket.
    let least: UInt64 = isFiring ? 1 : 0
    let wait = first.deadline > current ? (first.deadline - current + 999) / 1000 : least
    uv_timer_start(handles.timer, { handle in UVEventLoop.from(handle) { $0.timerFired() } }, wait, 0)
  }

  private func timerFired() {
    armedDeadline = .max
    isFiring = true
    drainLocalJobs()
    let current = now
    let newest = nextTimerSequence
    // Timers made by these actions wait for the next turn, so that no chain of zero timers can hold the loop, and what
    // waits in the sockets is read first.
    while let timer = timers.first, timer.deadline <= current, timer.sequence < newest {
      timers.remove(timer)
      timer.takeAction()?()
    }
    armTimer()
    isFiring = false
  }

  @inline(__always)
  static func from<Handle>(_ handle: UnsafeMutablePointer<Handle>?, _ body: (UVEventLoop) -> Void) {
    guard let handle,
      let context = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self).pointee.data
    else { return }
    Unmanaged<UVEventLoop>.fromOpaque(context)._withUnsafeGuaranteedRef { body($0) }
  }
}

/// The three handles that a loop needs for itself; with stable addresses, freed after they have closed.
struct LoopHandles {
  static let count = 3
  let async: UnsafeMutablePointer<uv_async_t>
  let idle: UnsafeMutablePointer<uv_idle_t>
  let timer: UnsafeMutablePointer<uv_timer_t>
  var isClosing = false

  init() {
    async = .allocate(capacity: 1)
    async.initialize(to: uv_async_t())
    idle = .allocate(capacity: 1)
    idle.initialize(to: uv_idle_t())
    timer = .allocate(capacity: 1)
    timer.initialize(to: uv_timer_t())
  }

  /// Fails (descriptor limit) only in the first step, with nothing to undo.
  func start(loop: UnsafeMutablePointer<uv_loop_t>) -> Int32 {
    let result = uv_async_init(loop, async) { handle in UVEventLoop.from(handle) { $0.wokenUp() } }
    guard result == 0 else { return result }
    uv_unref(asHandle(async))
    uv_idle_init(loop, idle)
    uv_timer_init(loop, timer)
    return 0
  }

  func attach(_ context: UnsafeMutableRawPointer) {
    async.pointee.data = context
    idle.pointee.data = context
    timer.pointee.data = context
  }

  func asHandle<H>(_ handle: UnsafeMutablePointer<H>) -> UnsafeMutablePointer<uv_handle_t> {
    UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)
  }

  var all: [UnsafeMutablePointer<uv_handle_t>] { [asHandle(async), asHandle(idle), asHandle(timer)] }

  func deallocate() {
    async.deallocate()
    idle.deallocate()
    timer.deallocate()
  }
}
