import HyperCrypto
import HyperEncoding
import XCTest

@testable import HyperswarmEngine

/// Items 49 and 50 of hyperswarm.md 14, and the protection of hyperswarm.md 7.4.
final class DuplicateTests: XCTestCase {
  private enum Old: CaseIterable { case dialling, dialled, accepted }

  /// Two key seeds, the smaller public key first.
  private static let ordered: (UInt8, UInt8) = {
    let a = KeyPair(seed: Bytes32(repeating: 1)).publicKey
    let b = KeyPair(seed: Bytes32(repeating: 2)).publicKey
    return a < b ? (1, 2) : (2, 1)
  }()

  /// An incoming stream of `remote` as its dialler would make it, without the dialler's policy.
  private func arrive(at swarm: TestSwarm, from remote: TestSwarm, isAuthenticated: Bool = true) -> FakeStream {
    let mine = FakeStream(swarm.node, isInitiator: false, publicKey: swarm.key, remotePublicKey: remote.key)
    let theirs = FakeStream(remote.node, isInitiator: true, publicKey: remote.key, remotePublicKey: swarm.key)
    mine.other = theirs
    theirs.other = mine
    theirs.isAuthenticated = true
    mine.isAuthenticated = isAuthenticated
    swarm.world.pairs.append((theirs, mine))
    swarm.core.incoming(mine)
    return mine
  }

  func testSW_49_tableInAllCells() throws {
    var cells = 0
    for localIsSmaller in [true, false] {
      for kind in Old.allCases {
        for traffic in [(0, 0), (100, 0), (0, 56), (100, 56)] as [(UInt64, UInt64)] {
          let world = FakeWorld()
          let seeds = Self.ordered
          let local = TestSwarm(world, keySeed: localIsSmaller ? seeds.0 : seeds.1)
          let remote = TestSwarm(world, keySeed: localIsSmaller ? seeds.1 : seeds.0)
          XCTAssertEqual(local.key < remote.key, localIsSmaller)
          let old: FakeStream
          switch kind {
          case .accepted:
            old = arrive(at: local, from: remote)
          case .dialled:
            remote.core.listen()
            world.advance(by: 10)
            local.core.joinPeer(remote.key)
            world.advance(by: 30)
            old = try XCTUnwrap(local.core.connections.first)
            XCTAssertTrue(old.isInitiator)
          case .dialling:
            world.failures[remote.key] = SwarmStreamFailure(code: "PEER_NOT_FOUND", description: "")
            world.dialFailureDelay = 100_000
            local.core.joinPeer(remote.key)
            old = try XCTUnwrap(local.node.streams.first)
            local.core.leavePeer(remote.key)
          }
          local.connections = []
          old.rawBytesRead = traffic.0
          old.rawBytesWritten = traffic.1
          let probes = old.probes
          let new = arrive(at: local, from: remote)
          world.advance(by: 20)
          let text = "local smaller \(localIsSmaller), \(kind), traffic \(traffic)"
          if localIsSmaller || traffic.0 > 0 && traffic.1 > 0 {
            XCTAssertEqual(old.abortReason, .duplicateConnection, text)
            XCTAssertNil(new.abortReason, text)
            XCTAssertTrue(old.isClosed, text)
            XCTAssertEqual(local.connections.map { ObjectIdentifier($0.stream) }, [ObjectIdentifier(new)], text)
            XCTAssertEqual(local.core.connections.count, 1, text)
            XCTAssertTrue(local.core.connections.first === new, text)
            XCTAssertEqual(local.core.statistics.replacedConnections, 1, text)
          } else {
            XCTAssertNil(old.abortReason, text)
            XCTAssertEqual(new.abortReason, .duplicateConnection, text)
            XCTAssertEqual(old.probes, probes + 1, "\(text): the old one is probed")
            XCTAssertEqual(local.connections.count, 0, "\(text): no event")
            XCTAssertEqual(local.core.statistics.refusedDuplicates, 1, text)
          }
          XCTAssertEqual(local.core.links.count, 1, text)
          cells += 1
        }
      }
    }
    print("duplicate rule: \(cells) cells")
    XCTAssertEqual(cells, 24)
  }

  /// `new` closes while it waits for the old one.
  func testSW_49_newcomerThatClosesMeanwhileIsForgotten() {
    let world = FakeWorld()
    let local = TestSwarm(world, keySeed: Self.ordered.0)
    let remote = TestSwarm(world, keySeed: Self.ordered.1)
    let old = arrive(at: local, from: remote)
    let new = arrive(at: local, from: remote)
    XCTAssertEqual(old.abortReason, .duplicateConnection)
    new.fail(SwarmStreamFailure(code: "ECONNRESET", description: ""))
    world.advance(by: 100)
    XCTAssertEqual(local.connections.count, 1)
    XCTAssertEqual(local.core.links.count, 0)
    XCTAssertEqual(local.core.pendingIncoming.count, 0)
  }

