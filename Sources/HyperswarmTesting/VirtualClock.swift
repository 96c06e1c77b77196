import HyperRuntime

/// The time of a `VirtualNetwork` as a clock of Swift: from `VirtualNetwork.clock`. For programs that take a clock for
/// what they wait for, and get this one in tests:
///
/// ```swift
/// func beat(_ clock: some Clock<Duration>, _ send: () -> Void) async throws {
///   while true {
///     send()
///     try await clock.sleep(for: .seconds(30))
///   }
/// }
/// ```
///
/// A task that sleeps wakes up inside the network's `advance` or `run`, after the timers of the network that were made
/// before for the same moment. Whether it sleeps again before time moves on is certain for tasks of the network's
/// executor only: those of `VirtualNetwork.task(_:)` and their children.
///
/// May be used from any thread.
public struct VirtualClock: Clock {
  /// A moment of virtual time.
  public struct Instant: InstantProtocol, CustomStringConvertible {
    /// Virtual time since the network was made.
    public var elapsed: Duration

    /// The moment so long after the network was made.
    public init(elapsed: Duration) { self.elapsed = elapsed }

    /// The moment so much later.
    public func advanced(by duration: Duration) -> Instant { Instant(elapsed: elapsed + duration) }

    /// How much later the other moment is.
    public func duration(to other: Instant) -> Duration { other.elapsed - elapsed }

    /// Whether the left moment comes first.
    public static func < (left: Instant, right: Instant) -> Bool { left.elapsed < right.elapsed }

    /// The time since the network was made.
    public var description: String { elapsed.description }
  }

  let executor: VirtualExecutor

  /// The time of the network; it moves inside `advance` and `run` only.
  public var now: Instant { Instant(elapsed: .microseconds(Int64(clamping: executor.now - VirtualTime.start))) }

  /// A microsecond.
  public var minimumResolution: Duration { .microseconds(1) }

  /// Waits until the network's time has come to `deadline`, rounded up to microseconds. Returns at once when it has.
  /// - Parameters:
  ///   - deadline: when to go on.
  ///   - tolerance: not used: virtual time is exact.
  /// - Throws: `CancellationError` when the task is cancelled, and when the network is gone.
  public nonisolated(nonsending) func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
    try Task.checkCancellation()
    guard deadline > now else { return }
    let end = VirtualTime.start + deadline.elapsed.microsecondsRoundedUp
    let isCancelled = await Sleeper().sleep(until: end, on: executor)
    if isCancelled { throw CancellationError() }
  }
}

extension VirtualNetwork {
  /// The time of the network as a clock of Swift.
  public var clock: VirtualClock { VirtualClock(executor: time.executor) }

  /// Runs tasks and actors in the time of the network, on its thread.
  public var executor: VirtualExecutor { time.executor }

  /// Starts a task in the time of the network: it and its children (`async let`, task groups) run inside `advance` and
  /// `run` only, on the thread that calls them. So `body` may use the network, its swarms and everything else that
  /// belongs to that thread. A task that it makes by `Task { }` does not run there.
  ///
  /// A task that waits and holds the network keeps it: cancel it, or let it end.
  /// - Parameter body: what the task does.
  @discardableResult
  public func task<Success: Sendable>(
    _ body: @escaping @concurrent () async throws -> Success
  ) -> Task<Success, any Error> {
    let body = LoopBound(body)
    return Task(executorPreference: executor) { try await body.value() }
  }
}
