import HyperDHT
import HyperDHTEngine
import HyperRuntime
import XCTest

@testable import Hyperswarm

/// What the Swift faces say about cancellation, suspension and the end, over real sockets on 127.0.0.1.
final class LifecycleTruthTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet, loop: UVEventLoop? = nil) -> Hyperswarm.Options {
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap, loop: loop)
    options.dhtOptions.host = .loopback
    return options
  }

  private func nodeOptions(_ bootstrap: [String], loop: UVEventLoop?) -> HyperDHT.Options {
    var options = HyperDHT.Options(bootstrap: bootstrap, host: .loopback)
    options.loop = loop
    return options
  }

  private func code(_ body: () async throws(HyperswarmError) -> Void) async -> String? {
    do throws(HyperswarmError) {
      try await body()
      return nil
    } catch {
      return error.code
    }
  }

  func testACancelledJoinJoinsNothing() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let swarm = try await Hyperswarm(options(testnet))
    var kept: Set<Bytes32> = []
    for number in 0..<500 {
      let topic = Hyperswarm.topic("cancelled \(number)")
      let join = Task { try await swarm.join(topic) }
      // At different places of the way to the loop and back.
      for _ in 0..<number % 7 { await Task.yield() }
      join.cancel()
      if (try? await join.value) != nil { kept.insert(topic) }
    }
    let topics = await swarm.topics()
    XCTAssertEqual(Set(topics), kept)
    await swarm.destroy(force: true)
    await testnet.destroy()
  }

  /// The last handle of a connection goes on the loop, before that has come to what another thread has asked for.
  func testAHandleThatGoesDoesNotOvertakeDestroy() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let loop = try UVEventLoop.startThread()
    let node = try await HyperDHT(nodeOptions(testnet.bootstrap, loop: loop))
    let other = try await HyperDHT(nodeOptions(testnet.bootstrap, loop: nil))
    let server = try await node.listen()
    let peer = try await other.connect(to: server.publicKey)
    let kept = Locked<HyperDHT.Connection?>(nil)
    func accept() async throws {
      let connection = try await server.accept()
      peer.end()
      let end = try await connection?.read()
      XCTAssertNil(end)
      kept.withLock { $0 = connection }
    }
    try await accept()
    _ = await onLoop(loop) {
      let isAsked = DispatchSemaphore(value: 0)
      Thread.detachNewThread {
        kept.withLock { $0?.destroy() }
        isAsked.signal()
      }
      isAsked.wait()
      kept.withLock { $0 = nil }
    }
    let reason = try await peer.waitUntilClosed()
    XCTAssertEqual(reason, .reset)
    await other.destroy()
    await node.destroy()
    await loop.shutdown()
    await testnet.destroy()
  }

  func testFlushedTellsTheTruthWhileSuspendedAndAfterLeave() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let swarm = try await Hyperswarm(options(testnet))
    let topic = Hyperswarm.topic("truth")
    let discovery = try await swarm.join(topic)
    let before = [try await discovery.flushed(), try await swarm.flush()]
    XCTAssertEqual(before, [true, true])
    try await swarm.suspend()
    let suspended = [
      try await discovery.flushed(), try await swarm.flush(), try await discovery.refresh(),
      try await discovery.refresh(server: true, client: true),
    ]
    XCTAssertEqual(suspended, [false, false, false, false])
    try await swarm.resume()
    let after = [try await discovery.flushed(), try await swarm.flush()]
    XCTAssertEqual(after, [true, true])
    try await swarm.leave(topic)
    let left = await code { () async throws(HyperswarmError) in _ = try await discovery.flushed() }
    XCTAssertEqual(left, "SESSION_DESTROYED")
    // One interest of two: the topic stays.
    let first = try await swarm.join(topic)
    let second = try await swarm.join(topic)
    await first.destroy()
    let destroyed = await code { () async throws(HyperswarmError) in _ = try await first.flushed() }
    XCTAssertEqual(destroyed, "SESSION_DESTROYED")
    let stays = try await second.flushed()
    XCTAssertTrue(stays)
    await swarm.destroy(force: true)
    await testnet.destroy()
  }

  func testStatusSaysThatTheNodeIsDestroyed() async throws {
    let loop = try UVEventLoop.startThread()
    for given in [nil, loop] {
      let node = try await HyperDHT(nodeOptions([], loop: given))
      var status = await node.status()
      XCTAssertFalse(status.isDestroyed)
      await node.destroy()
      status = await node.status()
      XCTAssertTrue(status.isDestroyed)
      XCTAssertFalse(status.isOnline)
    }
    await loop.shutdown()
  }

  /// Whichever of two concurrent calls comes first: when one returns, the end has come.
  private func assertBothWait(
    _ name: String, _ destroy: @escaping @Sendable () async -> Void, _ isOver: @escaping @Sendable () async -> Bool
  ) async {
    let calls = (0..<2).map { _ in
      Task {
        await destroy()
        return await isOver()
      }
    }
    for call in calls {
      let over = await call.value
      XCTAssertTrue(over, name)
    }
  }

  func testASwarmLeavesNothingAtANodeThatItShared() async throws {
    let loop = try UVEventLoop.startThread()
    let testnet = try await HyperDHT.Testnet(size: 2, loop: loop)
    let node = try await HyperDHT(nodeOptions(testnet.bootstrap, loop: loop))
    let engine = node.node
    let observers: () async -> [Int]? = {
      await onLoop(loop) {
        [engine.value.onNetworkState.count, engine.value.onNetworkChange.count, engine.value.onNetworkUpdate.count]
      }
    }
    let before = await observers()
    XCTAssertNotNil(before)
    var borrowing = Hyperswarm.Options()
    borrowing.dht = node
    for _ in 0..<3 {
      let swarm = try await Hyperswarm(borrowing)
      let during = await observers()
      XCTAssertEqual(during, before?.map { $0 + 1 })
      await swarm.destroy()
      let after = await observers()
      XCTAssertEqual(after, before)
    }
    await node.destroy()
    await testnet.destroy()
    await loop.shutdown()
  }

  func testASecondDestroyWaitsForTheFirst() async throws {
    let loop = try UVEventLoop.startThread()
    let testnet = try await HyperDHT.Testnet(size: 3, loop: loop)
    let node = try await HyperDHT(nodeOptions(testnet.bootstrap, loop: loop))
    var borrowing = Hyperswarm.Options()
    borrowing.dht = node
    let swarm = try await Hyperswarm(borrowing)
    let discovery = try await swarm.join(Hyperswarm.topic("destroyed twice"))
    _ = try await discovery.flushed()
    // The last step of the destruction lets go of this, and ends the connections' sequence.
    let engine = swarm.engine
    let connections = swarm.connections
    let reader = Task { for await _ in connections {} }
    await assertBothWait("swarm") {
      await swarm.destroy()
    } _: {
      await onLoop(loop) { engine.value.onConnection == nil } ?? false
    }
    await reader.value
    await assertBothWait("node") {
      await node.destroy()
    } _: {
      await node.status().isDestroyed
    }
    // Closed sockets: their addresses can be bound again.
    let port = UInt16(testnet.bootstrap[0].split(separator: ":")[1])
    await assertBothWait("testnet") {
      await testnet.destroy()
    } _: {
      true
    }
    let again = try await HyperDHT.Testnet(size: 1, port: try XCTUnwrap(port))
    XCTAssertEqual(again.bootstrap, [testnet.bootstrap[0]])
    await again.destroy()
    await loop.shutdown()
  }
}
