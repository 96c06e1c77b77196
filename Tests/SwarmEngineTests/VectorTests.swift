import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperswarmEngine

/// All of hyperswarm.json, by group.
final class VectorTests: XCTestCase {
  private static let groups = [
    "duplicate-connection", "simultaneous-dial", "priority", "peer-info", "retry-timer", "retry-delay", "bulk-timer",
    "queue", "max-peers", "explicit-peer", "discovered-peer", "force-relay",
  ]

  private func cases(_ group: String) throws -> [[String: Any]] {
    let cases = try Vectors.cases("hyperswarm").filter { $0["group"] as? String == group }
    XCTAssertFalse(cases.isEmpty, "no cases of \(group)")
    print("hyperswarm.json \(group): \(cases.count) cases")
    return cases
  }

  func testVectors_everyGroupHasATest() throws {
    let all = try Vectors.cases("hyperswarm")
    XCTAssertEqual(Set(all.compactMap { $0["group"] as? String }), Set(Self.groups))
    print("hyperswarm.json: \(all.count) cases in \(Self.groups.count) groups")
  }

  func testVectors_constants() throws {
    let constants = try XCTUnwrap(Vectors.root("hyperswarm")["constants"] as? [String: Any])
    XCTAssertEqual(constants["maxPeers"] as? Int, Limits.maxPeers)
    XCTAssertEqual(constants["maxParallel"] as? Int, Limits.maxParallel)
    XCTAssertEqual(constants["minConnectionTimeMs"] as? Int, Int(Limits.stableConnection))
    XCTAssertEqual(constants["sleepGraceMs"] as? Int, Int(Limits.sleepGrace))
    let refresh = Int(Limits.refreshInterval)
    XCTAssertEqual(constants["refreshIntervalMs"] as? [Int], [refresh, refresh + Int(Limits.refreshSpread)])
    XCTAssertEqual(constants["refreshAfterSleepMs"] as? [Int], [0, Int(Limits.refreshSpread)])
    XCTAssertEqual(
      constants["priorities"] as? [String: Int],
      ["VERY_LOW": 0, "LOW": 1, "NORMAL": 2, "HIGH": 3, "VERY_HIGH": 4])
    XCTAssertEqual(PeerInfo.Priority.allCases.map(\.rawValue), [0, 1, 2, 3, 4])
  }

  func testVectors_duplicateConnection() throws {
    for item in try cases("duplicate-connection") {
      let local = try XCTUnwrap(Bytes32(hex: item["localPublicKey"] as? String ?? ""))
      let remote = try XCTUnwrap(Bytes32(hex: item["remotePublicKey"] as? String ?? ""))
      XCTAssertEqual(item["localIsGreater"] as? Bool, remote < local)
      let old = try XCTUnwrap(item["existing"] as? [String: Any])
      let decision = DuplicateRule.decide(
        localKey: local, remoteKey: remote, oldBytesRead: UInt64(old["rawBytesRead"] as? Int ?? -1),
        oldBytesWritten: UInt64(old["rawBytesWritten"] as? Int ?? -1))
      let keep = item["keep"] as? String
      XCTAssertEqual(decision == .keepNew ? "incoming" : "existing", keep, "\(item["id"] ?? "")")
      // What the engine does with the decision is tested by testSW_49.
      XCTAssertEqual(item["keepAliveSentOnExisting"] as? Bool, keep == "existing")
      XCTAssertEqual(item["acceptedAfterExistingClosed"] as? Bool, keep == "incoming")
      XCTAssertEqual(item["destroyReason"] as? String, SwarmAbortReason.duplicateConnection.description)
    }
  }

  func testVectors_simultaneousDial() throws {
    for item in try cases("simultaneous-dial") {
      let a = try XCTUnwrap(Bytes32(hex: item["a"] as? String ?? ""))
      let b = try XCTUnwrap(Bytes32(hex: item["b"] as? String ?? ""))
      // On a the incoming one is b's dial, and the other way round.
      let onA = DuplicateRule.decide(localKey: a, remoteKey: b, oldBytesRead: 0, oldBytesWritten: 0)
      let onB = DuplicateRule.decide(localKey: b, remoteKey: a, oldBytesRead: 0, oldBytesWritten: 0)
      XCTAssertNotEqual(onA, onB)
      XCTAssertEqual(item["kept"] as? String, "the connection \(onA == .keepOld ? "a" : "b") dialled")
    }
  }

