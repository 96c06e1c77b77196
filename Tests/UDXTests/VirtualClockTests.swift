import HyperswarmTesting
import Synchronization
import XCTest

/// Tasks in the time of a virtual network.
final class VirtualClockTests: XCTestCase {
  /// A program that knows of a clock and no more.
  private func beat(_ clock: some Clock<Duration>, every interval: Duration, _ beat: () -> Void) async throws {
    while true {
      try await clock.sleep(for: interval)
      beat()
    }
  }

  func testTasksSleepInVirtualTime() {
    let network = VirtualNetwork(seed: 1)
    let clock = network.clock
    var order: [String] = []
    for (name, delay) in [("c", 30), ("a", 10), ("b", 20), ("a2", 10)] {
      network.task {
        try await clock.sleep(for: .seconds(delay))
        order.append("\(name) \(clock.now)")
      }
    }
    // Made before the tasks run, so before their sleep.
    network.schedule(after: .seconds(10)) { order.append("timer") }
    XCTAssertEqual(order, [])
    network.advance(by: .seconds(19))
    XCTAssertEqual(order, ["timer", "a 10.0 seconds", "a2 10.0 seconds"])
    network.advance(by: .seconds(11))
    XCTAssertEqual(order.dropFirst(3), ["b 20.0 seconds", "c 30.0 seconds"])
    XCTAssertEqual(clock.now.elapsed, .seconds(30))
    XCTAssertEqual(network.pendingEventCount, 0)
  }

  func testTimeStandsStillUntilTasksWait() {
    let network = VirtualNetwork(seed: 1)
    let clock = network.clock
    var beats: [Duration] = []
    let heart = network.task { [self] in
      try await beat(clock, every: .milliseconds(1500)) { beats.append(clock.now.elapsed) }
    }
    // Every beat sleeps again at the moment of the last one, however far the network is moved at a time.
    network.advance(by: .seconds(3600))
    XCTAssertEqual(beats.count, 2400)
    XCTAssertEqual(beats.last, .seconds(3600))
    heart.cancel()
    network.advance(by: .seconds(60))
    XCTAssertEqual(beats.count, 2400)
    XCTAssertEqual(network.pendingEventCount, 0)
  }

  func testACancelledSleepEndsAtOnce() {
    let network = VirtualNetwork(seed: 1)
    let clock = network.clock
    var ends: [String] = []
    func sleep(_ name: String) async {
      do {
        try await clock.sleep(for: .seconds(100))
        ends.append("\(name) slept")
      } catch {
        ends.append("\(name) \(error is CancellationError) \(clock.now)")
      }
    }
    let sleeping = network.task { await sleep("sleeping") }
    let early = network.task { await sleep("early") }
    early.cancel()
    network.advance(by: .seconds(5))
    XCTAssertEqual(ends, ["early true 0.0 seconds"])
    sleeping.cancel()
    // No time passes.
    network.advance(by: .zero)
    XCTAssertEqual(ends.dropFirst(), ["sleeping true 5.0 seconds"])
    // What is not due any more keeps no network busy.
    XCTAssertTrue(network.runUntilIdle(within: 1))
    sleeping.cancel()
    network.advance(by: .seconds(200))
    XCTAssertEqual(ends.count, 2)
  }

  func testDeadlinesThatPassedAndThatNeverCome() {
    let network = VirtualNetwork(seed: 1)
    let clock = network.clock
    network.advance(by: .seconds(1))
    var order: [String] = []
    network.task {
      try await clock.sleep(until: .init(elapsed: .milliseconds(500)))
      try await clock.sleep(until: clock.now)
      order.append("passed")
      try await clock.sleep(for: .nanoseconds(1))
      order.append("rounded up to \(clock.now.elapsed - .seconds(1))")
      try await clock.sleep(for: .seconds(Int64.max))
      order.append("the end of time")
    }
    network.advance(by: .zero)
    XCTAssertEqual(order, ["passed"])
    network.advance(by: .seconds(1 << 32))
    XCTAssertEqual(order.dropFirst(), ["rounded up to 1e-06 seconds"])
    XCTAssertEqual(clock.now.duration(to: .init(elapsed: .zero)), .zero - network.elapsed)
    XCTAssertLessThan(VirtualClock.Instant(elapsed: .seconds(1)), clock.now)
  }

  func testTimeLimitsInTaskGroups() {
    let network = VirtualNetwork(seed: 1)
    let clock = network.clock
    func first(within limit: Duration, _ work: Duration) async -> String {
      await withTaskGroup(of: String.self) { group in
        group.addTask { (try? await clock.sleep(for: work)) == nil ? "cancelled" : "worked" }
        group.addTask { (try? await clock.sleep(for: limit)) == nil ? "cancelled" : "too late" }
        let first = await group.next()
        group.cancelAll()
        return first ?? ""
      }
    }
    var outcomes: [String] = []
    network.task {
      outcomes.append("\(await first(within: .seconds(5), .seconds(3))) \(clock.now)")
      outcomes.append("\(await first(within: .seconds(5), .seconds(7))) \(clock.now)")
      let time = await clock.measure { try? await clock.sleep(for: .milliseconds(40)) }
      outcomes.append("\(time)")
    }
    XCTAssertTrue(network.run(within: .seconds(60)) { outcomes.count == 3 })
    XCTAssertEqual(outcomes, ["worked 3.0 seconds", "too late 8.0 seconds", "0.04 seconds"])
    XCTAssertEqual(network.elapsed, .milliseconds(8040))
  }