  func testSW_50_simultaneousDial() throws {
    for (first, second) in [(Self.ordered.0, Self.ordered.1), (Self.ordered.1, Self.ordered.0)] {
      for offset in 0...12 as ClosedRange<UInt64> {
        let world = FakeWorld()
        let a = TestSwarm(world, keySeed: first)
        let b = TestSwarm(world, keySeed: second)
        a.core.listen()
        b.core.listen()
        world.advance(by: 10)
        a.core.joinPeer(b.key)
        world.advance(by: offset)
        b.core.joinPeer(a.key)
        world.advance(by: 2_000)
        let text = "offset \(offset)"
        XCTAssertEqual(a.core.connections.count, 1, text)
        XCTAssertEqual(b.core.connections.count, 1, text)
        let onA = try XCTUnwrap(a.core.connections.first)
        let onB = try XCTUnwrap(b.core.connections.first)
        XCTAssertTrue(onA.other === onB, "\(text): both ends keep the same connection")
        let isCrossing = a.node.dials.count > 0 && b.node.dials.count > 0
        if isCrossing { XCTAssertEqual(onA.isInitiator, b.key < a.key, "\(text): dialled by the larger key") }
        // hyperswarm.md 15, row 10: no application sees a connection that is torn down at once.
        XCTAssertEqual(a.connections.count, 1, text)
        XCTAssertEqual(b.connections.count, 1, text)
      }
    }
  }

  func testSW_50_heldDialIsReportedWhenNothingReplacesIt() throws {
    let world = FakeWorld()
    let local = TestSwarm(world, keySeed: Self.ordered.0)
    let remote = TestSwarm(world, keySeed: Self.ordered.1)
    remote.core.listen()
    world.advance(by: 10)
    local.core.joinPeer(remote.key)
    // The remote's handshake passes our firewall, but its connection never comes.
    local.core.screenIncoming(SwarmFirewallRequest(publicKey: remote.key)) { XCTAssertTrue($0) }
    remote.onConnection = { stream, _ in stream.write([1, 2, 3]) }
    world.advance(by: 100)
    XCTAssertEqual(local.connections.count, 0)
    world.advance(by: Limits.crossingGrace)
    XCTAssertEqual(local.connections.count, 1)
    XCTAssertEqual(local.connections[0].stream.received, [[1, 2, 3]], "what arrived meanwhile is not lost")
  }

  // MARK: Replays

  private func established(_ world: FakeWorld) -> (local: TestSwarm, remote: TestSwarm, old: FakeStream) {
    let local = TestSwarm(world)
    let remote = TestSwarm(world)
    let old = arrive(at: local, from: remote)
    old.write([1])
    old.other?.write([2])
    world.advance(by: 20)
    XCTAssertGreaterThan(old.rawBytesRead, 0)
    return (local, remote, old)
  }

  // MARK: Two dials of the peer

  /// The node with the larger key, and a connection of the other one that has carried nothing yet.
  private func larger(_ world: FakeWorld) -> (local: TestSwarm, remote: TestSwarm, old: FakeStream) {
    let seeds = Self.ordered
    let local = TestSwarm(world, keySeed: seeds.1)
    let remote = TestSwarm(world, keySeed: seeds.0)
    let old = arrive(at: local, from: remote)
    world.advance(by: 10)
    return (local, remote, old)
  }

  /// Whatever the keys: the peer has dialled both, so the one that it does not answer on is the one that it gave up.
  func testSW_49_aSecondDialTakesThePlaceOfAPathThatWorksOneWayOnly() {
    let world = FakeWorld()
    let (local, remote, old) = larger(world)
    old.isCut = true
    let new = arrive(at: local, from: remote)
    world.advance(by: Limits.probeDeadline - 100)
    XCTAssertNil(new.abortReason)
    XCTAssertNil(old.abortReason)
    XCTAssertEqual(local.connections.count, 1, "held until it is decided")
    world.advance(by: 200)
    XCTAssertEqual(old.abortReason, .duplicateConnection)
    XCTAssertTrue(local.core.connections.first === new)
    XCTAssertEqual(local.connections.count, 2)
  }

  /// The peer gives its first dial up a moment after the second one has arrived: one of the two stays.
  func testSW_49_thePeerGivesItsFirstDialUp() {
    let world = FakeWorld()
    let (local, remote, old) = larger(world)
    old.isCut = true
    let new = arrive(at: local, from: remote)
    world.advance(by: 100)
    old.fail(SwarmStreamFailure(code: "ECONNRESET", description: ""))
    world.advance(by: 100)
    XCTAssertNil(new.abortReason)
    XCTAssertTrue(local.core.connections.first === new)
    XCTAssertEqual(local.core.pendingIncoming.count, 0)
  }

