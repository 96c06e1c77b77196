import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Items 106-115 of dht-rpc.md Part A: health and life cycle.
final class LifeCycleTests: RPCTestCase {
  /// The trace of dht-rpc.md 19: (responses, timeouts) per tick and what is published after it.
  func testRPC_106_109_healthTrace() {
    let trace: [(r: UInt64, t: UInt64, online: Bool, degraded: Bool)] = [
      (0, 0, true, false), (0, 0, true, false), (0, 0, true, false), (0, 0, true, false),
      (10, 11, true, false), (10, 10, true, false),
      (10, 30, true, false), (10, 30, true, false), (10, 30, true, false),
      (1, 1, true, false),
      (10, 30, true, false), (10, 30, true, false), (10, 30, true, false),
      (10, 30, true, true), (10, 30, true, true),
      (0, 4, false, false), (0, 3, false, false), (3, 1, true, false),
      (10, 0, true, false), (10, 0, true, false), (10, 0, true, false), (10, 0, true, false),
    ]
    var health = Health()
    var responses: UInt64 = 0
    var timeouts: UInt64 = 0
    var events = 0
    for (index, step) in trace.enumerated() {
      responses += step.r
      timeouts += step.t
      if health.update(responses: responses, timeouts: timeouts) { events += 1 }
      XCTAssertEqual(health.isOnline, step.online, "step \(index)")
      XCTAssertEqual(health.isDegraded, step.degraded, "step \(index)")
      XCTAssertEqual(health.isCold, index < 3)
      XCTAssertEqual(health.responses, step.r)
      XCTAssertEqual(health.timeouts, step.t)
    }
    XCTAssertEqual(events, 3, "degraded, offline, online")
  }

  func testRPC_108_coldAndIdleTicksAreNotJudged() {
    var health = Health()
    for total in 1...3 { XCTAssertFalse(health.update(responses: 0, timeouts: UInt64(total) * 50)) }
    XCTAssertTrue(health.update(responses: 0, timeouts: 200), "the fourth tick is judged")
    XCTAssertFalse(health.isOnline)
    XCTAssertFalse(health.update(responses: 3, timeouts: 200), "three responses are not enough to leave offline")
    XCTAssertFalse(health.isOnline)
    XCTAssertTrue(health.update(responses: 4, timeouts: 203), "four results with one response are")
    XCTAssertTrue(health.isOnline)
  }

  func testRPC_107_ringWrapsAtFour() {
    var health = Health()
    var timeouts: UInt64 = 0
    var responses: UInt64 = 0
    for _ in 0..<4 { _ = health.update(responses: 0, timeouts: 0) }
    // Four judged bad ticks are needed, whatever came before.
    for round in 1...4 {
      timeouts += 30
      responses += 10
      _ = health.update(responses: responses, timeouts: timeouts)
      XCTAssertEqual(health.isDegraded, round == 4)
    }
    for round in 1...4 {
      responses += 10
      _ = health.update(responses: responses, timeouts: timeouts)
      XCTAssertEqual(health.isDegraded, round < 4, "four good ticks in a row end it")
    }
  }

  func testRPC_110_wakeupAndResumeResetHealth() throws {
    let network = VirtualNetwork(seed: 110, isLogging: true)
    let node = makeNode(network, bootstrap: [])
    node.start()
    network.run(within: 1000) { node.isBootstrapped }
    func goOffline() {
      let silent = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
      for _ in 0..<6 {
        for _ in 0..<5 { node.request(RequestMessage(command: 1), to: silent, options: .init(retries: 0)) { _ in } }
        network.advance(by: 5000)
      }
      XCTAssertFalse(node.isOnline)
    }
    var updates = 0
    node.onNetworkUpdate = { updates += 1 }
    goOffline()
    XCTAssertEqual(updates, 1)
    (node.environment as? VirtualHost)?.wallClockOffset += 20_000
    network.advance(by: 5000)
    XCTAssertTrue(node.isOnline)
    XCTAssertTrue(node.health.isCold)
    XCTAssertEqual(updates, 2)
    goOffline()
    node.suspend()
    node.resume()
    network.advance(by: 100)
    XCTAssertTrue(node.isOnline)
    XCTAssertTrue(node.health.isCold)
    XCTAssertEqual(updates, 4)
    destroy([node], network)
  }

  func testRPC_111_closeIsEmittedOnce() throws {
    let network = VirtualNetwork(seed: 111, isLogging: true)
    let node = makeNode(network, bootstrap: [])
    var closes = 0
    var callbacks = 0
    node.onClose = { closes += 1 }
    node.start()
    network.advance(by: 1000)
    for _ in 0..<3 { node.destroy { callbacks += 1 } }
    XCTAssertEqual(closes, 0, "never inside the call")
    network.advance(by: 100)
    node.destroy { callbacks += 1 }
    network.advance(by: 100)
    XCTAssertEqual(closes, 1)
    XCTAssertEqual(callbacks, 4)
    XCTAssertTrue(network.runUntilIdle(within: 20_000), "nothing goes on")
  }