  private func peer(_ fields: [String: Any]) -> PeerInfo {
    let peer = PeerInfo(publicKey: Bytes32(repeating: 7))
    peer.attempts = fields["attempts"] as? Int ?? 0
    peer.isProven = fields["proven"] as? Bool ?? false
    peer.isTried = fields["tried"] as? Bool ?? false
    peer.isExplicit = fields["explicit"] as? Bool ?? false
    peer.isQueued = fields["queued"] as? Bool ?? false
    peer.isClient = fields["client"] as? Bool ?? false
    if let raw = fields["priority"] as? Int, let priority = PeerInfo.Priority(rawValue: raw) {
      peer.priority = priority
    }
    peer.ban(fields["banned"] as? Bool ?? false)
    peer.reconnect(fields["reconnecting"] as? Bool ?? true)
    return peer
  }

  func testVectors_priority() throws {
    for item in try cases("priority") {
      let peer = peer(try XCTUnwrap(item["before"] as? [String: Any]))
      let after = try XCTUnwrap(item["after"] as? [String: Any])
      XCTAssertEqual(peer.updatePriority(), item["mayQueue"] as? Bool, "\(item["id"] ?? "")")
      XCTAssertEqual(peer.attempts, after["attempts"] as? Int, "\(item["id"] ?? "")")
      if let priority = after["priority"] as? Int { XCTAssertEqual(peer.priority.rawValue, priority) }
    }
  }

  func testVectors_peerInfo() throws {
    for item in try cases("peer-info") {
      let peer = PeerInfo(publicKey: Bytes32(repeating: 7))
      for step in try XCTUnwrap(item["steps"] as? [[String: Any]]) {
        let now = UInt64(step["atMs"] as? Int ?? 0)
        let operation = try XCTUnwrap(step["op"] as? String)
        switch operation {
        case "connected": peer.dialOpened(at: now)
        case "disconnected": peer.dialClosed(at: now)
        case "reset": peer.reset()
        case "reconnect-on": peer.reconnect(true)
        case "reconnect-off": peer.reconnect(false)
        case "ban-on", "ban": peer.ban(true)
        case "ban-off", "unban": peer.ban(false)
        case "updatePriority": XCTAssertEqual(peer.updatePriority(), step["result"] as? Bool)
        default: XCTFail("unknown operation \(operation)")
        }
        let text = "\(item["id"] ?? "") at \(now) \(operation)"
        XCTAssertEqual(peer.attempts, step["attempts"] as? Int, text)
        XCTAssertEqual(peer.isProven, step["proven"] as? Bool, text)
        XCTAssertEqual(peer.priority.rawValue, step["priority"] as? Int, text)
        XCTAssertEqual(peer.isBanned, step["banned"] as? Bool, text)
        XCTAssertEqual(peer.isReconnecting, step["reconnecting"] as? Bool, text)
        XCTAssertEqual(peer.isExplicit, step["explicit"] as? Bool, text)
      }
    }
  }

  func testVectors_retryTimer() throws {
    for item in try cases("retry-timer") {
      let timer = RetryTimer.choose(for: peer(item))
      let expected = item["timer"] as? String
      XCTAssertEqual(timer.map { "\($0)".uppercased() }, expected, "\(item["id"] ?? "")")
    }
  }

  func testVectors_retryDelay() throws {
    for item in try cases("retry-delay") {
      let name = try XCTUnwrap(item["timer"] as? String)
      let timer = try XCTUnwrap(RetryTimer.allCases.first { "\($0)".uppercased() == name })
      let base = try XCTUnwrap(item["baseMs"] as? [Int])
      let limits = Limits.backoffs[timer.rawValue]
      XCTAssertEqual(base, [Int(limits.base), Int(limits.base) + Int(limits.spread)])
      XCTAssertEqual(item["perInstanceJitterMs"] as? [Int], [0, Int(Limits.jitter)])
      let ticks = try XCTUnwrap(item["tickMs"] as? [Int])
      let delays = try XCTUnwrap(item["delayMs"] as? [Int])
      for (index, time) in try XCTUnwrap(item["timeMs"] as? [Int]).enumerated() {
        let network = VirtualNetwork(seed: 1)
        let environment = network.makeHost()
        let timers = RetryTimers(environment: environment, times: Array(repeating: UInt64(time), count: 4))
        XCTAssertEqual(timers.periods[timer.rawValue], UInt64(ticks[index]))
        // The first use starts the ticks; add at every phase of a period and look at the delay.
        timers.add(PeerInfo(publicKey: Bytes32(repeating: 1)), to: timer)
        let period = timers.periods[timer.rawValue]
        for phase in [0, 1, period / 3, period - 1] {
          network.advance(by: phase + period - (environment.nowMilliseconds - 1_000) % period)
          let delay = timers.add(PeerInfo(publicKey: Bytes32(repeating: 2)), to: timer)
          XCTAssertGreaterThan(delay, UInt64(ticks[index]))
          XCTAssertLessThanOrEqual(delay, UInt64(2 * ticks[index]))
          XCTAssertGreaterThanOrEqual(delay, UInt64(delays[0]))
          XCTAssertLessThanOrEqual(delay, UInt64(delays[1]))
        }
      }
    }
  }