  private actor Player {
    nonisolated let executor: VirtualExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private(set) var turns: [String] = []

    init(_ executor: VirtualExecutor) { self.executor = executor }

    func play(_ name: String, _ pause: Duration, _ clock: VirtualClock) async {
      for turn in 1...5 {
        turns.append("\(name)\(turn) \(clock.now)")
        try? await clock.sleep(for: pause)
      }
    }

    func note(_ text: String) { turns.append(text) }
  }

  func testRunsOfManyTasksAreEqual() {
    func run(_ seed: UInt64) -> [String] {
      let network = VirtualNetwork(seed: seed)
      let clock = network.clock
      let player = Player(network.executor)
      let pauses = (0..<40).map { _ in Duration.milliseconds(Int64.random(in: 1...9, using: &network.random)) }
      var turns: [String]?
      network.task {
        await withTaskGroup(of: Void.self) { group in
          for (number, pause) in pauses.enumerated() {
            group.addTask { await player.play("\(number).", pause, clock) }
          }
        }
        turns = await player.turns
      }
      network.run(within: .seconds(60)) { turns != nil }
      return turns ?? []
    }
    let first = run(5)
    XCTAssertEqual(first.count, 200)
    for _ in 0..<10 { XCTAssertEqual(run(5), first) }
    XCTAssertNotEqual(run(6), first)
  }

  func testCodeOfTheExecutorRunsOnTheThreadOfTheNetwork() {
    let network = VirtualNetwork(seed: 1)
    let executor = network.executor
    let player = Player(executor)
    XCTAssertEqual(executor.isIsolatingCurrentContext(), false)
    var places: [Bool?] = []
    network.task {
      places.append(executor.isIsolatingCurrentContext())
      async let child = executor.isIsolatingCurrentContext()
      places.append(await child)
      await Task(executorPreference: executor) {}.value
      places.append(executor.isIsolatingCurrentContext())
    }
    // Callbacks of the network are inside the actor, too.
    network.schedule(after: .seconds(1)) { player.assumeIsolated { $0.note("a callback") } }
    network.advance(by: .seconds(2))
    XCTAssertEqual(places, [true, true, true])
    var turns: [String] = []
    network.task { turns = await player.turns }
    network.advance(by: .zero)
    XCTAssertEqual(turns, ["a callback"])
    XCTAssertEqual(executor.isIsolatingCurrentContext(), false)
  }

  func testATaskThatOnlyYieldsDoesNotStopTime() {
    let network = VirtualNetwork(seed: 1)
    var isOver = false
    network.task { while !isOver { await Task.yield() } }
    network.schedule(after: .seconds(1)) { isOver = true }
    XCTAssertTrue(network.run(within: .seconds(2)) { isOver })
  }

  private final class Counter: Sendable {
    let count = Atomic<Int>(0)
  }

  func testTasksOfOtherThreadsWakeUp() async {
    let network = VirtualNetwork(seed: 1)
    let clock = network.clock
    let woken = Counter()
    await withTaskGroup(of: Void.self) { group in
      for number in 1...50 {
        group.addTask {
          // A third of them is cancelled before or while it sleeps.
          let task = Task.detached { try await clock.sleep(for: .seconds(number)) }
          if number % 3 == 0 { task.cancel() }
          _ = await task.result
          woken.count.wrappingAdd(1, ordering: .relaxed)
        }
      }
      while woken.count.load(ordering: .relaxed) < 50 {
        network.advance(by: .seconds(1))
        await Task.yield()
      }
    }
    XCTAssertEqual(network.pendingEventCount, 0)
  }

  func testTheEndOfTheNetworkWakesWhatSleeps() async throws {
    var network: VirtualNetwork? = VirtualNetwork(seed: 1)
    let clock = try XCTUnwrap(network?.clock)
    let executor = try XCTUnwrap(network?.executor)
    var ends: [Bool?] = []
    let sleeping = network?.task {
      do { try await clock.sleep(for: .seconds(10)) } catch { ends.append(error is CancellationError) }
      // On the thread that the network goes on.
      ends.append(executor.isIsolatingCurrentContext())
    }
    network?.advance(by: .seconds(1))
    XCTAssertEqual(ends, [])
    network = nil
    XCTAssertEqual(ends, [true, true])
    _ = try await sleeping?.value
    // No time passes any more, and what is left goes on elsewhere.
    let late = Task(executorPreference: executor) {
      do {
        try await clock.sleep(for: .seconds(1))
        return false
      } catch {
        return error is CancellationError
      }
    }
    let isLate = await late.value
    XCTAssertTrue(isLate)
    XCTAssertEqual(clock.now.elapsed, .seconds(1))
    let player = Player(executor)
    await player.note("after the end")
    let turns = await player.turns
    XCTAssertEqual(turns, ["after the end"])
  }
}