  func testRPC_111_destroyInEveryState() throws {
    for state in 0..<6 {
      let network = VirtualNetwork(seed: 112, isLogging: true)
      let host = network.makeHost()
      let silent = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
      let node = makeNode(network, bootstrap: [silent], host: host) { $0.ephemeral = false }
      var bootstrapped: [Result<Void, RPCError>] = []
      var closes = 0
      var suspends = 0
      var resumes = 0
      node.onClose = { closes += 1 }
      node.whenBootstrapped { bootstrapped.append($0) }
      switch state {
      case 0: break  // never started
      case 1: node.start()  // the turn has not come yet
      case 2:  // bootstrapping
        node.start()
        network.advance(by: 1000)
      case 3:  // suspending
        node.start()
        network.advance(by: 100)
        node.suspend { suspends += 1 }
      case 4:  // suspended
        node.start()
        network.advance(by: 100)
        node.suspend { suspends += 1 }
        network.advance(by: 100)
      default:  // resuming
        node.start()
        network.advance(by: 100)
        node.suspend { suspends += 1 }
        node.resume { _ in resumes += 1 }
      }
      node.destroy()
      network.advance(by: 100)
      XCTAssertEqual(closes, 1, "state \(state)")
      XCTAssertEqual(bootstrapped.count, 1, "state \(state)")
      XCTAssertEqual(suspends, state >= 3 ? 1 : 0, "state \(state)")
      XCTAssertEqual(resumes, state >= 5 ? 1 : 0, "state \(state)")
      XCTAssertEqual(host.openSocketCount, 0)
      XCTAssertTrue(network.runUntilIdle(within: 20_000), "state \(state)")
    }
  }

  func testRPC_112_everythingFailsAfterDestroy() throws {
    let network = VirtualNetwork(seed: 113, isLogging: true)
    let node = makeNode(network, bootstrap: [])
    node.start()
    network.advance(by: 1000)
    node.destroy()
    network.advance(by: 100)
    var errors: [RPCError] = []
    let peer = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    node.ping(peer) { if case .failure(let error) = $0 { errors.append(error) } }
    node.request(RequestMessage(command: 1), to: peer) { if case .failure(let error) = $0 { errors.append(error) } }
    for query in [node.findNode(target: Bytes32()), node.query(target: Bytes32(), command: 1)] {
      query.onFinished = { if case .failure(let error) = $0 { errors.append(error) } }
      query.start()
    }
    node.whenBootstrapped { if case .failure(let error) = $0 { errors.append(error) } }
    XCTAssertEqual(errors, [])
    network.advance(by: 1)
    XCTAssertEqual(errors, Array(repeating: .nodeDestroyed, count: 5))
    XCTAssertThrowsError(try node.bind())
    node.start()
    node.refresh()
    network.advance(by: 1000)
    XCTAssertEqual(network.log.count, 0)
  }

  func testRPC_113_defaultsAndStatistics() throws {
    let configuration = RPCConfiguration()
    XCTAssertEqual(configuration.concurrency, 10)
    XCTAssertEqual(configuration.maxWindow, 80)
    XCTAssertEqual(configuration.maxPingDelay, 10_000)
    XCTAssertEqual(configuration.downHintsRateLimit, 50)
    XCTAssertTrue(configuration.sendDownHints && configuration.anyPort && configuration.firewalled)
    XCTAssertTrue(configuration.adaptive && configuration.quickFirewall)
    XCTAssertNil(configuration.ephemeral)
    XCTAssertEqual(configuration.host, .any)
    let network = VirtualNetwork(seed: 114, isLogging: true)
    let node = makeNode(network, bootstrap: []) { $0.maxPingDelay = 0 }
    XCTAssertEqual(node.maximumPingDelay, 10_000, "0 means the default")
    XCTAssertEqual(node.statistics, RPCStatistics())
    let ticks = (0..<200).map { _ in makeNode(network, bootstrap: []) }
    XCTAssertTrue(ticks.allSatisfy { (51...100).contains($0.tick) && (31...60).contains($0.refreshTicks) })
    XCTAssertGreaterThan(Set(ticks.map(\.tick)).count, 20)
  }

  /// Item 114 in our terms: a look-up through a network of ten reaches the nine others.
  func testRPC_114_tenNodesNineSuccesses() throws {
    let network = VirtualNetwork(seed: 115, isLogging: true)
    let swarm = try makeSwarm(network, size: 10)
    let latest = try XCTUnwrap(swarm[4].recentNodes(limit: 1).first)
    let query = swarm[4].findNode(target: NodeAddress.id(of: latest))
    var isFinished = false
    query.onFinished = { _ in isFinished = true }
    query.start()
    XCTAssertTrue(network.run(within: 10_000) { isFinished })
    XCTAssertEqual(query.successes, 9)
    XCTAssertEqual(query.errors, 0)
    destroy(swarm, network)
  }

  func testNodesQueriesAndNetworksAreReleased() throws {
    weak var weakNode: RPCNode?
    weak var weakQuery: Query?
    weak var weakNetwork: VirtualNetwork?
    weak var weakHost: VirtualHost?
    do {
      let network = VirtualNetwork(seed: 116, isLogging: true)
      let server = try makeBootstrapper(network)
      let node = makeNode(network, bootstrap: [try endpoint(of: server)])
      node.start()
      network.advance(by: 100_000)
      let query = node.findNode(target: Bytes32())
      query.onReply = { [unowned query] _ in query.pause() }
      query.start()
      // In the middle of everything: packets, timers and requests are under way.
      node.ping(Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)) { _ in }
      weakNode = node
      weakQuery = query
      weakNetwork = network
      weakHost = node.environment as? VirtualHost
      node.destroy()
      server.destroy()
    }
    XCTAssertNil(weakNode)
    XCTAssertNil(weakQuery)
    XCTAssertNil(weakNetwork)
    XCTAssertNil(weakHost)
  }
}