  func testVectors_bulkTimer() throws {
    for item in try cases("bulk-timer") {
      let network = VirtualNetwork(seed: 1)
      let timers = RetryTimers(environment: network.makeHost(), times: [500, 500, 500, 500])
      let period = timers.periods[0]
      var fired: [Int] = []
      timers.onBatch = { batch in fired += batch.map { Int($0.publicKey.bytes[0]) } }
      for operation in try XCTUnwrap(item["ops"] as? [[String: Any]]) {
        if operation["op"] as? String == "add" {
          let number = UInt8(operation["item"] as? Int ?? 0)
          timers.add(PeerInfo(publicKey: Bytes32(repeating: number)), to: .s)
        } else {
          network.advance(by: period)
          XCTAssertEqual(fired, operation["fires"] as? [Int], "\(item["id"] ?? "")")
          fired = []
        }
      }
    }
  }

  func testVectors_queue() throws {
    for item in try cases("queue") {
      var random = SeededRandom(seed: 3)
      var queue = ShuffledPriorityQueue<Int, Int>()
      for (key, priority) in try XCTUnwrap(item["priorities"] as? [Int]).enumerated() {
        queue.add(priority, key: key, priority: priority) { UInt32(random.next() % UInt64($0)) }
      }
      var shifted: [Int] = []
      while let priority = queue.popFirst() { shifted.append(priority) }
      XCTAssertEqual(shifted, item["shiftedPriorities"] as? [Int], "\(item["id"] ?? "")")
    }
  }

  func testVectors_maxPeers() throws {
    for item in try cases("max-peers") {
      XCTAssertEqual(
        PeerShare.isWithin(
          maxPeers: item["maxPeers"] as? Int ?? -1, explicitPeers: item["explicitPeers"] as? Int ?? -1,
          peerCount: item["connections"] as? Int ?? -1), item["mayConnect"] as? Bool, "\(item["id"] ?? "")")
    }
  }

  func testVectors_explicitPeer() throws {
    for item in try cases("explicit-peer") {
      let peer = peer(item)
      peer.disconnectedTime = 1_000_000
      let now = 1_000_000 + UInt64(item["msSinceDisconnect"] as? Int ?? 0)
      XCTAssertEqual(peer.mayDialExplicitly(at: now), item["connects"] as? Bool, "\(item["id"] ?? "")")
    }
  }

  func testVectors_discoveredPeer() throws {
    for item in try cases("discovered-peer") {
      let peer = peer(item["known"] as? [String: Any] ?? [:])
      XCTAssertEqual(peer.sighted(), item["enqueued"] as? Bool)
      let after = try XCTUnwrap(item["after"] as? [String: Any])
      XCTAssertEqual(peer.attempts, after["attempts"] as? Int, "\(item["id"] ?? "")")
      XCTAssertEqual(peer.isProven, after["proven"] as? Bool, "\(item["id"] ?? "")")
      XCTAssertEqual(peer.priority.rawValue, after["priority"] as? Int, "\(item["id"] ?? "")")
      XCTAssertEqual(peer.isClient, after["client"] as? Bool, "\(item["id"] ?? "")")
    }
  }

  func testVectors_forceRelay() throws {
    for item in try cases("force-relay") {
      let code = try XCTUnwrap(item["errorCode"] as? String)
      XCTAssertEqual(
        RelayFallback.deployedCodes.contains(code), item["nextAttemptRelayed"] as? Bool, "\(item["id"] ?? "")")
    }
    // The one that releases after the recorded one added.
    XCTAssertEqual(RelayFallback.codes.subtracting(RelayFallback.deployedCodes), ["CANNOT_HOLEPUNCH"])
  }
}
