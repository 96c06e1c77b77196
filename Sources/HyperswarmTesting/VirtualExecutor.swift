import HyperEnvironment
import HyperRuntime
import Synchronization

/// Runs tasks and actors in the time of a `VirtualNetwork`: from `VirtualNetwork.executor`.
///
/// Their code runs inside the network's `advance` and `run`, on the thread that calls them, one piece at a time. Time
/// stands still until every task of the executor waits for something. So a run that keeps all its tasks here is the
/// same for the same seed.
///
/// ```swift
/// actor Player {
///   let executor: VirtualExecutor
///   nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
///
///   init(_ network: VirtualNetwork) { executor = network.executor }
/// }
/// ```
///
/// May be given to tasks from any thread. Once the network is gone, tasks that still have something to do go on in the
/// global pool, one at a time.
public final class VirtualExecutor: SerialExecutor, TaskExecutor {
  /// What other threads may touch.
  private struct State {
    var jobs: [UnownedJob] = []
    var begun: [(number: UInt64, deadline: UInt64)] = []
    var cancelled: [UInt64] = []
    var sleepers: [UInt64: Sleeper] = [:]
    var lastSleeper: UInt64 = 0
    /// No sleep begins any more.
    var hasEnded = false
    /// The network's thread takes no jobs any more.
    var isLeft = false
    /// Another thread runs what is left.
    var isDraining = false
  }

  private let state = Locked(State())
  /// There are jobs, or sleeps that began or were cancelled.
  private let hasNews = Atomic<Bool>(false)
  /// Microseconds on the clock of the network.
  private let time = Atomic<UInt64>(VirtualTime.start)
  /// The thread inside `run`; 0 for none.
  private let runner = Atomic<UInt>(0)

  /// Rounds of jobs that wake further ones before time moves on: a task that does nothing but yield does not stop it.
  private static let rounds = 1000

  init() {}

  // MARK: Executor

  /// What the runtime of Swift calls for a task of the executor that has something to do.
  public func enqueue(_ job: consuming ExecutorJob) {
    let unowned = UnownedJob(job)
    let isAlone = state.withLock { state in
      state.jobs.append(unowned)
      hasNews.store(true, ordering: .releasing)
      guard state.isLeft, !state.isDraining else { return false }
      state.isDraining = true
      return true
    }
    if isAlone { Task.detached { self.runLeftTasks() } }
  }

  /// This executor as the runtime of Swift takes it.
  public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

  /// Traps outside of the network's `advance` and `run`.
  public func checkIsolated() { precondition(isRunning, "not inside the network's advance or run") }

  /// Whether the caller is inside the network's `advance` or `run`.
  public func isIsolatingCurrentContext() -> Bool? { isRunning }

  private var isRunning: Bool { runner.load(ordering: .relaxed) == currentThreadID() }

  // MARK: The network's thread

  func show(_ microseconds: UInt64) { time.store(microseconds, ordering: .relaxed) }

  func enter() { runner.store(currentThreadID(), ordering: .relaxed) }

  func leave() { runner.store(0, ordering: .relaxed) }

  /// Runs the tasks until all of them wait.
  func runTasks(in time: VirtualTime) {
    var rounds = 0
    while rounds < VirtualExecutor.rounds, hasNews.load(ordering: .acquiring) {
      rounds += 1
      let (jobs, begun, cancelled) = state.withLock { state in
        hasNews.store(false, ordering: .relaxed)
        defer { (state.jobs, state.begun, state.cancelled) = ([], [], []) }
        return (state.jobs, state.begun, state.cancelled)
      }
      for sleep in begun { time.beginSleep(sleep.number, until: sleep.deadline) }
      for number in cancelled { time.endSleep(number) }
      run(jobs)
    }
  }

  private func run(_ jobs: [UnownedJob]) {
    for job in jobs {
      job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
    }
  }

  /// Its time has come.
  func wake(_ number: UInt64) { state.withLock { $0.sleepers.removeValue(forKey: number) }?.settle(isCancelled: false) }

  /// The network is gone: tasks that sleep wake up with an error, and all get to the end of what they can do here.
  func end(in time: VirtualTime) {
    let sleepers = state.withLock { state in
      state.hasEnded = true
      defer { state.sleepers = [:] }
      return state.sleepers
    }
    for number in sleepers.keys.sorted() { sleepers[number]?.settle(isCancelled: true) }
    enter()
    runTasks(in: time)
    leave()
    let isAlone = state.withLock { state in
      state.isLeft = true
      state.isDraining = !state.jobs.isEmpty
      return state.isDraining
    }
    if isAlone { Task.detached { self.runLeftTasks() } }
  }

  /// The network is gone, and with it the thread.
  private func runLeftTasks() {
    enter()
    while true {
      let jobs = state.withLock { state in
        defer { state.jobs = [] }
        if state.jobs.isEmpty {
          leave()
          state.isDraining = false
        }
        return state.jobs
      }
      if jobs.isEmpty { return }
      run(jobs)
    }
  }

  // MARK: Sleeping, any thread

  var now: UInt64 { time.load(ordering: .relaxed) }

  /// - Returns: `nil` once the network is gone.
  func begin(_ sleeper: Sleeper, until deadline: UInt64) -> UInt64? {
    state.withLock { state in
      guard !state.hasEnded else { return nil }
      state.lastSleeper += 1
      state.sleepers[state.lastSleeper] = sleeper
      state.begun.append((state.lastSleeper, deadline))
      hasNews.store(true, ordering: .releasing)
      return state.lastSleeper
    }
  }

  func cancel(_ number: UInt64) {
    let sleeper = state.withLock { state -> Sleeper? in
      guard let sleeper = state.sleepers.removeValue(forKey: number) else { return nil }
      state.cancelled.append(number)
      hasNews.store(true, ordering: .releasing)
      return sleeper
    }
    sleeper?.settle(isCancelled: true)
  }
}

/// One call of `VirtualClock.sleep`: settled once, by the time, by the cancellation of its task or by the end of the
/// network, whichever comes first.
final class Sleeper: Sendable {
  private struct State {
    var continuation: UnsafeContinuation<Bool, Never>?
    var isSettled = false
    var number: UInt64?
  }

  private let state = Locked(State())

  /// - Returns: whether it was cancelled.
  nonisolated(nonsending) func sleep(until deadline: UInt64, on executor: VirtualExecutor) async -> Bool {
    await withTaskCancellationHandler {
      await withUnsafeContinuation { (continuation: UnsafeContinuation<Bool, Never>) in
        let isEarly = state.withLock { state in
          state.continuation = continuation
          return !state.isSettled
        }
        guard isEarly else { return continuation.resume(returning: true) }
        guard let number = executor.begin(self, until: deadline) else { return settle(isCancelled: true) }
        // Cancelled meanwhile, with nothing to cancel yet.
        let isLate = state.withLock { state in
          state.number = number
          return state.isSettled
        }
        if isLate { executor.cancel(number) }
      }
    } onCancel: {
      let number = state.withLock { $0.number }
      if let number { executor.cancel(number) } else { settle(isCancelled: true) }
    }
  }

  func settle(isCancelled: Bool) {
    let continuation = state.withLock { state -> UnsafeContinuation<Bool, Never>? in
      guard !state.isSettled else { return nil }
      state.isSettled = true
      defer { state.continuation = nil }
      return state.continuation
    }
    continuation?.resume(returning: isCancelled)
  }
}
