import Dispatch
import HyperDHT
import HyperRuntime
import Hyperswarm
import XCTest

/// Every call settles, whatever ends meanwhile, over real sockets on 127.0.0.1.
final class DestructionTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet) -> Hyperswarm.Options {
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
    options.dhtOptions.host = .loopback
    return options
  }

  /// The loop comes to the call only after the caller has gone.
  func testAJoinThatIsCancelledBeforeTheLoopIsThereJoinsNothing() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let swarm = try await Hyperswarm(options(testnet))
    for number in 0..<20 {
      let isHeld = DispatchSemaphore(value: 0)
      let mayGo = DispatchSemaphore(value: 0)
      swarm.loop.post {
        isHeld.signal()
        mayGo.wait()
      }
      await Task.detached { isHeld.waitBlocking() }.value
      let topic = Hyperswarm.topic("held \(number)")
      let join = Task { try await swarm.join(topic) }
      for _ in 0..<number { await Task.yield() }
      join.cancel()
      let result = await join.result
      mayGo.signal()
      XCTAssertThrowsError(try result.get(), "the loop has not seen the call")
      let topics = await swarm.topics()
      XCTAssertEqual(topics, [], "call \(number)")
    }
    await swarm.destroy(force: true)
    await testnet.destroy()
  }

  /// Withdrawing what was announced waits for nodes that do not answer, up to a second.
  func testForceCutsADestroyShort() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let swarm = try await Hyperswarm(options(testnet))
    let discovery = try await swarm.join(Hyperswarm.topic("cut short"))
    _ = try await discovery.flushed()
    let node = try await HyperDHT(HyperDHT.Options(bootstrap: testnet.bootstrap, host: .loopback))
    _ = try await node.listen()
    await testnet.destroy()
    let clock = ContinuousClock()
    let start = clock.now
    async let first: Void = swarm.destroy()
    async let firstOfNode: Void = node.destroy()
    // Both are under way.
    while await !swarm.topics().isEmpty {}
    while await !node.status().isDestroyed {}
    await swarm.destroy(force: true)
    await node.destroy(force: true)
    XCTAssertLessThan(clock.now - start, .seconds(2))
    await first
    await firstOfNode
    XCTAssertLessThan(clock.now - start, .seconds(2))
  }

  /// The node, and the loop with it, goes before the swarm that was given it.
  func testEventsEndWithTheLoop() async throws {
    let dht = try await HyperDHT(.init(bootstrap: [], port: 0, host: .loopback))
    let swarm = try await Hyperswarm(.init(dht: dht))
    let events = swarm.events()
    await dht.destroy()
    let isOver = Task {
      for await _ in events {}
      for await _ in swarm.connections {}
    }
    // A reader that waits for ever must not keep the test.
    let watch = Task {
      try await Task.sleep(for: .seconds(60))
      isOver.cancel()
      XCTFail("the events have no end")
    }
    await isOver.value
    watch.cancel()
    await swarm.destroy()
  }

  private typealias Call = @Sendable (Hyperswarm, HyperDHT) async throws -> Void

  /// What a program may be waiting for.
  private let calls: [Call] = [
    { swarm, _ in try await swarm.join(Hyperswarm.topic("a")).flushed() },
    { swarm, _ in _ = try await swarm.join(Hyperswarm.topic("b"), client: false).flushed() },
    { swarm, _ in try await swarm.leave(Hyperswarm.topic("a")) },
    { swarm, _ in try await swarm.clear() },
    { swarm, _ in try await swarm.flush() },
    { swarm, _ in try await swarm.flush(within: .seconds(60)) },
    { swarm, _ in try await swarm.listen() },
    { swarm, _ in try await swarm.suspend() },
    { swarm, _ in try await swarm.resume() },
    { swarm, _ in _ = await swarm.topics() },
    { swarm, _ in _ = swarm.peers.count },
    { swarm, _ in for await _ in swarm.connections {} },
    { swarm, _ in for await _ in swarm.events() {} },
    { swarm, _ in _ = try await swarm.status(of: Hyperswarm.topic("a"))?.flushed() },
    { swarm, _ in _ = try await swarm.join(Hyperswarm.topic("c")).roles() },
    { _, dht in for await _ in dht.events() {} },
    { _, dht in for await _ in dht.tableChanges() {} },
    { _, dht in try await dht.bootstrapped() },
    { _, dht in _ = try await dht.connect(to: HyperDHT.keyPair().publicKey) },
    { _, dht in _ = try await dht.listen(keyPair: HyperDHT.keyPair()) },
    { _, dht in for try await _ in dht.lookup(Hyperswarm.topic("a")) {} },
    { _, dht in try await dht.suspend() },
    { _, dht in try await dht.resume() },
    { _, dht in _ = await dht.status() },
    { _, dht in _ = try await dht.request(.init(77), to: Endpoint(host: .loopback, port: 9)) },
    { _, dht in _ = try await dht.query(77, target: Hyperswarm.topic("a")).finished() },
    { _, dht in for try await _ in dht.findNodes(Hyperswarm.topic("a")) {} },
    { _, dht in try await dht.onRequest(77) { $0.reply() } },
    { _, dht in _ = try await dht.dial(HyperDHT.keyPair().publicKey).connection() },
    { _, dht in for await _ in dht.dial(HyperDHT.keyPair().publicKey).states {} },
    { _, dht in _ = try await dht.pool().connect(to: HyperDHT.keyPair().publicKey) },
    { _, dht in _ = try await dht.listen(keyPair: HyperDHT.keyPair()).accept() },
    { _, dht in _ = try await dht.roundTripStatistics() },
    { _, dht in _ = try await dht.delayedPing(Endpoint(host: .loopback, port: 9), delay: .seconds(1)) },
    { _, dht in _ = try await dht.validateLocalAddresses([Endpoint(host: .loopback, port: 9)]) },
    { swarm, _ in _ = try await swarm.accept() },
    { swarm, _ in await swarm.destroy() },
    { _, dht in await dht.destroy() },
  ]

  /// No node answers: whatever needs one waits. All calls return although none of them is answered.
  private func assertSettled(
    destroyAfter turns: Int, force: Bool, afterwards: Bool, on loop: UVEventLoop? = nil, line: UInt = #line
  ) async throws {
    var options = Hyperswarm.Options(bootstrap: ["127.0.0.1:9"], loop: loop)
    options.dhtOptions.host = .loopback
    let swarm = try await Hyperswarm(options)
    let dht = swarm.dht
    let settled = Locked(0)
    let clock = ContinuousClock()
    let start = clock.now
    if afterwards { await swarm.destroy(force: force) }
    let tasks = calls.dropLast(afterwards || turns == 0 ? 0 : 2).map { call in
      Task {
        try? await call(swarm, dht)
        settled.withLock { $0 += 1 }
      }
    }
    for _ in 0..<turns { await onLoop(swarm.loop) {} }
    await swarm.destroy(force: force)
    for task in tasks { await task.value }
    XCTAssertEqual(settled.withLock { $0 }, tasks.count, line: line)
    XCTAssertLessThan(clock.now - start, .seconds(8), line: line)
  }

  func testCallsSettleWhenTheSwarmIsDestroyed() async throws {
    for force in [false, true] {
      for turns in [0, 1, 50] {
        try await assertSettled(destroyAfter: turns, force: force, afterwards: false)
      }
      try await assertSettled(destroyAfter: 0, force: force, afterwards: true)
    }
  }

  /// The loop is not there to fail what is asked of a swarm that is gone.
  func testCallsSettleOnALoopThatGoesOn() async throws {
    let loop = try UVEventLoop.startThread()
    try await assertSettled(destroyAfter: 1, force: true, afterwards: false, on: loop)
    try await assertSettled(destroyAfter: 0, force: true, afterwards: true, on: loop)
    await loop.shutdown()
  }
}

extension DispatchSemaphore {
  /// Tests only: in a task of its own.
  fileprivate func waitBlocking() { wait() }
}
