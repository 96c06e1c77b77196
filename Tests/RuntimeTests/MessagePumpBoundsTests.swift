import CHyperAllocations
import XCTest

@testable import HyperRuntime

/// A stream that takes everything, or nothing, and counts calls of `flush`.
private final class CountingSink: MessageSink {
  var sent: [Int] = []
  var datagrams: [Int] = []
  var flushes: [(Bool) -> Void] = []
  var ends = 0
  var isFull = false
  var onSend: (() -> Void)?

  func send(_ message: [UInt8]) -> Bool {
    sent.append(message.count)
    onSend?()
    return !isFull
  }

  func sendDatagram(_ bytes: [UInt8]) -> Bool {
    datagrams.append(bytes.count)
    return true
  }

  func flush(_ done: @escaping (Bool) -> Void) { flushes.append(done) }
  func end() { ends += 1 }
}

/// The marks of a pump's queue, on a loop that the test runs itself: each comparison is met from both sides.
final class MessagePumpBoundsTests: XCTestCase {
  private let cost = Limits.messageCost

  /// A pump whose sink is full from the first message on; the queue is then what the tests fill.
  private func withQueue(
    highWater: Int, lowWater: Int, limit: Int, startsInside: Bool = true,
    _ body: (UVEventLoop, MessagePump, CountingSink) throws -> Void
  ) throws {
    try withManualLoop { loop in
      let pump = MessagePump(
        loop: loop, bounds: .init(highWater: highWater, lowWater: lowWater, limit: limit), startsInside: startsInside)
      let sink = CountingSink()
      pump.attach(sink)
      try body(loop, pump, sink)
      pump.close()
    }
  }

  /// A message that counts `total` bytes.
  private func message(_ total: Int) -> [UInt8] { [UInt8](repeating: 1, count: total - cost) }

  func testTheLimitRefusesFromItselfOn() throws {
    try withQueue(highWater: 500, lowWater: 250, limit: 1000) { _, pump, _ in
      XCTAssertEqual(pump.add(.message(message(999))), .taken(queued: 999))
      XCTAssertEqual(pump.add(.message(message(cost))), .taken(queued: 999 + cost), "one byte below is room")
    }
    try withQueue(highWater: 500, lowWater: 250, limit: 1000) { _, pump, _ in
      XCTAssertEqual(pump.add(.message(message(1000))), .taken(queued: 1000))
      XCTAssertEqual(pump.add(.message([])), .full, "at the limit there is none")
      XCTAssertEqual(pump.add(.datagram([1])), .full)
      XCTAssertEqual(pump.queuedBytes, 1000, "a refused message is not counted")
      var isCalled = false
      XCTAssertEqual(pump.add(.message([1]), flush: { _ in isCalled = true }), .full)
      // Neither costs anything: a full queue can be flushed and ended.
      XCTAssertEqual(pump.add(.flush { _ in }), .taken(queued: 1000))
      XCTAssertEqual(pump.add(.end), .taken(queued: 1000))
      pump.close()
      XCTAssertFalse(isCalled, "a refused flush is not called")
    }
  }

