import HyperEncoding
import HyperSecretStream
import HyperswarmTesting
import XCTest

/// The uplink of one of two swarms is away for a while: what goes on, what comes back and when.
final class OutageTests: XCTestCase {
  private final class Side {
    let swarm: VirtualSwarm
    var reports = 0
    var received = 0

    init(_ swarm: VirtualSwarm) {
      self.swarm = swarm
      swarm.onConnection = { [unowned self] connection in
        reports += 1
        connection.onMessage = { [unowned self] _ in received += 1 }
      }
    }

    var sessions: [Bytes64?] { swarm.connections.map(\.stream.handshakeHash) }
  }

  /// Two swarms behind NAT boxes, of which one loses its uplink for `seconds`.
  private func run(_ seconds: Int, secondSide: Bool, seed: UInt64) throws -> (stable: Duration, reports: Int) {
    let network = VirtualNetwork(seed: seed)
    let testnet = try VirtualTestnet(network: network)
    network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(5))
    let sides = try (1...2 as ClosedRange<UInt8>).map { number in
      let nat = network.makeNAT(mapping: .portPreserving, filter: .addressAndPortDependent)
      let side = Side(testnet.makeSwarm(on: network.makeHost(IPv4Address(10, 0, 0, number), behind: nat)))
      try side.swarm.join(VirtualSwarm.topic("two"))
      network.advance(by: .seconds(5))
      return side
    }
    func isWhole() -> Bool { sides[0].sessions.count == 1 && sides[0].sessions == sides[1].sessions }
    let what = "\(seconds) s, \(secondSide ? "second" : "first"), seed \(seed)"
    XCTAssertTrue(network.run(within: .seconds(30), until: isWhole), what)
    // Settled, at a moment of its own in the keep-alive.
    network.advance(by: .milliseconds(20_000 + Int.random(in: 0...5_000, using: &network.random)))
    let before = sides[0].sessions

    let host = sides[secondSide ? 1 : 0].swarm.host
    host.isDown = true
    network.advance(by: .seconds(seconds))
    let ended = sides.map(\.reports)
    host.isDown = false
    let start = network.elapsed
    // Whole at the end of the time, and since when: what breaks again counts from its repair.
    var since: Duration?
    let end = start + .seconds(30)
    while network.elapsed < end {
      network.advance(by: .milliseconds(20))
      if !isWhole() { since = nil } else if since == nil { since = network.elapsed }
    }
    if seconds <= 5 { XCTAssertEqual(sides[0].sessions, before, "\(what): the connection goes on") }
    let reports = zip(sides.map(\.reports), ended).map { $0 - $1 }.max() ?? 0
    for side in sides {
      for connection in side.swarm.connections { connection.write([1]) }
    }
    XCTAssertTrue(network.run(within: .seconds(1)) { sides.allSatisfy { $0.received == 1 } }, "\(what): no phantom")
    for side in sides { side.swarm.destroy() }
    testnet.destroy()
    network.advance(by: .seconds(30))
    return (since.map { $0 - start } ?? .seconds(30), reports)
  }

  private func assertReturn(
    after seconds: Int, seeds: ClosedRange<UInt64>, file: StaticString = #filePath, line: UInt = #line
  ) throws {
    for secondSide in [false, true] {
      let results = try seeds.map { try run(seconds, secondSide: secondSide, seed: $0) }
      let times = results.map(\.stable).sorted()
      let p95 = times[(times.count * 95 + 99) / 100 - 1]
      print(
        "outage of \(seconds) s, \(secondSide ? "second" : "first") side: p50 \(times[times.count / 2]), p95 \(p95)")
      XCTAssertLessThanOrEqual(p95, .seconds(3), "\(seconds) s: \(times)", file: file, line: line)
      XCTAssertLessThanOrEqual(results.map(\.reports).max() ?? 0, 1, "no flapping", file: file, line: line)
    }
  }

  func testFiveSeconds() throws { try assertReturn(after: 5, seeds: 1...20) }
  func testFifteenSeconds() throws { try assertReturn(after: 15, seeds: 101...120) }
  func testFortySeconds() throws { try assertReturn(after: 40, seeds: 201...220) }
  func testTwoMinutes() throws { try assertReturn(after: 120, seeds: 301...320) }

  /// The outage begins while the swarm enters the network: its first queries are under way and fail.
  func testAnOutageInTheMiddleOfTheStart() throws {
    var times: [Duration] = []
    for seed in 401...440 as ClosedRange<UInt64> {
      let network = VirtualNetwork(seed: seed)
      let testnet = try VirtualTestnet(network: network)
      network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(5))
      let swarms = (1...2 as ClosedRange<UInt8>).map { number in
        let nat = network.makeNAT(mapping: .portPreserving, filter: .addressAndPortDependent)
        return testnet.makeSwarm(on: network.makeHost(IPv4Address(10, 0, 0, number), behind: nat))
      }
      try swarms[0].join(VirtualSwarm.topic("two"))
      network.advance(by: .seconds(20))
      try swarms[1].join(VirtualSwarm.topic("two"))
      network.advance(by: .milliseconds(Int.random(in: 20...400, using: &network.random)))
      swarms[1].host.isDown = true
      network.advance(by: .milliseconds(Int.random(in: 10_000...60_000, using: &network.random)))
      swarms[1].host.isDown = false
      let start = network.elapsed
      _ = network.run(within: .seconds(60)) { swarms.allSatisfy { $0.connections.count == 1 } }
      times.append(network.elapsed - start)
      for swarm in swarms { swarm.destroy() }
      testnet.destroy()
      network.advance(by: .seconds(30))
    }
    times.sort()
    print("outage in the middle of the start: p50 \(times[20]), p95 \(times[37]), at most \(times[39])")
    XCTAssertLessThanOrEqual(times[37], .seconds(3), "\(times)")
    XCTAssertLessThanOrEqual(times[39], .seconds(10), "\(times)")
  }
}