  /// Its first message proves the newcomer and nothing about the old one, which the rule keeps when it answers.
  func testSW_49_aConnectionThatAnswersStays() {
    let world = FakeWorld()
    world.latency = 300
    let (local, remote, old) = larger(world)
    let new = arrive(at: local, from: remote, isAuthenticated: false)
    new.other?.write([7])
    world.advance(by: 310)
    XCTAssertTrue(new.isAuthenticated)
    XCTAssertNil(old.abortReason)
    XCTAssertNil(new.abortReason)
    world.advance(by: 400)
    XCTAssertNil(old.abortReason)
    XCTAssertEqual(new.abortReason, .duplicateConnection)
    XCTAssertEqual(local.core.statistics.refusedDuplicates, 1)
    XCTAssertEqual(local.core.pendingIncoming.count, 0)
  }

  /// One that was held for a doubt about a connection is judged anew beside the next one.
  func testSW_49_aDoubtEndsWithTheConnectionThatItWasAbout() {
    let world = FakeWorld()
    let (local, remote, old) = larger(world)
    old.isCut = true
    local.onConnection = { stream, _ in stream.write([1]) }
    let first = arrive(at: local, from: remote, isAuthenticated: false)
    let second = arrive(at: local, from: remote, isAuthenticated: false)
    first.other?.write([2])
    world.advance(by: 10)
    old.fail(SwarmStreamFailure(code: "ECONNRESET", description: ""))
    world.advance(by: 100)
    XCTAssertTrue(local.core.connections.first === first)
    XCTAssertNil(second.abortReason, "the first one has carried messages both ways: the rule is for the second one")
    second.other?.write([7])
    world.advance(by: 100)
    XCTAssertEqual(first.abortReason, .duplicateConnection)
    XCTAssertTrue(local.core.connections.first === second)
    XCTAssertEqual(second.received, [[7]])
  }

  func testSW_15_11_replayDoesNotCutALivingConnection() {
    let world = FakeWorld()
    let (local, remote, old) = established(world)
    let replay = arrive(at: local, from: remote, isAuthenticated: false)
    XCTAssertNil(old.abortReason)
    XCTAssertEqual(old.probes, 1)
    world.advance(by: Limits.challengerDeadline + 100)
    XCTAssertNil(old.abortReason)
    XCTAssertEqual(replay.abortReason, .duplicateConnection)
    XCTAssertEqual(local.connections.count, 1)
    XCTAssertEqual(local.core.pendingIncoming.count, 0)
  }

  func testSW_15_11_realRedialWinsWithItsFirstMessage() {
    let world = FakeWorld()
    let (local, remote, old) = established(world)
    let new = arrive(at: local, from: remote, isAuthenticated: false)
    world.advance(by: 5_000)
    XCTAssertEqual(local.connections.count, 1)
    new.other?.write([7])
    world.advance(by: 100)
    XCTAssertEqual(old.abortReason, .duplicateConnection)
    XCTAssertEqual(local.connections.count, 2)
    XCTAssertTrue(local.connections[1].stream === new)
    XCTAssertEqual(new.received, [[7]], "the message that proved it is delivered")
  }

  func testSW_15_11_silentOldConnectionGivesWay() {
    let world = FakeWorld()
    let (local, remote, old) = established(world)
    old.isCut = true
    old.other?.isCut = true
    let new = arrive(at: local, from: remote, isAuthenticated: false)
    world.advance(by: Limits.probeDeadline - 100)
    XCTAssertNil(old.abortReason)
    world.advance(by: 200)
    XCTAssertEqual(old.abortReason, .duplicateConnection)
    XCTAssertTrue(local.core.connections.first === new)
  }

  func testSW_15_11_oldConnectionClosesFirst() {
    let world = FakeWorld()
    let (local, remote, old) = established(world)
    let new = arrive(at: local, from: remote, isAuthenticated: false)
    old.fail(SwarmStreamFailure(code: "ECONNRESET", description: ""))
    world.advance(by: 10)
    XCTAssertTrue(local.core.connections.first === new)
  }

  func testSW_15_11_replaysAreBounded() {
    let world = FakeWorld()
    let (local, remote, old) = established(world)
    let replays = (0..<50).map { _ in arrive(at: local, from: remote, isAuthenticated: false) }
    XCTAssertEqual(replays.count { $0.abortReason == nil }, Limits.maxChallengers)
    world.advance(by: Limits.challengerDeadline + 100)
    XCTAssertNil(old.abortReason)
    XCTAssertEqual(local.core.pendingIncoming.count, 0)
    XCTAssertTrue(local.core.connections.first === old)
  }
}