  func testAWriterWaitsAboveTheHighWaterMarkOnly() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: .max) { _, pump, _ in
      XCTAssertFalse(try pump.put(message(1000)), "at the mark")
    }
    try withQueue(highWater: 1000, lowWater: 500, limit: .max) { _, pump, _ in
      XCTAssertTrue(try pump.put(message(1001)), "above the mark")
    }
  }

  /// `first` is taken when the pump starts, `rest` stays.
  private func roomCalls(first: Int, rest: Int, extra: Int = 0) throws -> Int {
    var calls = 0
    try withQueue(highWater: 1000, lowWater: 500, limit: 2000) { _, pump, sink in
      pump.onRoom = { calls += 1 }
      sink.isFull = true
      XCTAssertNotEqual(pump.add(.message(message(first))), .full)
      XCTAssertNotEqual(pump.add(.message(message(rest))), .full)
      if extra > 0 { _ = pump.add(.message(message(extra))) }
      pump.start()
      pump.run()
      XCTAssertEqual(pump.queuedBytes, rest)
      // A second turn without new writes does not tell twice.
      pump.run()
    }
    return calls
  }

  func testRoomIsToldOnceAtTheLowWaterMark() throws {
    XCTAssertEqual(try roomCalls(first: 501, rest: 500), 1, "at the low mark")
    XCTAssertEqual(try roomCalls(first: 501, rest: 501), 0, "above it")
    XCTAssertEqual(try roomCalls(first: 500, rest: 500), 0, "no writer was told to wait at the high mark")
    XCTAssertEqual(try roomCalls(first: 1500, rest: 500, extra: cost), 1, "refused at the limit")
  }

  private func writer(_ pump: MessagePump, _ message: [UInt8] = []) -> Task<CallFailure?, Never> {
    Task {
      do throws(CallFailure) {
        try await pump.write(.message(message))
        return nil
      } catch {
        return error
      }
    }
  }

  func testWritersAreResumedAtTheLowWaterMark() async throws {
    let loop = try UVEventLoop.startThread()
    for (rest, isResumed) in [(500, true), (501, false)] {
      let pump = MessagePump(
        loop: loop, bounds: .init(highWater: 1000, lowWater: 500, limit: .max), startsInside: true)
      _ = pump.add(.message(message(1000)))
      _ = pump.add(.message(message(rest)))
      let writer = writer(pump)
      while !pump.isAwaited { await Task.yield() }
      let stillWaits = await onLoop(loop) {
        let sink = CountingSink()
        sink.isFull = true
        pump.attach(sink)
        pump.start()
        pump.run()
        defer { pump.close() }
        return pump.isAwaited
      }
      XCTAssertEqual(stillWaits, !isResumed)
      let outcome = await writer.value
      XCTAssertEqual(outcome, isResumed ? nil : .closed)
    }
    await loop.shutdown()
  }

  func testAWriterDoesNotWaitAtTheHighWaterMark() async throws {
    let loop = try UVEventLoop.startThread()
    for (queued, waits) in [(1000, false), (1001, true)] {
      let pump = MessagePump(
        loop: loop, bounds: .init(highWater: 1000, lowWater: 500, limit: .max), startsInside: true)
      _ = pump.add(.message(message(queued)))
      let outcome = Locked<CallFailure??>(.none)
      let writer = writer(pump)
      let observer = Task {
        let result = await writer.value
        outcome.withLock { $0 = .some(result) }
      }
      // Either it is suspended, or it has returned.
      while !pump.isAwaited, outcome.withLock({ $0 == .none }) { await Task.yield() }
      XCTAssertEqual(pump.isAwaited, waits)
      await onLoop(loop) { pump.close() }
      await observer.value
      XCTAssertEqual(outcome.withLock { $0 }, .some(waits ? .closed : nil))
    }
    await loop.shutdown()
  }

  func testManyWritersHoldTheWindowAndOneMessage() async throws {
    let loop = try UVEventLoop.startThread()
    let pump = MessagePump(
      loop: loop, bounds: .init(highWater: 1000, lowWater: 500, limit: .max), startsInside: true)
    let finished = Locked(0)
    let part = message(400)
    let writers = (0..<100).map { _ in
      Task {
        try await pump.write(.message(part))
        finished.withLock { $0 += 1 }
      }
    }
    // Three are taken: the third one is above the window.
    while finished.withLock({ $0 }) < 3 || !pump.isAwaited { await Task.yield() }
    for _ in 0..<1000 { await Task.yield() }
    XCTAssertEqual(pump.queuedBytes, 1200)
    XCTAssertEqual(finished.withLock { $0 }, 3)
    var peak = 0
    let sent = Locked(0)
    while finished.withLock({ $0 }) < 100 {
      peak = max(peak, pump.queuedBytes)
      _ = await onLoop(loop) { [cost] in
        let sink = CountingSink()
        sink.isFull = true
        sink.onSend = { sent.withLock { $0 += 1 } }
        // The writers that were resumed may not have come yet.
        let isEmpty = pump.queuedBytes == 0
        pump.attach(sink)
        pump.drained()
        XCTAssertLessThanOrEqual(pump.queuedBytes, 1400)
        if !isEmpty || !sink.sent.isEmpty { XCTAssertEqual(sink.sent, [400 - cost]) }
      }
    }
    for writer in writers { try await writer.value }
    XCTAssertLessThanOrEqual(peak, 1400)
    let total = await onLoop(loop) { 400 * sent.withLock { $0 } + pump.queuedBytes }
    XCTAssertEqual(total, 400 * 100)
    pump.close()
    await loop.shutdown()
  }

  func testTheEndComesBehindTheWritersThatWait() async throws {
    let loop = try UVEventLoop.startThread()
    for isCancelled in [false, true] {
      let pump = MessagePump(
        loop: loop, bounds: .init(highWater: 1000, lowWater: 500, limit: .max), startsInside: true)
      _ = pump.add(.message(message(1001)))
      let writer = writer(pump, message(300))
      while !pump.isAwaited { await Task.yield() }
      pump.end()
      if isCancelled { writer.cancel() }
      let late = await self.writer(pump).value
      XCTAssertEqual(late, .closed, "behind the end")
      if isCancelled { _ = await writer.value }
      let seen = await onLoop(loop) {
        let sink = CountingSink()
        pump.attach(sink)
        pump.drained()
        return sink.sent + [sink.ends]
      }
      XCTAssertEqual(seen, (isCancelled ? [1001 - cost] : [1001 - cost, 300 - cost]) + [1])
      let outcome = await writer.value
      XCTAssertEqual(outcome, isCancelled ? .cancelled : nil)
      pump.close()
    }
    await loop.shutdown()
  }

  func testTheQueueIsCountedOffInSteps() throws {
    try withQueue(highWater: .max, lowWater: 0, limit: .max) { _, pump, sink in
      let step = Limits.writeStep
      // One byte short of a step, then a step exactly.
      for size in [step - 1, cost, step, cost] { _ = pump.add(.message(message(size))) }
      var queued: [Int] = []
      sink.onSend = { queued.append(pump.queuedBytes) }
      pump.start()
      pump.run()
      let total = 2 * step - 1 + 2 * cost
      XCTAssertEqual(queued, [total, total, step + cost, cost])
      XCTAssertEqual(pump.queuedBytes, 0)
    }
  }

  /// A writer that waits keeps its own message: the bound is the connection's, whatever the number of writers.
  func testTwoThousandWritersShareOneWindow() async throws {
    let loop = try UVEventLoop.startThread()
    let window = 1 << 20
    let size = 64 << 10
    let pump = MessagePump(
      loop: loop, bounds: .init(highWater: window, lowWater: window / 2, limit: .max), startsInside: true)
    let sink = LoopBound(CountingSink())
    let most = Locked(0)
    sink.value.isFull = true
    sink.value.onSend = { most.withLock { $0 = max($0, pump.queuedBytes) } }
    loop.post {
      pump.attach(sink.value)
      pump.start()
    }
    let written = await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<2000 {
        group.addTask { (try? await pump.write(.message([UInt8](repeating: 1, count: size)))) != nil }
      }
      // The peer reads one message at a time.
      var taken = 0
      while taken < 2000 {
        taken =
          await onLoop(loop) {
            pump.drained()
            return sink.value.sent.count
          } ?? 2000
        most.withLock { $0 = max($0, pump.queuedBytes) }
      }
      return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    XCTAssertEqual(written, 2000)
    XCTAssertGreaterThan(most.withLock { $0 }, window - size)
    XCTAssertLessThanOrEqual(most.withLock { $0 }, window + size + cost)
    await onLoop(loop) { pump.close() }
    await loop.shutdown()
  }

  func testNothingGoesOutBeforeTheStart() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: 2000) { _, pump, sink in
      _ = pump.add(.datagram([1, 2]))
      _ = pump.add(.message([1, 2, 3]), flush: { _ in })
      _ = pump.add(.end)
      pump.run()
      XCTAssertEqual(sink.sent + sink.datagrams, [])
      XCTAssertFalse(pump.passThrough { true })
      pump.start()
      pump.run()
      XCTAssertEqual(sink.datagrams, [2])
      XCTAssertEqual(sink.sent, [3])
      XCTAssertEqual(sink.flushes.count, 1)
      XCTAssertEqual(sink.ends, 1)
    }
  }

  func testAnItemOfTheLoopWaitsForTheCallToReturn() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: 2000, startsInside: false) { loop, pump, sink in
      pump.start()
      _ = pump.add(.message([1]))
      XCTAssertEqual(sink.sent, [], "not inside the call")
      loop.defer { loop.beginShutdown(nil) }
      loop.run()
      XCTAssertEqual(sink.sent, [1], "in the same turn")
    }
  }

  func testPassingThroughKeepsTheOrder() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: 2000, startsInside: false) { _, pump, sink in
      pump.start()
      XCTAssertTrue(pump.passThrough { true })
      XCTAssertEqual(pump.queuedBytes, 0)
      // Full: the next one has to wait.
      XCTAssertTrue(pump.passThrough { false })
      XCTAssertFalse(pump.passThrough { true })
      pump.drained()
      XCTAssertTrue(pump.passThrough { true })
      // Behind a queued message.
      _ = pump.add(.message([1]))
      XCTAssertFalse(pump.passThrough { true })
      pump.run()
      XCTAssertEqual(sink.sent, [1])
      XCTAssertTrue(pump.passThrough { true })
      // Drains inside `send`: the `false` is out of date.
      XCTAssertTrue(
        pump.passThrough {
          pump.drained()
          return false
        })
      XCTAssertTrue(pump.passThrough { true })
      pump.refuse()
      XCTAssertFalse(pump.passThrough { true })
    }
  }

  /// On the loop a message that nothing waits before needs no queue, so no memory: an array of items would be one
  /// allocation a message, and growing ones more.
  func testAMessageOfTheLoopTakesNoMemory() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: .max) { _, pump, sink in
      pump.start()
      sink.sent.reserveCapacity(200)
      let message = [UInt8](repeating: 7, count: 64)
      XCTAssertTrue(try pump.writeNow(.message(message)))
      let before = hyper_allocations()
      for _ in 0..<50 {
        XCTAssertTrue(try pump.writeNow(.message(message)))
        XCTAssertFalse(try pump.put(message), "no need to wait")
      }
      let taken = hyper_allocations() - before
      XCTAssertEqual(sink.sent.count, 101, "each inside its call")
      XCTAssertEqual(pump.queuedBytes, 0)
      try XCTSkipIf(before < 0, "not counted here")
      // The debug build makes some of its own.
      XCTAssertLessThan(taken, 50)
    }
  }

  func testWhatDoesNotFitTheWindowGoesThroughTheQueue() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: .max) { _, pump, sink in
      pump.start()
      XCTAssertFalse(try pump.put(message(1000)), "the window")
      XCTAssertTrue(try pump.put(message(1001)), "above it the writer should wait")
      XCTAssertEqual(sink.sent, [1000 - cost, 1001 - cost])
      sink.isFull = true
      XCTAssertTrue(try pump.writeNow(.message([1])))
      XCTAssertTrue(try pump.writeNow(.message(message(1001))), "in the queue, which was empty")
      XCTAssertFalse(try pump.writeNow(.message([2])), "the queue is above its mark")
      XCTAssertEqual(pump.queuedBytes, 1001)
      pump.end()
      XCTAssertThrowsError(try pump.writeNow(.message([3]))) { XCTAssertEqual($0 as? CallFailure, .closed) }
    }
  }

  func testRefusedPumpsSendWhatWaits() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: 2000) { _, pump, sink in
      _ = pump.add(.message([1, 2]))
      pump.refuse()
      XCTAssertEqual(pump.add(.message([1])), .closed)
      XCTAssertEqual(pump.add(.end), .closed)
      XCTAssertEqual(pump.add(.flush { _ in }), .closed)
      pump.start()
      pump.run()
      XCTAssertEqual(sink.sent, [2])
    }
  }

  func testAnEndedPumpTakesFlushesOnly() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: 2000) { _, pump, sink in
      pump.start()
      XCTAssertEqual(pump.add(.end), .taken(queued: 0))
      XCTAssertEqual(pump.add(.end), .closed)
      XCTAssertEqual(pump.add(.datagram([1])), .closed)
      XCTAssertEqual(pump.add(.flush { _ in }), .taken(queued: 0))
      XCTAssertFalse(pump.passThrough { true })
      XCTAssertEqual(sink.ends, 1)
      XCTAssertEqual(sink.flushes.count, 1)
    }
  }

  func testCloseFailsFlushesInTheirOrderAndOnce() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: 5000) { _, pump, sink in
      var failed: [Int] = []
      pump.start()
      sink.onSend = {
        // In hand of the loop from here on.
        guard sink.sent.count == 1 else { return }
        for number in 1...3 { _ = pump.add(.message([1]), flush: { if !$0 { failed.append(number) } }) }
        _ = pump.add(.flush { if !$0 { failed.append(4) } })
        sink.isFull = true
      }
      _ = pump.add(.message([1]))
      // The sink takes one, and is full again: two flushes stay in hand, one comes into the queue.
      pump.drained()
      _ = pump.add(.flush { if !$0 { failed.append(5) } })
      XCTAssertEqual(sink.sent.count, 2)
      var isTold = false
      pump.onRoom = { isTold = true }
      pump.close()
      pump.close()
      pump.drained()
      XCTAssertEqual(failed, [1, 2, 3, 4, 5])
      XCTAssertEqual(sink.flushes.count, 0)
      XCTAssertEqual(pump.queuedBytes, 0)
      XCTAssertFalse(isTold)
    }
  }

  func testDestroyInTheMiddleOfABatchSendsNothingMore() throws {
    try withQueue(highWater: 1000, lowWater: 500, limit: 5000) { _, pump, sink in
      var outcomes: [Bool] = []
      for _ in 0..<4 { _ = pump.add(.message([1]), flush: { outcomes.append($0) }) }
      sink.onSend = { if sink.sent.count == 2 { pump.close() } }
      pump.start()
      pump.run()
      XCTAssertEqual(sink.sent.count, 2)
      // The first flush reached the stream, which settles it; the others fail here.
      XCTAssertEqual(outcomes, [false, false, false])
      XCTAssertEqual(sink.flushes.count, 1)
      XCTAssertEqual(pump.queuedBytes, 0)
    }
  }
}
