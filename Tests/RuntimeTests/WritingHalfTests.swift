import XCTest

@testable import HyperRuntime

/// A stream whose room the test decides. On the loop.
private final class ManualSink: WritingSink, @unchecked Sendable {
  /// Messages until it says that it is full; the one that fills it is taken, too.
  var room = Int.max
  var events: [String] = []
  var onSend: ((ManualSink) -> Void)?
  private var flushes: [(Bool) -> Void] = []

  func send(_ message: [UInt8]) -> Bool {
    events.append("\(message.first ?? 0)")
    room -= 1
    onSend?(self)
    return room > 0
  }

  func flush(_ done: @escaping (Bool) -> Void) {
    events.append("flush")
    flushes.append(done)
  }

  func end() { events.append("end") }

  func settleFlushes(_ arrived: Bool) {
    let due = flushes
    flushes = []
    for done in due { done(arrived) }
  }
}

/// The writing half of both kinds of connections, without a network.
final class WritingHalfTests: XCTestCase {
  private struct Setting {
    let loop: UVEventLoop
    let sink: ManualSink
    let half: WritingHalf

    /// Runs on the loop, behind everything that was posted before.
    @discardableResult
    func onLoop<R: Sendable>(_ body: @escaping @Sendable (ManualSink, WritingHalf) -> R) async throws -> R {
      let result = await HyperRuntime.onLoop(loop, isolation: nil) { [sink, half] in body(sink, half) }
      return try XCTUnwrap(result)
    }

    func events() async throws -> [String] { try await onLoop { sink, _ in sink.events } }
  }

  private func withHalf(room: Int = .max, _ body: (Setting) async throws -> Void) async throws {
    let loop = try UVEventLoop.startThread()
    let sink = ManualSink()
    sink.room = room
    try await body(Setting(loop: loop, sink: sink, half: WritingHalf(loop: loop, sink: sink)))
    await loop.shutdown()
  }

  /// More than the window, beginning with `number`.
  private func bulk(_ number: UInt8) -> [UInt8] { [number] + [UInt8](repeating: 0, count: StreamBuffers.writeWindow) }

  /// A `waitForRoom` and what came of it.
  private func waiter(_ half: WritingHalf) -> Task<ConnectionError?, Never> {
    Task {
      do throws(ConnectionError) {
        try await half.waitForRoom(isolation: nil)
        return nil
      } catch {
        return error
      }
    }
  }

  private func flusher(_ half: WritingHalf) -> Task<ConnectionError?, Never> {
    Task {
      do throws(ConnectionError) {
        try await half.flush(isolation: nil)
        return nil
      } catch {
        return error
      }
    }
  }

  /// Until the loop has seen `count` events.
  private func reach(_ count: Int, _ setting: Setting) async throws {
    while try await setting.events().count < count { await Task.yield() }
  }

  // MARK: Order

