import CHyperAllocations
import XCTest

@testable import HyperRuntime

/// A value behind a lock, both in one block of memory.
final class LockTests: XCTestCase {
  private final class Tracked {
    let onEnd: () -> Void
    init(_ onEnd: @escaping () -> Void) { self.onEnd = onEnd }
    deinit { onEnd() }
  }

  private enum Reason: Error { case any }

  /// Requests to the heap that making one takes.
  private func cost<T>(of make: () -> T) throws -> Int64 {
    // The first makes what describes the type.
    withExtendedLifetime(make()) {}
    let before = hyper_allocations()
    try XCTSkipIf(before < 0, "not counted here")
    let made = make()
    defer { withExtendedLifetime(made) {} }
    return hyper_allocations() - before
  }

  func testALockAndItsValueAreOneBlock() throws {
    let array = [1, 2, 3]
    for (name, taken) in [
      ("number", try cost { Locked(7) }), ("array", try cost { Locked(array) }), ("inbox", try cost { Inbox() }),
      ("flag", try cost { ClosingFlag<Reason>() }),
    ] {
      XCTAssertEqual(taken, 1, name)
    }
  }

  func testCopiesAreTheSameValue() {
    let first = Locked([1])
    let second = first
    second.withLock { $0.append(2) }
    XCTAssertEqual(first.withLock { $0 }, [1, 2])
    let flag = ClosingFlag<Reason>()
    let copy = flag
    copy.close()
    XCTAssertTrue(flag.isClosed)
    let inbox = Inbox()
    let reader = inbox
    XCTAssertFalse(inbox.push([[1]], bytes: 1))
    XCTAssertEqual(reader.takeAll(), [[1]])
  }

  func testTheValueGoesOnceWithTheLastCopy() {
    var ends = 0
    var first: Locked<Tracked?>? = Locked(Tracked { ends += 1 })
    var second = first
    first = nil
    XCTAssertEqual(ends, 0)
    second?.withLock { XCTAssertNotNil($0) }
    second = nil
    XCTAssertEqual(ends, 1)
    let last = Locked<Tracked?>(Tracked { ends += 1 })
    last.withLock { $0 = nil }
    XCTAssertEqual(ends, 2, "replaced")
  }

  /// Behind values of all sizes.
  func testTheMutexIsAligned() {
    func check<Value>(_ value: Value) {
      let locked = Locked(value)
      locked.storage.withUnsafeMutablePointers { value, mutex in
        XCTAssertEqual(UInt(bitPattern: value) % UInt(MemoryLayout<Value>.alignment), 0)
        XCTAssertEqual(UInt(bitPattern: mutex) % UInt(MemoryLayout<pthread_mutex_t>.alignment), 0)
        XCTAssertGreaterThanOrEqual(
          UnsafeRawPointer(mutex), UnsafeRawPointer(value) + MemoryLayout<Value>.size, "\(Value.self)")
      }
      locked.withLock { _ in }
    }
    check(())
    check(true)
    check((1 as UInt64, true))
    check(SIMD8<UInt64>(repeating: 1))
  }

  func testItExcludesOtherThreads() {
    let count = Locked(0)
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      for _ in 0..<10_000 { count.withLock { $0 += 1 } }
    }
    XCTAssertEqual(count.withLock { $0 }, 40_000)
  }

  func testAThrownErrorLeavesItFree() {
    let locked = Locked(1)
    XCTAssertThrowsError(
      try locked.withLock { value in
        value = 2
        throw Reason.any
      })
    XCTAssertEqual(locked.withLock { $0 }, 2)
    // As around a fork.
    locked.lock()
    locked.unlock()
    XCTAssertEqual(locked.withLock { $0 }, 2)
  }
}
