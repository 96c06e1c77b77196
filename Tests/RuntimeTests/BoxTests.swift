import XCTest

@testable import HyperRuntime

/// The boxes between a loop and the rest of the program, without a network.
final class BoxTests: XCTestCase {
  func testMillisecondsOfDurations() {
    let expected: [(Duration, UInt64)] = [
      (.zero, 0), (.seconds(-1), 0), (.nanoseconds(-1), 0), (.nanoseconds(1), 1), (.milliseconds(7), 7),
      (.microseconds(7_001), 8), (.seconds(3), 3_000),
    ]
    for (duration, milliseconds) in expected { XCTAssertEqual(duration.wholeMilliseconds, milliseconds, "\(duration)") }
    for never in [Duration.seconds(Int64.max), .seconds(1 << 50), .milliseconds((1 << 50) + 1)] {
      XCTAssertEqual(never.wholeMilliseconds, 1 << 50)
    }
  }

  func testInboxAsksForAPauseOnceAndResumesOnce() async throws {
    let inbox = Inbox()
    let resumed = Locked(0)
    let chunk = [UInt8](repeating: 1, count: 10_000)
    // Unread: the small window.
    var pauses = 0
    var pushed = 0
    while pauses == 0 {
      if inbox.push([chunk], bytes: chunk.count + Limits.messageCost) { pauses += 1 }
      pushed += 1
    }
    XCTAssertLessThanOrEqual(pushed * chunk.count, Limits.unreadWindow + chunk.count)
    XCTAssertFalse(inbox.push([chunk], bytes: chunk.count + Limits.messageCost))
    pushed += 1
    for _ in 0..<pushed {
      let message = try await inbox.next { resumed.withLock { $0 += 1 } }
      XCTAssertEqual(message, chunk)
    }
    XCTAssertEqual(resumed.withLock { $0 }, 1)
    inbox.finish(.failure(.closed))
    inbox.finish(.success(()))
    do throws(CallFailure) {
      _ = try await inbox.next {}
      XCTFail("the first end counts")
    } catch {
      XCTAssertEqual(error, .closed)
    }
  }

  func testInboxWakesOneReaderPerMessage() async throws {
    let inbox = Inbox()
    let readers = (0..<3).map { _ in Task { try await inbox.next {} } }
    while inbox.waiting < 3 { await Task.yield() }
    XCTAssertFalse(inbox.push([[1], [2]], bytes: 2 + 2 * Limits.messageCost))
    XCTAssertEqual(inbox.waiting, 1)
    inbox.finish(.success(()))
    var seen: [[UInt8]?] = []
    for reader in readers { seen.append(try await reader.value) }
    XCTAssertEqual(seen.compactMap { $0 }.sorted { $0[0] < $1[0] }, [[1], [2]])
  }

  func testDestructionIsClaimedOnceAndAwaitedByAll() async {
    let destruction = Destruction()
    XCTAssertTrue(destruction.claim())
    XCTAssertFalse(destruction.claim())
    let finished = Locked(0)
    let callers = (0..<3).map { _ in
      Task {
        await destruction.wait()
        finished.withLock { $0 += 1 }
      }
    }
    callers[0].cancel()
    for _ in 0..<1000 { await Task.yield() }
    XCTAssertEqual(finished.withLock { $0 }, 0)
    destruction.finish()
    for caller in callers { await caller.value }
    await destruction.wait()
  }

  /// A success that the cancelled caller does not get is undone.
  func testALateSuccessIsNotLost() async throws {
    let loop = try UVEventLoop.startThread()
    let undone = Locked<[Int]>([])
    let settle = Locked<LoopBound<(Result<Int, CallFailure>) -> Void>?>(nil)
    let call = Task {
      try await awaitOperation(
        on: loop, cancelled: CallFailure.cancelled, gone: .closed,
        undelivered: { number in undone.withLock { $0.append(number) } }
      ) { (done: @escaping (Result<Int, CallFailure>) -> Void) in
        settle.withLock { $0 = LoopBound(done) }
        return nil
      }
    }
    while settle.withLock({ $0 == nil }) { await Task.yield() }
    call.cancel()
    do {
      _ = try await call.value
      XCTFail("cancelled")
    } catch {}
    _ = await onLoop(loop) { settle.withLock { $0 }?.value(.success(7)) }
    XCTAssertEqual(undone.withLock { $0 }, [7])
    await loop.shutdown()
  }

  func testInboxKeepsOrderAcrossCompaction() async throws {
    let inbox = Inbox()
    var next: UInt32 = 0
    var expected: UInt32 = 0
    for round in 0..<200 {
      for _ in 0..<(round % 37) {
        _ = inbox.push([withUnsafeBytes(of: next) { Array($0) }], bytes: 4 + Limits.messageCost)
        next += 1
      }
      for _ in 0..<(round % 31) where expected < next {
        let message = try await inbox.next {}
        XCTAssertEqual(message, withUnsafeBytes(of: expected) { Array($0) })
        expected += 1
      }
    }
    XCTAssertGreaterThan(expected, 1000)
  }

  func testEventQueueBoundsOrderAndEnd() async {
    let queue = EventQueue<Int, Never>(capacity: 100)
    for number in 0..<150 { XCTAssertEqual(queue.push(number), number < 100) }
    XCTAssertEqual(queue.droppedCount, 50)
    for number in 0..<100 {
      let element = await queue.next()
      XCTAssertEqual(element, number)
    }
    let readers = (0..<3).map { _ in Task { await queue.next() } }
    readers[1].cancel()
    let cancelled = await readers[1].value
    XCTAssertNil(cancelled)
    XCTAssertTrue(queue.push(7))
    queue.finish()
    XCTAssertFalse(queue.push(8))
    let results = [await readers[0].value, await readers[2].value].compactMap { $0 }
    XCTAssertEqual(results, [7])
  }

  func testEventQueueTellsWhenItsLastReferenceGoes() {
    let released = Locked(0)
    do {
      let queue = EventQueue<Int, Never>(capacity: 1)
      queue.whenReleased { released.withLock { $0 += 1 } }
      XCTAssertEqual(released.withLock { $0 }, 0)
      withExtendedLifetime(queue) {}
    }
    XCTAssertEqual(released.withLock { $0 }, 1)
  }
}
