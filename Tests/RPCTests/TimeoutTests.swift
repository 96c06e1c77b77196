import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// dht-rpc.md C-3 and C-6: timeouts that follow the measured round-trip times.
final class TimeoutTests: RPCTestCase {
  private let place = Endpoint(host: IPv4Address(8, 8, 8, 8), port: 8)

  func testRPC_C3_estimateFollowsRFC6298() {
    var estimate = RoundTripEstimate(adding: 100_000)
    XCTAssertEqual(estimate.timeout, 300, "SRTT + 4 * SRTT / 2")
    for _ in 0..<50 { estimate = RoundTripEstimate(estimate, adding: 100_000) }
    XCTAssertEqual(estimate.timeout, 100, "no variation is left")
    estimate = RoundTripEstimate(estimate, adding: 900_000)
    XCTAssertEqual(estimate.smoothed, 200_000)
    XCTAssertEqual(estimate.variation, 200_000)
    XCTAssertEqual(estimate.timeout, 1000)
  }

  func testRPC_C3_timeoutsAreBoundedAndForgotten() {
    var times = RoundTripTimes()
    let other = Endpoint(host: IPv4Address(8, 8, 4, 4), port: 8)
    XCTAssertEqual(times.timeout(for: place, now: 0), 1000, "nothing is known: the fixed second")
    for _ in 0..<20 { times.add(1000, of: place, now: 0) }
    XCTAssertEqual(times.timeout(for: place, now: 0), 300)
    XCTAssertEqual(times.timeout(for: other, now: 0), 500, "a path of its own is not measured yet")
    XCTAssertEqual(times.timeout(for: place, now: Limits.pathMemory + 1), 500, "forgotten")
    times.add(.max, of: place, now: 1)
    XCTAssertLessThanOrEqual(times.timeout(for: place, now: 1), 4000)
    XCTAssertLessThanOrEqual(times.timeout(for: other, now: 1), 1000)
    for index in 0..<20_000 {
      times.add(1000, of: Endpoint(host: IPv4Address(value: 7 << 24 | UInt32(index)), port: 7), now: 2)
    }
    XCTAssertLessThanOrEqual(times.trackedCount, Limits.trackedPaths)
  }

  /// The number of transmissions, their bytes and the time after which a request fails are those of the fixed timeout.
  func testRPC_C3_knownPathsAreAskedAgainSoonerAndGivenUpAsLate() throws {
    for (isAdaptive, expected) in [(true, [0, 300, 900, 1900]), (false, [0, 1000, 2000, 3000])] as [(Bool, [UInt64])] {
      let network = VirtualNetwork(seed: 3, isLogging: true)
      let node = makeNode(network, bootstrap: []) { $0.adaptiveTimeout = isAdaptive }
      try node.bind()
      let peer = try RawPeer(network)
      peer.answerAll()
      for _ in 0..<20 {
        node.ping(peer.endpoint) { _ in }
        network.advance(by: 10)
      }
      peer.clear()
      peer.onDatagram = nil
      network.latency = { _ in 0 }
      var failedAt: UInt64?
      let start = network.now
      node.ping(peer.endpoint) { _ in failedAt = network.now }
      network.advance(by: 10_000)
      XCTAssertEqual(peer.received.map { ($0.at - start) / 1000 }, expected)
      XCTAssertEqual(Set(peer.received.map(\.bytes)).count, 1)
      XCTAssertEqual(failedAt.map { ($0 - start) / 1000 }, 4000)
      // What the asked node may pass on takes the time of another path: always a second.
      peer.clear()
      let again = network.now
      node.request(RequestMessage(command: 0), to: peer.endpoint) { _ in }
      network.advance(by: 10_000)
      XCTAssertEqual(peer.received.map { ($0.at - again) / 1000 }, [0, 1000, 2000, 3000])
      destroy([node], network)
    }
  }

  /// A path of 1.4 s: the reference asks twice each time and calls the node slow; we learn.
  func testRPC_C3_slowPathsAreWaitedFor() throws {
    let network = VirtualNetwork(seed: 33, isLogging: true)
    network.latency = { _ in 700_000 }
    let node = makeNode(network, bootstrap: [])
    try node.bind()
    let peer = try RawPeer(network)
    peer.answerAll()
    var retries: [UInt64] = []
    for _ in 0..<6 {
      let before = node.statistics.retries
      var isAnswered = false
      node.ping(peer.endpoint) { if case .success = $0 { isAnswered = true } }
      network.advance(by: 5000)
      XCTAssertTrue(isAnswered)
      retries.append(node.statistics.retries - before)
    }
    XCTAssertEqual(retries, [1, 0, 0, 0, 0, 0])
    destroy([node], network)
  }

