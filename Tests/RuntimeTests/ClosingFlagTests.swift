import XCTest

@testable import HyperRuntime

private enum Reason: Error, Equatable {
  case first
  case second
}

final class ClosingFlagTests: XCTestCase {
  func testTheReasonIsKnownBeforeTheCloseAndStays() async throws {
    let flag = ClosingFlag<Reason>()
    XCTAssertNil(flag.reason)
    let calls = Locked(0)
    flag.whenClosed { calls.withLock { $0 += 1 } }
    let waiter = Task { try? await flag.wait() }
    flag.record(.first)
    XCTAssertEqual(flag.reason, .first)
    XCTAssertFalse(flag.isClosed)
    flag.close()
    XCTAssertTrue(flag.isClosed)
    flag.record(.second)
    flag.close()
    let reason = await waiter.value
    XCTAssertEqual(reason, .first)
    flag.whenClosed { calls.withLock { $0 += 1 } }
    XCTAssertEqual(calls.withLock { $0 }, 2, "once each")
  }

  func testACancelledWaiterSaysSo() async {
    let flag = ClosingFlag<Reason>()
    let waiter = Task { () -> CallFailure? in
      do throws(CallFailure) {
        _ = try await flag.wait()
        return nil
      } catch {
        return error
      }
    }
    waiter.cancel()
    let failure = await waiter.value
    XCTAssertEqual(failure, .cancelled)
  }
}
