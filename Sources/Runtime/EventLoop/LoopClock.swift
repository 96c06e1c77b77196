extension UVEventLoop {
  /// The time of the loop as a clock of Swift, for tasks that live on it: a sleep is a timer of the loop, and the task
  /// goes on without another thread in between.
  public var clock: LoopClock { LoopClock(loop: self) }

  /// The monotonic time of the system, as libuv has it, with the timers of a loop: from `UVEventLoop.clock`. On Linux
  /// it stands still while the machine sleeps. May be used from any thread.
  public struct LoopClock: Clock {
    /// A moment of monotonic time.
    public struct Instant: InstantProtocol {
      /// The system's monotonic time, which begins anywhere.
      let time: Duration

      /// The moment so much later.
      public func advanced(by duration: Duration) -> Instant { Instant(time: time + duration) }

      /// How much later the other moment is.
      public func duration(to other: Instant) -> Duration { other.time - time }

      /// Whether the left moment comes first.
      public static func < (left: Instant, right: Instant) -> Bool { left.time < right.time }
    }

    let loop: UVEventLoop

    /// The time at this moment.
    public var now: Instant { Instant(time: .microseconds(Int64(clamping: loop.now))) }

    /// A microsecond; timers of a loop have milliseconds.
    public var minimumResolution: Duration { .microseconds(1) }

    /// Waits until `deadline`, and up to a millisecond and a turn of the loop longer. Returns at once when it has
    /// passed.
    /// - Parameters:
    ///   - deadline: when to go on.
    ///   - tolerance: not used.
    /// - Throws: `CancellationError` when the task is cancelled, and when the loop shuts down.
    public nonisolated(nonsending) func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
      try Task.checkCancellation()
      let wait = now.duration(to: deadline)
      guard wait > .zero else { return }
      let loop = loop
      let _: Void = try await awaitOperation(
        on: loop, cancelled: CancellationError(), gone: CancellationError()
      ) { settle in
        guard loop.phase == .open else {
          settle(.failure(CancellationError()))
          return nil
        }
        let hook = loop.addShutdownHook { closed in
          settle(.failure(CancellationError()))
          closed()
        }
        let timer = loop.schedule(after: wait.wholeMilliseconds) {
          loop.removeShutdownHook(hook)
          settle(.success(()))
        }
        return {
          timer.cancel()
          loop.removeShutdownHook(hook)
        }
      }
    }
  }
}
