import CHyperUV
import Synchronization

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

extension UVEventLoop {
  /// Ends the loop: asks everything that lives on it to close, closes its own handles, and for a loop with its own
  /// thread waits until that thread is gone. May be called from any thread, and more than once; cancellation does not
  /// end the wait.
  ///
  /// An embedded loop, and one that the program runs, must go on being run until this returns.
  public func shutdown() async {
    let mustJoin = await withCheckedContinuation { continuation in
      let isOver = shared.withLock { state -> Bool in
        if !state.isTerminated { state.terminationWaiters.append { continuation.resume(returning: $0) } }
        return state.isTerminated
      }
      if isOver { continuation.resume(returning: false) } else { beginShutdown(nil) }
    }
    if mustJoin, let thread = threadHandle.withLock({ $0 }) { pthread_join(thread, nil) }
  }

  /// Starts the shutdown, from any thread; `done` runs once when it is complete, on whatever thread that happens, at
  /// once when it has been. The end of an own thread is not waited for.
  public func beginShutdown(_ done: (@Sendable () -> Void)? = nil) {
    if let done {
      let isOver = shared.withLock { state -> Bool in
        // A callback never joins: an own thread detaches itself when no task awaits it.
        if !state.isTerminated { state.terminationCallbacks.append(done) }
        return state.isTerminated
      }
      if isOver { return done() }
    }
    post { self.askUsersToClose() }
  }

  /// `hook` is asked once, at shutdown, to close whatever it owns on this loop, and calls its argument when that has
  /// happened (possibly inside). Loop only.
  package func addShutdownHook(_ hook: @escaping (_ closed: @escaping () -> Void) -> Void) -> Int {
    assertOnLoop()
    nextShutdownHook += 1
    shutdownHooks[nextShutdownHook] = hook
    return nextShutdownHook
  }

  package func removeShutdownHook(_ id: Int) { shutdownHooks[id] = nil }

  private func askUsersToClose() {
    guard phase == .open else { return }
    phase = .closingUsers
    let hooks = shutdownHooks.values
    shutdownHooks = [:]
    var remaining = hooks.count + 1
    let closed = {
      remaining -= 1
      if remaining == 0 { self.closeHandlesSoon() }
    }
    for hook in hooks {
      var isDone = false
      hook {
        guard !isDone else { return }
        isDone = true
        closed()
      }
    }
    closed()
  }

  private func closeHandlesSoon() {
    guard phase == .closingUsers, !handles.isClosing else { return }
    abandonLookups()
    stopInterfaceEvents()
    // The caller has frames on the stack that still use the loop: close in the next turn.
    handles.isClosing = true
    uv_timer_start(handles.timer, { handle in UVEventLoop.from(handle) { $0.closeHandles() } }, 0, 0)
  }

  private func closeHandles() {
    drainLocalJobs()
    let leftOver = shared.withLock { state -> [LoopJob] in
      state.acceptsJobs = false
      defer { state.jobs = [] }
      return state.jobs
    }
    for job in leftOver { execute(job) }
    var rounds = 0
    while !localJobs.isEmpty, rounds < Limits.closingTurns {
      rounds += 1
      drainLocalJobs()
    }
    phase = .closingHandles
    for timer in timers.removeAll() { timer.cancel() }
    // A thread may be between the lock and uv_async_send: a few instructions.
    while sendersInFlight.load(ordering: .acquiring) > 0 { sched_yield() }
    for handle in handles.all {
      uv_close(handle) { handle in
        guard let context = handle?.pointee.data else { return }
        let loop = Unmanaged<UVEventLoop>.fromOpaque(context)
        let isLast = loop._withUnsafeGuaranteedRef { $0.handleClosed() }
        if isLast { loop.release() }
      }
    }
  }

  private func handleClosed() -> Bool {
    openHandles -= 1
    guard openHandles == 0 else { return false }
    phase = .closed
    if ownsLoop { uv_stop(uv) } else { terminated() }
    return true
  }

  func terminated() {
    ownerThread.store(0, ordering: .relaxed)
    let (waiters, callbacks, hasThread) = shared.withLock { state in
      state.isTerminated = true
      defer {
        state.terminationWaiters = []
        state.terminationCallbacks = []
      }
      return (state.terminationWaiters, state.terminationCallbacks, state.hasThread)
    }
    if hasThread, waiters.isEmpty { pthread_detach(pthread_self()) }
    for callback in callbacks { callback() }
    for (index, waiter) in waiters.enumerated() { waiter(hasThread && index == 0) }
  }
}
