import Synchronization
import XCTest

@testable import HyperRuntime

/// The clock of a loop.
final class LoopClockTests: XCTestCase {
  private func isCancelled(_ task: Task<Void, any Error>) async -> Bool {
    if case .failure(let error) = await task.result { error is CancellationError } else { false }
  }

  func testSleepsAreNeverShort() async throws {
    let loop = try UVEventLoop.startThread()
    let clock = loop.clock
    let sleeps = (0..<20).map { number in
      Task {
        let start = clock.now
        try await clock.sleep(for: .microseconds(number * 300))
        return start.duration(to: clock.now) >= .microseconds(number * 300)
      }
    }
    for sleep in sleeps {
      let isLong = try await sleep.value
      XCTAssertTrue(isLong)
    }
    let start = clock.now
    try await clock.sleep(until: start)
    try await clock.sleep(until: start.advanced(by: .seconds(-3600)))
    XCTAssertLessThan(start.advanced(by: .seconds(-1)), start)
    await loop.shutdown()
  }

  func testATaskOfTheLoopStaysThere() async throws {
    let loop = try UVEventLoop.startThread()
    let places = try await Task(executorPreference: loop) {
      let before = loop.isOnLoop
      try await loop.clock.sleep(for: .milliseconds(1))
      return [before, loop.isOnLoop]
    }.value
    XCTAssertEqual(places, [true, true])
    await loop.shutdown()
  }

  func testCancellationAndTheEndOfTheLoop() async throws {
    let loop = try UVEventLoop.startThread()
    let clock = loop.clock
    let cancelled = (0..<50).map { _ in Task { try await clock.sleep(for: .seconds(3600)) } }
    for task in cancelled { task.cancel() }
    for task in cancelled {
      let isCancelled = await isCancelled(task)
      XCTAssertTrue(isCancelled)
    }
    // The task may know before the loop does.
    while await onLoop(loop, { loop.shutdownHooks.count }) != 0 {}
    let sleeping = (0..<50).map { _ in Task { try await clock.sleep(for: .seconds(3600)) } }
    while await onLoop(loop, { loop.shutdownHooks.count }) != 50 {}
    await loop.shutdown()
    for task in sleeping {
      let isCancelled = await isCancelled(task)
      XCTAssertTrue(isCancelled)
    }
    let isLate = await isCancelled(Task { try await clock.sleep(for: .seconds(3600)) })
    XCTAssertTrue(isLate)
  }
}
