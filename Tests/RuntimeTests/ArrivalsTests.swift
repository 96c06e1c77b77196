import XCTest

@testable import HyperRuntime

/// What arrives in one turn of the loop, on its way to the reader.
final class ArrivalsTests: XCTestCase {
  /// `body` on a loop, then its next turns; what is in the inbox then, and how often the stream was told to stop.
  private func elements(
    _ body: @escaping @Sendable (Arrivals, Inbox) -> Void
  ) async throws -> (elements: [[UInt8]], pauses: Int) {
    let loop = try UVEventLoop.startThread()
    let inbox = Inbox()
    let pauses = Locked(0)
    await onLoop(loop) {
      body(Arrivals(loop: loop, inbox: inbox) { pauses.withLock { $0 += 1 } }, inbox)
    }
    // A deferred delivery comes before the end of the loop.
    await loop.shutdown()
    return (inbox.takeAll(), pauses.withLock { $0 })
  }

  func testMessagesStayApartPartsOfOneTurnBecomeOne() async throws {
    let messages = try await elements { arrivals, inbox in
      for message in [[1, 2], [], [3]] as [[UInt8]] { arrivals.add(message: message) }
      XCTAssertNil(inbox.takeNow(), "not before the end of the turn")
    }
    XCTAssertEqual(messages.elements, [[1, 2], [], [3]])
    let parts = try await elements { arrivals, inbox in
      for part in [[], [1, 2], [], [3]] as [[UInt8]] { part.withUnsafeBytes { arrivals.add(part: $0) } }
      XCTAssertNil(inbox.takeNow(), "not before the end of the turn")
    }
    XCTAssertEqual(parts.elements, [[1, 2, 3]])
    let asked = try await elements { arrivals, _ in
      for part in [[1], [2]] as [[UInt8]] {
        part.withUnsafeBytes { arrivals.add(part: $0) }
        arrivals.deliver()
        arrivals.deliver()
      }
    }
    XCTAssertEqual(asked.elements, [[1], [2]])
    XCTAssertEqual([messages.pauses, parts.pauses, asked.pauses], [0, 0, 0])
  }

  func testAFullStepGoesAtOnceAndPausesOnce() async throws {
    let step = [UInt8](repeating: 7, count: Limits.readStep)
    let result = try await elements { arrivals, inbox in
      for _ in 0..<3 { step.withUnsafeBytes { arrivals.add(part: $0) } }
      guard case .success(let first?)? = inbox.takeNow() else { return XCTFail("not delivered") }
      XCTAssertEqual(first, step)
    }
    XCTAssertEqual(result.elements, [step, step])
    XCTAssertEqual(result.pauses, 1, "above the unread window")
  }

  /// A batch that is copied takes memory for as many messages again, and counts each of them up and down.
  func testAnEmptyInboxTakesTheMemoryOfABatch() {
    let inbox = Inbox()
    var batch: [[UInt8]] = [[1], [2]]
    _ = inbox.push(&batch, bytes: 2)
    XCTAssertEqual(batch, [], "moved")
    batch = [[3]]
    _ = inbox.push(&batch, bytes: 1)
    XCTAssertEqual(inbox.takeAll(), [[1], [2], [3]])
  }

  func testNothingArrivesWithoutAReader() async throws {
    let result = try await elements { arrivals, _ in
      arrivals.add(message: [1, 2])
      arrivals.abandon()
      arrivals.add(message: [3])
      [UInt8(4)].withUnsafeBytes { arrivals.add(part: $0) }
    }
    XCTAssertEqual(result.elements, [])
  }
}