  func testMessagesFlushAndEndKeepTheirOrder() async throws {
    try await withHalf { setting in
      let half = setting.half
      for number in 1...3 { XCTAssertFalse(try half.put([UInt8(number)])) }
      let flush = self.flusher(half)
      try await self.reach(4, setting)
      XCTAssertFalse(try half.put([4]))
      half.end()
      XCTAssertThrowsError(try half.put([5])) { XCTAssertEqual($0 as? ConnectionError, .closed) }
      // A flush may follow the end.
      let last = self.flusher(half)
      try await self.reach(7, setting)
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "3", "flush", "4", "end", "flush"])
      try await setting.onLoop { sink, _ in sink.settleFlushes(true) }
      let results = [await flush.value, await last.value]
      XCTAssertEqual(results, [nil, nil])
    }
  }

  func testEachOfManyWritersKeepsItsOrder() async throws {
    try await withHalf { setting in
      let half = setting.half
      await withTaskGroup { group in
        for writer in 0..<8 {
          group.addTask {
            for step in 0..<16 {
              XCTAssertNotNil(try? half.put([UInt8(writer * 16 + step)]))
              if step % 5 == 0 { await Task.yield() }
            }
          }
        }
      }
      let sent = try await setting.events().compactMap { Int($0) }
      XCTAssertEqual(sent.count, 128)
      for writer in 0..<8 {
        XCTAssertEqual(sent.filter { $0 / 16 == writer }, Array(writer * 16..<writer * 16 + 16))
      }
    }
  }

  // MARK: Back-pressure

  func testAFullSinkGetsNothingUntilItHasDrained() async throws {
    try await withHalf(room: 2) { setting in
      let half = setting.half
      for number in 1...5 { XCTAssertFalse(try half.put([UInt8(number)])) }
      half.end()
      var events = try await setting.events()
      XCTAssertEqual(events, ["1", "2"])
      try await setting.onLoop { sink, half in
        sink.room = 2
        half.drained()
      }
      events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "3", "4"])
      try await setting.onLoop { sink, half in
        sink.room = 2
        half.drained()
      }
      events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "3", "4", "5", "end"])
    }
  }

  func testWritersWaitAboveTheWindowUntilTheSinkHasTakenHalf() async throws {
    // Full with the first message: nothing is taken off the books of the others.
    try await withHalf(room: 1) { setting in
      let half = setting.half
      XCTAssertFalse(try half.put([1]))
      try await setting.onLoop { _, _ in }
      // Three halves of the window: the third one is above it.
      let part = [UInt8](repeating: 2, count: StreamBuffers.writeWindow / 2)
      XCTAssertFalse(try half.put(part))
      XCTAssertTrue(try half.put(part))
      XCTAssertTrue(try half.put(part))
      let isResumed = Locked(false)
      let writer = Task {
        try await half.waitForRoom(isolation: nil)
        isResumed.withLock { $0 = true }
      }
      // One part goes, two are left.
      try await setting.onLoop { sink, half in
        sink.room = 1
        half.drained()
      }
      XCTAssertFalse(isResumed.withLock { $0 })
      try await setting.onLoop { sink, half in
        sink.room = .max
        half.drained()
      }
      try await writer.value
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "2", "2"])
      XCTAssertFalse(try half.put([3]))
    }
  }

  // MARK: Cancellation

  func testACancelledWriterLeavesItsMessageAndTheOtherWriters() async throws {
    try await withHalf(room: 1) { setting in
      let half = setting.half
      XCTAssertFalse(try half.put([1]))
      try await setting.onLoop { _, _ in }
      XCTAssertTrue(try half.put(self.bulk(2)))
      XCTAssertTrue(try half.put(self.bulk(3)))
      let (first, second) = (self.waiter(half), self.waiter(half))
      let flush = self.flusher(half)
      first.cancel()
      flush.cancel()
      let cancelled = [await first.value, await flush.value]
      XCTAssertEqual(cancelled, [.cancelled, .cancelled])
      try await setting.onLoop { sink, half in
        sink.room = .max
        half.drained()
        // Too late for the cancelled one: must be ignored.
        sink.settleFlushes(true)
      }
      let result = await second.value
      XCTAssertNil(result)
      let sent = try await setting.events().filter { $0 != "flush" }
      XCTAssertEqual(sent, ["1", "2", "3"])
    }
  }

  // MARK: Close

  func testCloseSettlesWritersAndFlushesWhereverTheyAre() async throws {
    for reason in [ConnectionError.reset, .closed] {
      try await withHalf { setting in
        let half = setting.half
        let outcomes = Locked<[String]>([])
        @Sendable func flush(_ name: String) {
          _ = half.outbox.add(.flush { arrived in outcomes.withLock { $0.append("\(name) \(arrived)") } })
        }
        let task = self.flusher(half)
        try await self.reach(1, setting)
        try await setting.onLoop { sink, half in
          flush("at the sink")
          half.drained()
          sink.room = 1
          sink.onSend = { sink in
            // Inside a visit: the next one finds both together, and is full after the message.
            guard sink.events.last == "1" else { return }
            sink.room = 1
            XCTAssertNotNil(try? half.put([2]))
            flush("taken")
            half.drained()
          }
          XCTAssertNotNil(try? half.put([1]))
          XCTAssertEqual(sink.events, ["flush", "flush", "1", "2"])
          flush("in the outbox")
        }
        XCTAssertTrue(try half.put(self.bulk(3)))
        let writers = (0..<3).map { _ in self.waiter(half) }
        try await setting.onLoop { sink, half in
          half.close(reason)
          // The stream settles what it has, may drain late, and its owner may close twice.
          sink.settleFlushes(false)
          sink.room = .max
          half.drained()
          half.close(.timedOut)
        }
        for writer in writers {
          let error = await writer.value
          XCTAssertEqual(error, reason)
        }
        let flushed = await task.value
        XCTAssertEqual(flushed, .closed)
        XCTAssertEqual(
          outcomes.withLock { $0.sorted() }, ["at the sink false", "in the outbox false", "taken false"])
        XCTAssertThrowsError(try half.put([4])) { XCTAssertEqual($0 as? ConnectionError, reason) }
        let late = [await self.waiter(half).value, await self.flusher(half).value]
        XCTAssertEqual(late, [reason, reason])
        let events = try await setting.events()
        XCTAssertEqual(events, ["flush", "flush", "1", "2"])
      }
    }
  }

  func testCallsAfterTheEndOfTheLoopSettle() async throws {
    let loop = try UVEventLoop.startThread()
    let half = WritingHalf(loop: loop, sink: ManualSink())
    await loop.shutdown()
    let flushed = await flusher(half).value
    XCTAssertEqual(flushed, .closed)
    XCTAssertFalse(try half.put([1]))
    half.end()
    XCTAssertThrowsError(try half.put([2])) { XCTAssertEqual($0 as? ConnectionError, .closed) }
  }

  // MARK: Re-entrancy

  func testTheSinkMayWriteEndAndDrainWhileItIsCalled() async throws {
    try await withHalf { setting in
      try await setting.onLoop { sink, half in
        sink.onSend = { sink in
          switch sink.events.count {
          case 1:
            // Behind what waits already, not inside.
            XCTAssertNotNil(try? half.put([9]))
            half.drained()
            XCTAssertEqual(sink.events, ["1"])
          case 2:
            // Says that it is full, but has drained meanwhile: must not be waited for.
            sink.room = 0
            half.drained()
          case 3:
            sink.room = .max
            half.end()
            XCTAssertEqual(sink.events, ["1", "9", "2"])
          default: break
          }
        }
        XCTAssertNotNil(try? half.put([1]))
        XCTAssertNotNil(try? half.put([2]))
      }
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "9", "2", "end"])
    }
  }

  func testTheSinkMayCloseWhileItIsCalled() async throws {
    try await withHalf(room: 1) { setting in
      let half = setting.half
      XCTAssertFalse(try half.put([1]))
      try await setting.onLoop { _, _ in }
      for number in 2...4 { _ = try half.put(self.bulk(UInt8(number))) }
      let writers = (0..<2).map { _ in self.waiter(half) }
      try await setting.onLoop { sink, half in
        sink.room = .max
        sink.onSend = { _ in half.close(.reset) }
        half.drained()
      }
      for writer in writers {
        let error = await writer.value
        XCTAssertEqual(error, .reset)
      }
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "2"], "what had not been sent is dropped")
    }
  }
}