  /// Nodes that answer after 600 ms stay in the table and in the results, next to fast ones and to dead ones.
  func testRPC_C3_slowNodesAreNotDropped() throws {
    let seed: UInt64 = 600
    let network = VirtualNetwork(seed: seed, isLogging: true)
    let peers = try (0..<40).map { _ in try RawPeer(network) }
    for peer in peers { peer.answerAll() }
    let slow = Set(peers[..<20].map(\.endpoint.host))
    network.latency = { packet in
      slow.contains(packet.source.host) || slow.contains(packet.destination.host) ? 300_000 : 10_000
    }
    let dead = (1...10).map { Endpoint(host: IPv4Address(9, UInt8($0), 9, 9), port: 9) }
    let node = makeNode(network, bootstrap: [])
    node.start()
    network.run(within: 1000) { node.isBootstrapped }
    for endpoint in peers.map(\.endpoint) + dead { node.addNode(endpoint) }
    var random = SeededRandom(seed: seed)
    for _ in 0..<20 {
      let target = try XCTUnwrap(Bytes32(random.bytes(32)))
      let nearest = node.closestNodes(to: target).map(\.endpoint).filter { !dead.contains($0) }
      let query = node.findNode(target: target)
      var isFinished = false
      query.onFinished = { _ in isFinished = true }
      query.start()
      XCTAssertTrue(network.run(within: 10_000) { isFinished })
      let found = Set(query.closestNodes)
      XCTAssertTrue(nearest.allSatisfy { found.contains($0) }, "seed \(seed)")
    }
    network.advance(by: 600_000)
    let left = Set(node.recentNodes())
    XCTAssertEqual(peers.filter { left.contains($0.endpoint) }.count, node.nodeCount, "only dead ones have gone")
    XCTAssertGreaterThan(left.filter { slow.contains($0.host) }.count, 10)
    destroy([node], network)
  }

  /// The same network, the same dead nodes, the same look-ups, with and without.
  func testRPC_C3_C6_lookUpsThroughDeadNodesEndSooner() throws {
    for (size, seed) in [(14, 61), (80, 62), (80, 63)] as [(Int, UInt64)] {
      var durations: [Bool: UInt64] = [:]
      var found: [Bool: Int] = [:]
      for isAdaptive in [false, true] {
        let network = VirtualNetwork(seed: seed, isLogging: true)
        network.isLogging = false
        let nodes = try makeSwarm(network, size: size) { $0.adaptiveTimeout = isAdaptive }
        let client = makeNode(network, bootstrap: [try endpoint(of: nodes[0])]) { $0.adaptiveTimeout = isAdaptive }
        client.start()
        network.run(within: 10_000) { client.isBootstrapped }
        // Two out of five are out of the client's reach from now on, not the bootstrap node; the others go on naming
        // them. Every path has its own delay, 10 to 60 ms.
        let own = try XCTUnwrap(client.environment as? VirtualHost).address
        let alive = nodes.enumerated().filter { $0.offset == 0 || $0.offset % 5 > 1 }.map(\.element)
        let dead = Set(
          nodes.enumerated().filter { $0.offset > 0 && $0.offset % 5 < 2 }.compactMap {
            ($0.element.environment as? VirtualHost)?.address
          })
        network.shouldDrop = { packet in
          packet.source.host == own && dead.contains(packet.destination.host)
            || packet.destination.host == own && dead.contains(packet.source.host)
        }
        network.latency = { packet in
          10_000 + UInt64((packet.source.host.value ^ packet.destination.host.value) % 6) * 10_000
        }
        var random = SeededRandom(seed: seed)
        for _ in 0..<8 {
          let target = try XCTUnwrap(Bytes32(random.bytes(32)))
          let query = client.findNode(target: target)
          var isFinished = false
          query.onFinished = { _ in isFinished = true }
          let start = network.now
          query.start()
          XCTAssertTrue(network.run(within: 30_000) { isFinished })
          durations[isAdaptive, default: 0] += (network.now - start) / 1000
          network.advance(by: 10_000)
          let nearest = alive.compactMap(\.id).sorted { $0.distance(to: target) < $1.distance(to: target) }.prefix(20)
          let ids = Set(query.closestReplies.compactMap(\.from.id))
          found[isAdaptive, default: 0] += nearest.filter { ids.contains($0) }.count
        }
        destroy(nodes + [client], network)
      }
      let fixed = try XCTUnwrap(durations[false])
      let adaptive = try XCTUnwrap(durations[true])
      print(
        "seed \(seed), \(size) nodes: 8 look-ups took \(fixed) ms with fixed, \(adaptive) ms with adaptive timeouts")
      print("  nearest nodes found: \(found[false] ?? 0) and \(found[true] ?? 0)")
      XCTAssertLessThan(adaptive * 4, fixed * 3, "seed \(seed)")
      // Which of the nearest nodes are named at all differs a little from run to run.
      XCTAssertGreaterThanOrEqual((found[true] ?? 0) * 100, (found[false] ?? 0) * 97, "seed \(seed)")
    }
  }
}
