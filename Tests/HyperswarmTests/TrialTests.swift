import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import hyperswarm_trials

/// Some minutes of the trials (`swift run -c release hyperswarm-trials`), and that their oracles see what they are for.
final class TrialTests: XCTestCase {
  func testSwarmsInABadWorld() throws {
    for seed in 1...4 as ClosedRange<UInt64> {
      let trial = try Trial(seed: seed, size: 8)
      let outcome = trial.run(for: .seconds(600))
      print(
        "seed \(seed): \(outcome.phases) phases, \(outcome.counts.values.reduce(0, +)) disturbances, "
          + "\(outcome.reports) connections, digest \(String(outcome.digest, radix: 16)); again: "
          + "swift run -c release hyperswarm-trials --seed \(seed) --runs 1 --minutes 10 --swarms 8")
      XCTAssertEqual(outcome.violations, [], "seed \(seed)")
      XCTAssertGreaterThan(outcome.reports, 56, "seed \(seed)")
    }
  }

  // MARK: The oracles

  private func violations(of sabotage: (Trial) throws -> Void) throws -> [String] {
    let trial = try Trial(seed: 99, size: 3)
    try sabotage(trial)
    return trial.run(for: .seconds(1)).violations
  }

  private func assertFound(
    _ text: String, file: StaticString = #filePath, line: UInt = #line, _ sabotage: (Trial) throws -> Void
  ) throws {
    let found = try violations(of: sabotage)
    XCTAssertTrue(found.contains { $0.contains(text) }, "\(found)", file: file, line: line)
  }

  func testNothingIsFoundWithoutAFault() throws { XCTAssertEqual(try violations { _ in }, []) }

  func testAMissingPairIsFound() throws {
    try assertFound("pairs are not connected") { $0.members[1].cutOff(true) }
  }

  /// An end whose swarm is gone while the other side is told that it is there.
  func testALoneEndIsFound() throws {
    try assertFound("without its other end") { trial in
      trial.network.advance(by: .seconds(20))
      // Keeps the end of the first alive: nothing is sent, so nothing is missed.
      for end in trial.members[0].ends { end.connection.stream.keepAlive = 0 }
      trial.members[1].cutOff(true)
    }
  }

  func testLostMessagesAreFound() throws {
    try assertFound("messages have arrived") { trial in
      trial.network.advance(by: .seconds(20))
      for end in trial.members[0].ends { end.connection.pause() }
    }
  }

  func testLeftSocketsAreFound() throws {
    var kept: [any DatagramSocket] = []
    try assertFound("1 sockets are left") { trial in
      let socket = trial.members[2].host.makeSocket()
      try socket.bind(host: .any, port: 0)
      kept.append(socket)
    }
  }

  func testAnEndlessTurnIsFound() throws {
    try assertFound("hang") { trial in
      var left = Bounds.eventsAtOnce + 10
      func again() {
        left -= 1
        if left > 0 { trial.members[0].host.defer(again) }
      }
      again()
    }
  }

  func testCallsSettleOnceAndInTime() throws {
    let network = VirtualNetwork(seed: 1)
    let settlements = Settlements(network: network)
    var found: [String] = []
    settlements.onViolation = { found.append($0) }
    let first = settlements.expect("first", within: .seconds(5))
    let second = settlements.expect("second", within: .seconds(5))
    let third = settlements.expect("third", within: .seconds(5))
    first()
    network.advance(by: .seconds(4))
    settlements.check()
    XCTAssertEqual(found, [])
    second()
    second()
    XCTAssertEqual(found, ["second has settled again or too late"])
    network.advance(by: .seconds(2))
    settlements.check()
    settlements.check()
    XCTAssertEqual(found.last, "third has not settled")
    XCTAssertEqual(found.count, 2)
    third()
    XCTAssertEqual(found.count, 3)
    XCTAssertEqual(settlements.openNames, [])
  }
}
