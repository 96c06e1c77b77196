import CHyperUV
import HyperEncoding
import HyperEnvironment
import XCTest

@testable import HyperRuntime

final class EventLoopTests: XCTestCase {
  func testTimersFireInOrderOfDeadlineThenCreation() throws {
    try withManualLoop { loop in
      var order: [Int] = []
      for (index, delay) in [30, 10, 20, 10, 0, 0].enumerated() {
        _ = loop.schedule(after: UInt64(delay)) { order.append(index) }
      }
      _ = loop.schedule(after: 50) { loop.beginShutdown(nil) }
      loop.run()
      XCTAssertEqual(order, [4, 5, 1, 3, 2, 0])
    }
  }

  func testTimersNeverFireEarlyOrInsideSchedule() throws {
    try withManualLoop { loop in
      var early = 0
      var fired = 0
      for delay in 0..<40 {
        let start = loop.now
        _ = loop.schedule(after: UInt64(delay)) {
          fired += 1
          if loop.now - start < UInt64(delay) * 1000 { early += 1 }
        }
      }
      XCTAssertEqual(fired, 0)
      _ = loop.schedule(after: 60) { loop.beginShutdown(nil) }
      loop.run()
      XCTAssertEqual(fired, 40)
      XCTAssertEqual(early, 0)
    }
  }

  func testCancelledTimersDoNotFireAndReleaseTheirAction() throws {
    try withManualLoop { loop in
      final class Probe {}
      var probe: Probe? = Probe()
      weak let weakProbe = probe
      var fired: [Int] = []
      let timers = (0..<100).map { index in loop.schedule(after: UInt64(index % 7)) { fired.append(index) } }
      let holding = loop.schedule(after: 5) { [probe] in _ = probe }
      probe = nil
      holding.cancel()
      XCTAssertNil(weakProbe)
      for (index, timer) in timers.enumerated() where index % 3 != 0 { timer.cancel() }
      timers[1].cancel()
      _ = loop.schedule(after: 20) { loop.beginShutdown(nil) }
      loop.run()
      XCTAssertEqual(Set(fired), Set((0..<100).filter { $0 % 3 == 0 }))
      timers[0].cancel()
    }
  }

  func testZeroTimersThatRearmThemselvesDoNotStarveOthers() throws {
    try withManualLoop { loop in
      var spins = 0
      func again() {
        spins += 1
        if loop.phase == .open { _ = loop.schedule(after: 0, again) }
      }
      again()
      _ = loop.schedule(after: 15) { loop.beginShutdown(nil) }
      loop.run()
      XCTAssertGreaterThan(spins, 2)
    }
  }

