import CHyperUV
import Synchronization

/// One piece of work for the loop.
enum LoopJob: @unchecked Sendable {
  case closure(() -> Void)
  case task(UnownedJob)
}

/// What other threads may touch.
///
/// The queue has no cap of its own: every entry is a call of this process whose caller waits, or a task of the
/// runtime; refusing either would break the settle-once rule. The network cannot post.
struct SharedState {
  var jobs: [LoopJob] = []
  var isWakeUpPending = false
  var acceptsJobs = true
  // After the end of the loop: see `enqueueAfterEnd`.
  var isFallbackRunning = false
  // Life of an own thread.
  var isTerminated = false
  var terminationWaiters: [@Sendable (_ mustJoin: Bool) -> Void] = []
  var terminationCallbacks: [@Sendable () -> Void] = []
  var hasThread = false
}

extension UVEventLoop: SerialExecutor, TaskExecutor {
  /// Runs the job on the loop's thread; what the Swift runtime calls for tasks that prefer the loop. Once the loop has
  /// ended, jobs run one at a time on the global pool.
  public func enqueue(_ job: consuming ExecutorJob) {
    let unowned = UnownedJob(job)
    if isOnLoop, phase != .closed, enqueueLocally(.task(unowned)) { return }
    if !enqueueFromOutside(.task(unowned)) { enqueueAfterEnd(unowned) }
  }

  /// What the Swift runtime asks of an executor.
  public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

  /// Traps off the loop's thread; what `assumeIsolated` of an actor on the loop calls.
  public func checkIsolated() { precondition(isOnLoop, "not on the event loop") }

  /// `isOnLoop`, for the Swift runtime.
  public func isIsolatingCurrentContext() -> Bool? { isOnLoop }
}

extension UVEventLoop {
  /// Runs `body` on the loop: at once, inside the call, when the caller is already there, else in one of the next
  /// turns. Posts of one thread keep their order. `body` must not block: everything that lives on the loop waits for
  /// it.
  /// - Returns: `false`, without running it, when the loop has been shut down.
  @discardableResult
  public func post(_ body: @escaping @Sendable () -> Void) -> Bool {
    if isOnLoop, phase != .closed {
      body()
      return true
    }
    return enqueueFromOutside(.closure(body))
  }

  /// Runs `action` in the next turn, before timers. Loop only.
  package func `defer`(_ action: @escaping () -> Void) {
    assertOnLoop()
    _ = enqueueLocally(.closure(action))
  }

  func enqueueLocally(_ job: LoopJob) -> Bool {
    guard phase == .open || phase == .closingUsers else { return false }
    localJobs.append(job)
    if !isIdleActive && !isDraining {
      isIdleActive = true
      // An active idle handle keeps an embedded loop alive and makes the next poll return at once.
      uv_idle_start(handles.idle) { handle in UVEventLoop.from(handle) { $0.drainLocalJobs() } }
    }
    return true
  }

  private func enqueueFromOutside(_ job: LoopJob) -> Bool {
    let (accepted, mustWake) = shared.withLock { state -> (Bool, Bool) in
      guard state.acceptsJobs else { return (false, false) }
      state.jobs.append(job)
      let mustWake = !state.isWakeUpPending
      if mustWake {
        state.isWakeUpPending = true
        // Counted under the lock: the loop does not close the handle while a thread is about to signal it.
        sendersInFlight.wrappingAdd(1, ordering: .acquiring)
      }
      return (true, mustWake)
    }
    if mustWake {
      uv_async_send(handles.async)
      sendersInFlight.wrappingSubtract(1, ordering: .releasing)
    }
    return accepted
  }

  func wokenUp() {
    let batch = shared.withLock { state -> [LoopJob] in
      state.isWakeUpPending = false
      let jobs = state.jobs
      state.jobs = []
      return jobs
    }
    for job in batch { execute(job) }
    drainLocalJobs()
  }

  func drainLocalJobs() {
    guard !isDraining else { return }
    isDraining = true
    var rounds = 0
    while !localJobs.isEmpty, rounds < Limits.drainRounds {
      rounds += 1
      var batch = localJobs
      localJobs = spareJobs
      spareJobs = []
      for job in batch { execute(job) }
      batch.removeAll(keepingCapacity: true)
      spareJobs = batch
    }
    isDraining = false
    if localJobs.isEmpty {
      if isIdleActive {
        isIdleActive = false
        uv_idle_stop(handles.idle)
      }
    } else if !isIdleActive, phase == .open || phase == .closingUsers {
      isIdleActive = true
      uv_idle_start(handles.idle) { handle in UVEventLoop.from(handle) { $0.drainLocalJobs() } }
    }
  }

  @inline(__always)
  func execute(_ job: LoopJob) {
    switch job {
    case .closure(let body): body()
    case .task(let task):
      task.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
    }
  }

  /// Tasks that outlive the loop (for example the one that awaited its shutdown) go on, one at a time, on the global
  /// pool.
  private func enqueueAfterEnd(_ task: UnownedJob) {
    let mustStart = shared.withLock { state -> Bool in
      state.jobs.append(.task(task))
      defer { state.isFallbackRunning = true }
      return !state.isFallbackRunning
    }
    if mustStart { Task.detached { self.drainAfterEnd() } }
  }

  private func drainAfterEnd() {
    ownerThread.store(currentThreadID(), ordering: .relaxed)
    while true {
      let batch = shared.withLock { state -> [LoopJob] in
        let jobs = state.jobs
        state.jobs = []
        if jobs.isEmpty {
          state.isFallbackRunning = false
          ownerThread.store(0, ordering: .relaxed)
        }
        return jobs
      }
      if batch.isEmpty { return }
      for job in batch { execute(job) }
    }
  }
}
