import XCTest

@testable import HyperRuntime

/// The boxes between a loop and the rest of the program, without a network.
final class BoxTests: XCTestCase {
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
      let message = try await inbox.next(isolation: nil) { resumed.withLock { $0 += 1 } }
      XCTAssertEqual(message, chunk)
    }
    XCTAssertEqual(resumed.withLock { $0 }, 1)
    inbox.finish(.failure(.closed))
    inbox.finish(.success(()))
    do throws(CallFailure) {
      _ = try await inbox.next(isolation: nil) {}
      XCTFail("the first end counts")
    } catch {
      XCTAssertEqual(error, .closed)
    }
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
        let message = try await inbox.next(isolation: nil) {}
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
      let element = await queue.next(isolation: nil)
      XCTAssertEqual(element, number)
    }
    let readers = (0..<3).map { _ in Task { await queue.next(isolation: nil) } }
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