  /// What has come by then is read before a timer of 0 that a timer has made.
  func testZeroTimersLetTheLoopPoll() throws {
    final class Seen: @unchecked Sendable { var isPosted = false }
    try withManualLoop { loop in
      let seen = Seen()
      var spins = 0
      func again() {
        spins += 1
        if seen.isPosted || spins == 1000 { return loop.beginShutdown(nil) }
        _ = loop.schedule(after: 0, again)
      }
      _ = loop.schedule(after: 0) {
        let posted = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
          loop.post { seen.isPosted = true }
          posted.signal()
        }
        posted.wait()
        again()
      }
      loop.run()
      XCTAssertTrue(seen.isPosted)
      XCTAssertLessThanOrEqual(spins, 3)
    }
  }

  func testDeferRunsLaterAndBeforeTimers() throws {
    try withManualLoop { loop in
      var order: [String] = []
      _ = loop.schedule(after: 0) {
        order.append("timer 1")
        loop.defer { order.append("deferred by timer 1") }
        _ = loop.schedule(after: 0) {
          order.append("timer 2")
          loop.beginShutdown(nil)
        }
      }
      loop.defer {
        order.append("deferred 1")
        loop.defer { order.append("deferred 2") }
        order.append("end of deferred 1")
      }
      XCTAssertEqual(order, [])
      loop.run()
      XCTAssertEqual(
        order, ["deferred 1", "end of deferred 1", "deferred 2", "timer 1", "deferred by timer 1", "timer 2"])
    }
  }

  func testPostIsInlineOnTheLoopAndOrderedFromOutside() async throws {
    let loop = try UVEventLoop.startThread()
    let seen = Locked<[Int]>([])
    for index in 0..<10_000 { loop.post { seen.withLock { $0.append(index) } } }
    let inline = await withCheckedContinuation { continuation in
      loop.post {
        var isInline = false
        withUnsafeMutablePointer(to: &isInline) { pointer in
          nonisolated(unsafe) let flag = pointer
          loop.post { flag.pointee = true }
        }
        continuation.resume(returning: isInline)
      }
    }
    XCTAssertTrue(inline)
    XCTAssertEqual(seen.withLock { $0 }, Array(0..<10_000))
    await loop.shutdown()
    XCTAssertFalse(loop.post {})
  }

  func testPostFromManyThreadsLosesNothing() async throws {
    let loop = try UVEventLoop.startThread()
    // Only touched on the loop: ThreadSanitizer would report it otherwise.
    final class Counter: @unchecked Sendable { var value = 0 }
    let counter = Counter()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask { for _ in 0..<5000 { loop.post { counter.value += 1 } } }
      }
    }
    let total = await withCheckedContinuation { continuation in
      loop.post { continuation.resume(returning: counter.value) }
    }
    XCTAssertEqual(total, 40_000)
    await loop.shutdown()
  }

  func testShutdownWhilePostingRunsOrRefusesEveryJob() async throws {
    for _ in 0..<50 {
      let loop = try UVEventLoop.startThread()
      let ran = Locked(0)
      let accepted = Locked(0)
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<4 {
          group.addTask {
            for _ in 0..<500 where loop.post({ ran.withLock { $0 += 1 } }) { accepted.withLock { $0 += 1 } }
          }
        }
        group.addTask { await loop.shutdown() }
      }
      XCTAssertEqual(ran.withLock { $0 }, accepted.withLock { $0 })
    }
  }

  func testTasksAndActorsRunOnTheLoop() async throws {
    actor Confined {
      let loop: UVEventLoop
      var count = 0
      nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
      init(loop: UVEventLoop) { self.loop = loop }
      func touch() -> Bool {
        count += 1
        return loop.isOnLoop
      }
    }
    let loop = try UVEventLoop.startThread()
    let confined = Confined(loop: loop)
    let onLoop = await Task(executorPreference: loop) {
      var all = loop.isOnLoop
      for _ in 0..<1000 { all = await confined.touch() && all }
      await Task.yield()
      return all && loop.isOnLoop
    }.value
    XCTAssertTrue(onLoop)
    let fromOutside = await confined.touch()
    XCTAssertTrue(fromOutside)
    let count = await confined.count
    XCTAssertEqual(count, 1001)
    await loop.shutdown()
  }

  func testTaskThatShutsItsOwnLoopDownGoesOn() async throws {
    let loop = try UVEventLoop.startThread()
    let result = await Task(executorPreference: loop) {
      await loop.shutdown()
      await Task.yield()
      return 42
    }.value
    XCTAssertEqual(result, 42)
  }

  func testShutdownClosesDescriptorsAndJoinsTheThread() async throws {
    let warmUp = try UVEventLoop.startThread()
    await warmUp.shutdown()
    let descriptors = openDescriptors()
    let threads = threadCount()
    for _ in 0..<50 {
      let loop = try UVEventLoop.startThread()
      _ = await withCheckedContinuation { continuation in
        loop.post {
          _ = loop.schedule(after: 1_000_000) { XCTFail("fired") }
          loop.resolve("127.0.0.1") { continuation.resume(returning: $0) }
        }
      }
      await loop.shutdown()
    }
    XCTAssertLessThanOrEqual(openDescriptors(), descriptors + 2)
    XCTAssertLessThan(threadCount(), threads + 10)  // libuv's four workers, the Swift pool
  }

  func testLoopIsReleasedAfterShutdown() async throws {
    weak var weakLoop: UVEventLoop?
    do {
      let loop = try UVEventLoop.startThread()
      weakLoop = loop
      await loop.shutdown()
      await loop.shutdown()
    }
    XCTAssertNil(weakLoop)
  }

  func testShutdownAsksHooksAndWaitsForThem() throws {
    try withManualLoop { loop in
      var order: [String] = []
      _ = loop.addShutdownHook { closed in
        order.append("asked")
        _ = loop.schedule(after: 5) {
          order.append("closed")
          closed()
          closed()
        }
      }
      let removed = loop.addShutdownHook { closed in
        XCTFail("removed")
        closed()
      }
      loop.removeShutdownHook(removed)
      loop.beginShutdown { [order] in XCTAssertEqual(order, []) }
      loop.run()
      XCTAssertEqual(order, ["asked", "closed"])
    }
  }

  func testEmbeddedLoopEndsWhenNothingIsLeftToDo() throws {
    let host = Host()
    let loop = try UVEventLoop(embeddedIn: host.uv)
    var fired: [String] = []
    uv_run(host.uv, UV_RUN_DEFAULT)  // returns at once: nothing keeps it
    loop.defer { fired.append("deferred") }
    _ = loop.schedule(after: 2) { fired.append("timer") }
    let cancelled = loop.schedule(after: 1_000_000) { XCTFail("cancelled") }
    cancelled.cancel()
    uv_run(host.uv, UV_RUN_DEFAULT)
    XCTAssertEqual(fired, ["deferred", "timer"])
    loop.beginShutdown(nil)
    uv_run(host.uv, UV_RUN_DEFAULT)
    XCTAssertEqual(loop.phase, .closed)
    XCTAssertEqual(host.close(), 0)
  }

  func testEmbeddedLoopRunsTasks() throws {
    let host = Host()
    let loop = try UVEventLoop(embeddedIn: host.uv)
    let result = Locked(0)
    Task(executorPreference: loop) {
      await Task.yield()
      result.withLock { $0 = loop.isOnLoop ? 7 : 1 }
      loop.beginShutdown(nil)
    }
    uv_run(host.uv, UV_RUN_DEFAULT)
    XCTAssertEqual(result.withLock { $0 }, 7)
    XCTAssertEqual(loop.phase, .closed)
    XCTAssertEqual(host.close(), 0)
  }

  func testResolveSettlesOnceAlsoOnFailureAndShutdown() throws {
    try withManualLoop { loop in
      var resolved: [String] = []
      var settled = 0
      loop.resolve("127.0.0.1") { addresses in
        resolved = addresses.map(\.description)
        loop.resolve("not a host name") { XCTAssertEqual($0, []) }
        loop.resolve(String(repeating: "a", count: 5000)) { XCTAssertEqual($0, []) }
        // Some of these are refused for their number, the others given up.
        for _ in 0..<(Limits.lookups + 10) { loop.resolve("127.0.0.1") { _ in settled += 1 } }
        XCTAssertEqual(settled, 0)
        loop.beginShutdown(nil)
      }
      loop.run()
      XCTAssertEqual(resolved, ["127.0.0.1"])
      XCTAssertEqual(settled, Limits.lookups + 10)
    }
  }

  /// A look-up that a thread is in the middle of is given up: the end of the loop does not wait for the resolver.
  func testShutdownNeverWaitsForTheResolver() throws {
    let silent: @Sendable (String) -> [ResolvedAddress] = { _ in
      sleep(3)
      return [ResolvedAddress(host: .v4(.loopback), scope: 0)]
    }
    var answers: [[ResolvedAddress]] = []
    let begun = uv_hrtime()
    try withManualLoop { loop in loop.resolve("host.example", with: silent) { answers.append($0) } }
    let host = Host()
    let embedded = try UVEventLoop(embeddedIn: host.uv)
    embedded.resolve("host.example", with: silent) { answers.append($0) }
    embedded.beginShutdown(nil)
    uv_run(host.uv, UV_RUN_DEFAULT)
    XCTAssertEqual(answers, [[], []])
    XCTAssertLessThan(uv_hrtime() - begun, 1_000_000_000)
    // The threads come back to no loop.
    sleep(4)
  }

  /// An embedded loop runs until the answer is there.
  func testALookUpKeepsAnEmbeddedLoopRunning() throws {
    let host = Host()
    let loop = try UVEventLoop(embeddedIn: host.uv)
    var answers: [[ResolvedAddress]] = []
    let answer = ResolvedAddress(host: .v4(.loopback), scope: 0)
    let slow: @Sendable (String) -> [ResolvedAddress] = { _ in
      usleep(50_000)
      return [answer]
    }
    loop.resolve("host.example", with: slow) { answers.append($0) }
    uv_run(host.uv, UV_RUN_DEFAULT)
    XCTAssertEqual(answers, [[answer]])
    loop.beginShutdown(nil)
    uv_run(host.uv, UV_RUN_DEFAULT)
  }

  func testInterfacesContainLoopbackAndTheWatchCancels() throws {
    XCTAssertTrue(UVEventLoop.interfaces().contains { $0.address == .loopback && $0.isInternal })
    try withManualLoop { loop in
      let watch = loop.watchInterfaces(every: 100) { _ in }
      _ = loop.schedule(after: 250) {
        watch.cancel()
        loop.beginShutdown(nil)
      }
      loop.run()
      XCTAssertEqual(loop.timers.count, 0)
    }
  }

  func testTimerHeapAgainstSorting() throws {
    try withManualLoop { loop in
      var heap = TimerHeap()
      var seed: UInt64 = 12345
      func next(_ bound: UInt64) -> UInt64 {
        seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (seed >> 33) % bound
      }
      var model: [LoopTimer] = []
      for sequence in 0..<5000 {
        if next(3) == 0, !model.isEmpty {
          let victim = model.remove(at: Int(next(UInt64(model.count))))
          heap.remove(victim)
          heap.remove(victim)
        } else {
          let timer = LoopTimer(deadline: next(500), sequence: UInt64(sequence), loop: loop) {}
          model.append(timer)
          heap.insert(timer)
        }
        if sequence % 50 == 0 { XCTAssertTrue(heap.first === model.min { $0.isBefore($1) }) }
      }
      model.sort { $0.isBefore($1) }
      for timer in model {
        XCTAssertTrue(heap.first === timer)
        heap.remove(timer)
      }
      XCTAssertEqual(heap.count, 0)
    }
  }
}
