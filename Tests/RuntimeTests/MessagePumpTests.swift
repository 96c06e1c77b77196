import XCTest

@testable import HyperRuntime

/// A stream whose room the test decides. On the loop.
private final class ManualSink: MessageSink, @unchecked Sendable {
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

  func sendDatagram(_ bytes: [UInt8]) -> Bool {
    events.append("datagram \(bytes.first ?? 0)")
    return true
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

/// The writing half of every kind of connection, without a network.
final class MessagePumpTests: XCTestCase {
  private struct Setting {
    let loop: UVEventLoop
    let sink: ManualSink
    let pump: MessagePump

    /// Runs on the loop, behind everything that was posted before.
    @discardableResult
    func onLoop<R: Sendable>(_ body: @escaping @Sendable (ManualSink, MessagePump) -> R) async throws -> R {
      let result = await HyperRuntime.onLoop(loop) { [sink, pump] in body(sink, pump) }
      return try XCTUnwrap(result)
    }

    func events() async throws -> [String] { try await onLoop { sink, _ in sink.events } }
  }

  private func withPump(room: Int = .max, _ body: (Setting) async throws -> Void) async throws {
    let loop = try UVEventLoop.startThread()
    let sink = ManualSink()
    sink.room = room
    try await body(Setting(loop: loop, sink: sink, pump: MessagePump(loop: loop, sink: sink)))
    await loop.shutdown()
  }

  /// More than the window, beginning with `number`.
  private func bulk(_ number: UInt8) -> [UInt8] { [number] + [UInt8](repeating: 0, count: Limits.writeWindow) }

  /// A `write` and what came of it.
  private func writer(_ pump: MessagePump, _ number: UInt8) -> Task<CallFailure?, Never> {
    Task {
      do throws(CallFailure) {
        try await pump.write(.message([number]))
        return nil
      } catch {
        return error
      }
    }
  }

  private func flusher(_ pump: MessagePump) -> Task<CallFailure?, Never> {
    Task {
      do throws(CallFailure) {
        return try await pump.flush() ? nil : .closed
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
    try await withPump { setting in
      let pump = setting.pump
      for number in 1...3 { XCTAssertFalse(try pump.put([UInt8(number)])) }
      let flush = self.flusher(pump)
      try await self.reach(4, setting)
      XCTAssertFalse(try pump.put([4]))
      pump.end()
      XCTAssertThrowsError(try pump.put([5])) { XCTAssertEqual($0 as? CallFailure, .closed) }
      // A flush may follow the end.
      let last = self.flusher(pump)
      try await self.reach(7, setting)
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "3", "flush", "4", "end", "flush"])
      try await setting.onLoop { sink, _ in sink.settleFlushes(true) }
      let results = [await flush.value, await last.value]
      XCTAssertEqual(results, [nil, nil])
    }
  }

  func testEachOfManyWritersKeepsItsOrder() async throws {
    try await withPump { setting in
      let pump = setting.pump
      await withTaskGroup { group in
        for writer in 0..<8 {
          group.addTask {
            for step in 0..<16 {
              XCTAssertNotNil(try? pump.put([UInt8(writer * 16 + step)]))
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
    try await withPump(room: 2) { setting in
      let pump = setting.pump
      for number in 1...5 { XCTAssertFalse(try pump.put([UInt8(number)])) }
      pump.end()
      var events = try await setting.events()
      XCTAssertEqual(events, ["1", "2"])
      try await setting.onLoop { sink, pump in
        sink.room = 2
        pump.drained()
      }
      events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "3", "4"])
      try await setting.onLoop { sink, pump in
        sink.room = 2
        pump.drained()
      }
      events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "3", "4", "5", "end"])
    }
  }

  func testWritersWaitAboveTheWindowUntilTheSinkHasTakenHalf() async throws {
    // Full with the first message: the others stay in the queue.
    try await withPump(room: 1) { setting in
      let pump = setting.pump
      XCTAssertFalse(try pump.put([1]))
      try await setting.onLoop { _, _ in }
      // Three halves of the window: the third one is above it.
      let part = [UInt8](repeating: 2, count: Limits.writeWindow / 2)
      XCTAssertFalse(try pump.put(part))
      XCTAssertTrue(try pump.put(part))
      XCTAssertTrue(try pump.put(part))
      let isResumed = Locked(false)
      let writer = Task {
        try await pump.write(.message([4]))
        isResumed.withLock { $0 = true }
      }
      while !pump.isAwaited { await Task.yield() }
      // One part goes, two are left.
      try await setting.onLoop { sink, pump in
        sink.room = 1
        pump.drained()
      }
      XCTAssertFalse(isResumed.withLock { $0 })
      try await setting.onLoop { sink, pump in
        sink.room = .max
        pump.drained()
      }
      try await writer.value
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "2", "2", "4"])
      XCTAssertFalse(try pump.put([3]))
    }
  }

  /// `waitForRoom` takes its turn among the writers, and sends nothing.
  /// What a callback of the loop writes does not overtake the writers that wait, even when nothing is queued any more.
  func testAMessageOfTheLoopWaitsBehindTheWriters() async throws {
    try await withPump(room: 1) { setting in
      let pump = setting.pump
      try await setting.onLoop { _, pump in _ = try? pump.put([1]) }
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.writeWindow, alignment: 1)
      defer { memory.deallocate() }
      memory.initializeMemory(as: UInt8.self, repeating: 2)
      let bytes = UnsafeRawBufferPointer(memory)
      let taken = Locked<Bool?>(nil)
      let item = MessagePump.Item.borrowed(
        BorrowedMessage(bytes) { _ in
          let now = try? pump.writeNow(.message([9]))
          taken.withLock { $0 = now }
        })
      guard case .taken = pump.add(item) else { return XCTFail("closed") }
      let third = self.writer(pump, 3)
      while !pump.isAwaited { await Task.yield() }
      try await setting.onLoop { sink, pump in
        sink.room = .max
        pump.drained()
      }
      let outcome = await third.value
      XCTAssertNil(outcome)
      try await self.reach(3, setting)
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "3"])
      XCTAssertEqual(taken.withLock { $0 }, false)
    }
  }

  func testWaitingForRoomAlone() async throws {
    try await withPump(room: 1) { setting in
      let pump = setting.pump
      XCTAssertFalse(try pump.put([1]))
      try await setting.onLoop { _, _ in }
      try await pump.waitForRoom()
      XCTAssertTrue(try pump.put(bulk(2)))
      func waiter() -> Task<CallFailure?, Never> {
        Task {
          do throws(CallFailure) {
            try await pump.waitForRoom()
            return nil
          } catch {
            return error
          }
        }
      }
      let (first, cancelled) = (waiter(), waiter())
      while !pump.isAwaited { await Task.yield() }
      let third = writer(pump, 3)
      cancelled.cancel()
      let failure = await cancelled.value
      XCTAssertEqual(failure, .cancelled)
      try await setting.onLoop { sink, pump in
        sink.room = .max
        pump.drained()
      }
      let outcomes = [await first.value, await third.value]
      XCTAssertEqual(outcomes, [nil, nil])
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "2", "3"])

      try await setting.onLoop { sink, _ in sink.room = 1 }
      XCTAssertTrue(try pump.put(bulk(4)))
      try await setting.onLoop { _, _ in }
      XCTAssertTrue(try pump.put(bulk(5)))
      let late = waiter()
      while !pump.isAwaited { await Task.yield() }
      try await setting.onLoop { _, pump in pump.close() }
      let reason = await late.value
      XCTAssertEqual(reason, .closed)
      let after = await waiter().value
      XCTAssertEqual(after, .closed)
    }
  }

  // MARK: Cancellation

  func testACancelledWriterTakesItsMessageBackAndLeavesTheOtherWriters() async throws {
    try await withPump(room: 1) { setting in
      let pump = setting.pump
      XCTAssertFalse(try pump.put([1]))
      try await setting.onLoop { _, _ in }
      XCTAssertTrue(try pump.put(self.bulk(2)))
      XCTAssertTrue(try pump.put(self.bulk(3)))
      let first = self.writer(pump, 4)
      while !pump.isAwaited { await Task.yield() }
      let second = self.writer(pump, 5)
      let flush = self.flusher(pump)
      first.cancel()
      flush.cancel()
      let cancelled = [await first.value, await flush.value]
      XCTAssertEqual(cancelled, [.cancelled, .cancelled])
      try await setting.onLoop { sink, pump in
        sink.room = .max
        pump.drained()
        // Too late for the cancelled one: must be ignored.
        sink.settleFlushes(true)
      }
      let result = await second.value
      XCTAssertNil(result)
      let sent = try await setting.events().filter { $0 != "flush" }
      XCTAssertEqual(sent, ["1", "2", "3", "5"])
    }
  }

  // MARK: Close

  func testCloseSettlesWritersAndFlushesWhereverTheyAre() async throws {
    for closesTwice in [false, true] {
      try await withPump { setting in
        let pump = setting.pump
        let outcomes = Locked<[String]>([])
        @Sendable func flush(_ name: String) {
          _ = pump.add(.flush { arrived in outcomes.withLock { $0.append("\(name) \(arrived)") } })
        }
        let task = self.flusher(pump)
        try await self.reach(1, setting)
        try await setting.onLoop { sink, pump in
          flush("at the sink")
          pump.drained()
          sink.room = 1
          sink.onSend = { sink in
            // Inside a visit: the next one finds both together, and is full after the message.
            guard sink.events.last == "1" else { return }
            sink.room = 1
            XCTAssertNotNil(try? pump.put([2]))
            flush("taken")
            pump.drained()
          }
          XCTAssertNotNil(try? pump.put([1]))
          XCTAssertEqual(sink.events, ["flush", "flush", "1", "2"])
          flush("in the queue")
        }
        XCTAssertTrue(try pump.put(self.bulk(3)))
        let writers = (5..<8).map { self.writer(pump, $0) }
        while !pump.isAwaited { await Task.yield() }
        try await setting.onLoop { sink, pump in
          pump.close()
          // The stream settles what it has, may drain late, and its owner may close twice.
          sink.settleFlushes(false)
          sink.room = .max
          pump.drained()
          if closesTwice { pump.close() }
        }
        for writer in writers {
          let error = await writer.value
          XCTAssertEqual(error, .closed)
        }
        let flushed = await task.value
        XCTAssertEqual(flushed, .closed)
        XCTAssertEqual(
          outcomes.withLock { $0.sorted() }, ["at the sink false", "in the queue false", "taken false"])
        XCTAssertThrowsError(try pump.put([4])) { XCTAssertEqual($0 as? CallFailure, .closed) }
        let late = [await self.writer(pump, 8).value, await self.flusher(pump).value]
        XCTAssertEqual(late, [.closed, .closed])
        let events = try await setting.events()
        XCTAssertEqual(events, ["flush", "flush", "1", "2"])
      }
    }
  }

  func testCallsAfterTheEndOfTheLoopSettle() async throws {
    let loop = try UVEventLoop.startThread()
    let pump = MessagePump(loop: loop, sink: ManualSink())
    await loop.shutdown()
    let flushed = await flusher(pump).value
    XCTAssertEqual(flushed, .closed)
    XCTAssertFalse(try pump.put([1]))
    pump.end()
    XCTAssertThrowsError(try pump.put([2])) { XCTAssertEqual($0 as? CallFailure, .closed) }
  }

  // MARK: Re-entrancy

  func testTheSinkMayWriteEndAndDrainWhileItIsCalled() async throws {
    try await withPump { setting in
      try await setting.onLoop { sink, pump in
        sink.onSend = { sink in
          switch sink.events.count {
          case 1:
            // Behind what waits already, not inside.
            XCTAssertNotNil(try? pump.put([9]))
            pump.drained()
            XCTAssertEqual(sink.events, ["1"])
          case 2:
            // Says that it is full, but has drained meanwhile: must not be waited for.
            sink.room = 0
            pump.drained()
          case 3:
            sink.room = .max
            pump.end()
            XCTAssertEqual(sink.events, ["1", "9", "2"])
          default: break
          }
        }
        XCTAssertNotNil(try? pump.put([1]))
        XCTAssertNotNil(try? pump.put([2]))
      }
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "9", "2", "end"])
    }
  }

  func testTheSinkMayCloseWhileItIsCalled() async throws {
    try await withPump(room: 1) { setting in
      let pump = setting.pump
      XCTAssertFalse(try pump.put([1]))
      try await setting.onLoop { _, _ in }
      for number in 2...4 { _ = try pump.put(self.bulk(UInt8(number))) }
      let writers = (5..<7).map { self.writer(pump, $0) }
      while !pump.isAwaited { await Task.yield() }
      try await setting.onLoop { sink, pump in
        sink.room = .max
        sink.onSend = { _ in pump.close() }
        pump.drained()
      }
      for writer in writers {
        let error = await writer.value
        XCTAssertEqual(error, .closed)
      }
      let events = try await setting.events()
      XCTAssertEqual(events, ["1", "2"], "what had not been sent is dropped")
    }
  }
}
