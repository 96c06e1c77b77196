import HyperEncoding
import XCTest

@testable import HyperDHTEngine

private struct Route: RaceRoute, Hashable {
  var number: UInt16
  var remote: Endpoint { Endpoint(host: IPv4Address(1, 2, 3, 4), port: number) }
}

private typealias Race = PathRace<Route>
private typealias Event = RaceEvent<Route>

/// What is outside of a race, told by its outputs alone: checks each of them against what came before.
private struct Surroundings: Hashable {
  var wasStarted: Set<RacePath> = []
  var active: Set<RacePath> = []
  var timers: Set<RaceTimer> = []
  /// What the stream runs over.
  var carrier: RacePath?
  var asked: RacePath?
  var isMoving = false
  var end: RaceEnd?

  /// No call is under way that waits for its answer.
  var isCalm: Bool { asked == nil && !isMoving }

  /// Whether this can happen now, by what the outputs have said.
  func isPossible(_ event: Event) -> Bool {
    if !isCalm {
      switch event {
      case .attached, .attachFailed: return asked != nil
      case .moved, .moveRefused: return isMoving
      default: return false
      }
    }
    switch event {
    case .attached, .attachFailed, .moved, .moveRefused: return false
    case .opened(let path, _), .failed(let path, _): return active.contains(path) && carrier != path
    case .unproven: return active.contains(.local)
    case .timer(let timer): return timers.contains(timer)
    case .relayLeft: return carrier == .relay
    default: return true
    }
  }

  mutating func note(_ event: Event) {
    switch event {
    case .failed(let path, _): active.remove(path)
    case .unproven: active.remove(.local)
    case .timer(let timer):
      timers.remove(timer)
      if timer == .passive { active.remove(.passive) }
    case .attached:
      carrier = asked
      asked = nil
    case .attachFailed: asked = nil
    case .moved:
      carrier = .direct
      isMoving = false
    case .moveRefused: isMoving = false
    default: break
    }
  }

  mutating func apply(_ outputs: [RaceOutput<Route>], _ what: String) {
    let ends = outputs.contains { if case .end = $0 { true } else { false } }
    for output in outputs {
      XCTAssertNil(end, "nothing follows the end: \(what)")
      switch output {
      case .start(let contestant):
        XCTAssertTrue(wasStarted.insert(contestant.path).inserted, "started once: \(what)")
        XCTAssertNil(carrier, "no start once a stream runs: \(what)")
        active.insert(contestant.path)
      case .startTimer(let timer, let milliseconds):
        XCTAssertTrue(timers.insert(timer).inserted, what)
        XCTAssertGreaterThan(milliseconds, 0, what)
      case .stopTimer(let timer): XCTAssertNotNil(timers.remove(timer), "stopped while it ran: \(what)")
      case .attach(_, let path):
        XCTAssertNil(carrier, "one winner: \(what)")
        XCTAssertNil(asked, what)
        asked = path
      case .move:
        XCTAssertEqual(carrier, .relay, "only a relayed stream moves: \(what)")
        isMoving = true
      case .release(let path, let release): self.release(path, release, ends, what)
      case .end(let end): self.end(end, what)
      }
    }
  }

  private mutating func release(_ path: RacePath, _ release: RaceRelease, _ ends: Bool, _ what: String) {
    XCTAssertNotNil(active.remove(path), "released while it was active: \(what)")
    if path == .relay {
      XCTAssertTrue(ends, "a relay is given up at the end only: \(what)")
      let isDirect = carrier?.isDirect ?? false
      switch release {
      case .standBy: XCTAssertTrue(isDirect, what)
      case .kept: XCTAssertTrue(carrier == .relay || isDirect, what)
      case .dropped: XCTAssertNil(carrier, what)
      }
    } else {
      XCTAssertEqual(release == .kept, carrier?.isDirect ?? false, "kept for the winner: \(what)")
      XCTAssertNotEqual(release, .standBy, what)
    }
  }

  private mutating func end(_ end: RaceEnd, _ what: String) {
    XCTAssertEqual(active, [], "every attempt has ended: \(what)")
    XCTAssertEqual(timers, [], "no timer is left: \(what)")
    switch end {
    case .won(let path): XCTAssertTrue(path.isDirect && carrier == path, what)
    case .moved: XCTAssertEqual(carrier, .direct, what)
    case .stayed, .lost: XCTAssertEqual(carrier, .relay, what)
    case .failed: XCTAssertNil(carrier, what)
    case .cancelled: XCTAssertFalse(carrier?.isDirect ?? false, what)
    }
    self.end = end
  }
}

/// Every state of a race that events can lead to, with every event in each of them.
final class PathRaceTests: XCTestCase {
  private struct Key: Hashable {
    var state: RaceState
    var pending: Set<RacePath>
    var timers: Set<RaceTimer>
    var early: Route?
    var lastResort: Route?
    var lastError: DHTError
    var surroundings: Surroundings

    init(_ race: Race, _ surroundings: Surroundings) {
      state = race.state
      pending = race.pending
      timers = race.timers
      early = race.early
      lastResort = race.lastResort
      lastError = race.lastError
      self.surroundings = surroundings
    }
  }

  private static let contests: [RaceRole: [[RacePath]]] = [
    .dialling: [
      [], [.passive], [.punch], [.local, .punch], [.relay, .punch], [.relay, .local, .punch],
    ],
    .accepting: [[.passive], [.punch], [.relay, .passive], [.relay, .punch]],
  ]

  private func error(_ path: RacePath) -> DHTError { .other("\(path)") }

  private func events(_ role: RaceRole) -> [(String, Event)] {
    var events: [(String, Event)] = [
      ("packet", .packet(Route(number: 1))), ("unproven", .unproven(Route(number: 2), error(.local))),
      ("directFailed", .directFailed(.other("direct"))), ("peerPunches", .peerPunches), ("attached", .attached),
      ("attachFailed", .attachFailed(.other("attach"))), ("moved", .moved), ("moveRefused", .moveRefused),
      ("relayLeft", .relayLeft), ("gaveUp", .gaveUp(.other("gave up"))), ("cancelled", .cancelled),
      ("handshaken direct", .handshaken(direct: Route(number: 3), contestants: [])),
    ]
    if role == .dialling { events.append(("started", .started(deadline: 500))) }
    for paths in Self.contests[role] ?? [] {
      events.append(("handshaken", .handshaken(direct: nil, contestants: paths.map { RaceContestant($0) })))
    }
    for path in RacePath.allCases where path != .direct {
      events.append(("opened \(path)", .opened(path, Route(number: UInt16(10 + path.rawValue)))))
      events.append(("failed \(path)", .failed(path, error(path))))
    }
    for timer in RaceTimer.allCases { events.append(("timer \(timer)", .timer(timer))) }
    return events
  }

  private static func interferes(_ event: Event) -> Bool {
    switch event {
    case .gaveUp, .cancelled, .timer: true
    default: false
    }
  }

  private func name(_ state: RaceState) -> String {
    switch state {
    case .attaching(let path): "attaching-\(path)"
    case .over(.won(let path)): "won by \(path)"
    case .over(.failed(.other(let text))): "failed (\(text))"
    case .over(.failed(let error)): "failed (\(error.code))"
    case .over(.lost(.other(let text))): "lost (\(text))"
    case .over(let end): "\(end)"
    default: "\(state)"
    }
  }

  /// Walks breadth first to the end of the reachable states, and returns "state event -> states" of all that changed
  /// anything.
  private func walk(_ role: RaceRole) -> (lines: [String], states: Int) {
    var seen: Set<Key> = []
    var queue = [(Race(role: role), Surroundings())]
    var transitions: [String: Set<String>] = [:]
    let events = events(role)
    var head = 0
    while head < queue.count {
      let (race, surroundings) = queue[head]
      head += 1
      if race.state == .racing { XCTAssertFalse(surroundings.active.isEmpty, "something can still happen") }
      if race.state == .relayed { XCTAssertTrue(surroundings.active.contains(where: \.isDirect)) }
      XCTAssertEqual(race.isOver, surroundings.end != nil)
      XCTAssertEqual(race.mayPunch, race.state == .racing || race.state == .relayed)
      for (label, event) in events {
        let what = "\(role) \(race.state) \(label)"
        var next = race
        var after = surroundings
        let outputs = next.handle(event, at: 0)
        if race.isOver {
          XCTAssertTrue(outputs.isEmpty && next.state == race.state, "over for good: \(what)")
          continue
        }
        guard surroundings.isPossible(event) else {
          // A report that comes too late changes nothing. Neither does one inside of a call that attaches or moves,
          // where only the stream's failure and its owner can interfere.
          if surroundings.isCalm || !Self.interferes(event) {
            XCTAssertTrue(outputs.isEmpty, what)
            XCTAssertEqual(Key(next, surroundings), Key(race, surroundings), what)
          }
          continue
        }
        after.note(event)
        after.apply(outputs, what)
        XCTAssertEqual(next.timers, after.timers, what)
        let key = Key(next, after)
        guard key != Key(race, surroundings) else { continue }
        transitions["\(name(race.state)) \(label)", default: []].insert(name(next.state))
        if seen.insert(key).inserted { queue.append((next, after)) }
      }
    }
    XCTAssertEqual(head, queue.count)
    return (transitions.map { "\($0.key) -> \($0.value.sorted().joined(separator: ", "))" }.sorted(), seen.count)
  }

  func testEveryTransitionOfTheDialler() {
    let (lines, states) = walk(.dialling)
    XCTAssertEqual(states, 301)
    let expected = """
      attaching-direct attachFailed -> failed (attach)
      attaching-direct attached -> won by direct
      attaching-local attachFailed -> failed (attach)
      attaching-local attached -> won by local
      attaching-passive attachFailed -> failed (attach)
      attaching-passive attached -> won by passive
      attaching-punch attachFailed -> failed (attach)
      attaching-punch attached -> won by punch
      attaching-relay attachFailed -> failed (attach)
      attaching-relay attached -> relayed, stayed
      handshaking cancelled -> cancelled
      handshaking gaveUp -> failed (gave up)
      handshaking handshaken -> attaching-direct, failed (CANNOT_HOLEPUNCH), racing
      handshaking handshaken direct -> attaching-direct
      handshaking packet -> handshaking
      handshaking started -> handshaking
      handshaking timer deadline -> failed (CONNECT_TIMEOUT)
      moving moveRefused -> relayed
      moving moved -> moved
      racing cancelled -> cancelled
      racing directFailed -> attaching-local, failed (direct), racing
      racing failed local -> failed (local), racing
      racing failed passive -> failed (passive)
      racing failed punch -> attaching-local, failed (punch), racing
      racing failed relay -> attaching-local, failed (relay), racing
      racing gaveUp -> failed (gave up)
      racing opened local -> attaching-local
      racing opened passive -> attaching-passive
      racing opened punch -> attaching-punch
      racing opened relay -> attaching-relay
      racing packet -> attaching-direct
      racing timer deadline -> failed (CONNECT_TIMEOUT)
      racing timer passive -> failed (HOLEPUNCH_ABORTED)
      racing unproven -> attaching-local, racing
      relayed cancelled -> cancelled
      relayed directFailed -> stayed
      relayed failed local -> relayed, stayed
      relayed failed punch -> relayed, stayed
      relayed gaveUp -> lost (gave up)
      relayed opened local -> moving
      relayed opened punch -> moving
      relayed packet -> moving
      relayed relayLeft -> stayed
      relayed unproven -> relayed, stayed
      """
    XCTAssertEqual(lines, expected.split(separator: "\n").map(String.init))
  }

  func testEveryTransitionOfTheAcceptor() {
    let (lines, states) = walk(.accepting)
    XCTAssertEqual(states, 163)
    let expected = """
      attaching-direct attachFailed -> failed (attach)
      attaching-direct attached -> won by direct
      attaching-passive attachFailed -> failed (attach)
      attaching-passive attached -> won by passive
      attaching-punch attachFailed -> failed (attach)
      attaching-punch attached -> won by punch
      attaching-relay attachFailed -> failed (attach)
      attaching-relay attached -> relayed, stayed
      handshaking cancelled -> cancelled
      handshaking gaveUp -> failed (gave up)
      handshaking handshaken -> attaching-direct, racing
      handshaking handshaken direct -> attaching-direct
      handshaking packet -> handshaking
      moving moveRefused -> relayed
      moving moved -> moved
      racing cancelled -> cancelled
      racing directFailed -> failed (direct), racing
      racing failed passive -> failed (passive), racing
      racing failed punch -> failed (punch), racing
      racing failed relay -> failed (relay), racing
      racing gaveUp -> failed (gave up)
      racing opened passive -> attaching-passive
      racing opened punch -> attaching-punch
      racing opened relay -> attaching-relay
      racing packet -> attaching-direct
      racing peerPunches -> racing
      racing timer prepunch -> failed (HOLEPUNCH_ABORTED), racing
      relayed cancelled -> cancelled
      relayed directFailed -> stayed
      relayed failed passive -> stayed
      relayed failed punch -> stayed
      relayed gaveUp -> lost (gave up)
      relayed opened passive -> moving
      relayed opened punch -> moving
      relayed packet -> moving
      relayed relayLeft -> stayed
      relayed timer upgrade -> stayed
      """
    XCTAssertEqual(lines, expected.split(separator: "\n").map(String.init))
  }

  // MARK: Order and numbers

  private func text(_ output: RaceOutput<Route>) -> String {
    switch output {
    case .start(let contestant): "start \(contestant.path)"
    case .startTimer(let timer, let milliseconds): "timer \(timer) \(milliseconds)"
    case .stopTimer(let timer): "stop \(timer)"
    case .attach(let route, let path): "attach \(path) \(route.number)"
    case .move(let route, let path): "move \(path) \(route.number)"
    case .release(let path, let release): "release \(path) \(release)"
    case .end(let end): "end \(name(.over(end)))"
    }
  }

  /// All outputs of these events, in order.
  private func outputs(_ role: RaceRole, _ events: [Event]) -> [String] {
    var race = Race(role: role)
    return events.flatMap { race.handle($0, at: 0).map(text) }
  }

  private func contest(_ paths: RacePath...) -> Event {
    .handshaken(direct: nil, contestants: paths.map { RaceContestant($0) })
  }

  func testDirectWinsBeforeTheRelay() {
    XCTAssertEqual(
      outputs(
        .dialling,
        [.started(deadline: 500), contest(.relay, .local, .punch), .opened(.punch, Route(number: 8)), .attached]),
      [
        "timer deadline 500", "start relay", "start local", "start punch", "attach punch 8", "stop deadline",
        "release local kept", "release punch kept", "release relay standBy", "end won by punch",
      ])
    XCTAssertEqual(
      outputs(.accepting, [contest(.relay, .punch), .peerPunches, .packet(Route(number: 8)), .attached]),
      [
        "timer prepunch 10000", "start relay", "start punch", "stop prepunch", "attach direct 8", "release punch kept",
        "release relay standBy", "end won by direct",
      ])
  }

  func testRelayWinsAndIsLeft() {
    let relay = Event.opened(.relay, Route(number: 7))
    XCTAssertEqual(
      outputs(
        .accepting,
        [
          contest(.relay, .punch), relay, .attached, .packet(Route(number: 8)), .moveRefused,
          .packet(Route(number: 9)), .moved,
        ]),
      [
        "timer prepunch 10000", "start relay", "start punch", "attach relay 7", "stop prepunch", "timer upgrade 120000",
        "move direct 8", "move direct 9", "stop upgrade", "release punch kept", "release relay kept", "end moved",
      ])
    XCTAssertEqual(
      outputs(
        .dialling,
        [.started(deadline: 500), contest(.relay, .punch), relay, .attached, .failed(.punch, error(.punch))]),
      [
        "timer deadline 500", "start relay", "start punch", "attach relay 7", "stop deadline", "release relay kept",
        "end stayed",
      ])
    // Punching failed before: the race is over with the relay.
    XCTAssertEqual(
      outputs(.accepting, [contest(.relay, .punch), .directFailed(error(.punch)), relay, .attached]),
      [
        "timer prepunch 10000", "start relay", "start punch", "release punch dropped", "attach relay 7",
        "stop prepunch", "release relay kept", "end stayed",
      ])
  }

  func testEarlyPacketComesBeforeEverything() {
    XCTAssertEqual(
      outputs(
        .dialling,
        [
          .packet(Route(number: 1)), .packet(Route(number: 2)),
          .handshaken(direct: Route(number: 3), contestants: []), .attached,
        ]),
      ["attach direct 1", "end won by direct"])
  }

  func testUnprovenAddressIsTheLastResort() {
    let unproven = Event.unproven(Route(number: 5), error(.local))
    XCTAssertEqual(
      outputs(.dialling, [contest(.local, .punch), unproven, .failed(.punch, error(.punch)), .attached]),
      ["start local", "start punch", "attach local 5", "end won by local"])
    XCTAssertEqual(
      outputs(.dialling, [contest(.local, .punch), .failed(.local, error(.local)), .failed(.punch, error(.punch))]),
      ["start local", "start punch", "end failed (punch)"])
  }

  func testReachableNodeWaits() {
    XCTAssertEqual(
      outputs(.dialling, [contest(.passive), .timer(.passive)]),
      ["timer passive 1500", "start passive", "end failed (HOLEPUNCH_ABORTED)"])
    XCTAssertEqual(outputs(.dialling, [.started(deadline: 0), .cancelled]), ["end cancelled"])
  }

  // MARK: Timeline

  func testTimelineText() {
    var race = Race(role: .dialling)
    let punch = RaceContestant(.punch, remote: Route(number: 5).remote, firewall: .random)
    let events: [(UInt64, Event)] = [
      (1000, .started(deadline: 20_000)),
      (1012, .handshaken(direct: nil, contestants: [RaceContestant(.relay), punch])),
      (1100, .opened(.relay, Route(number: 6))), (1100, .attached), (1500, .opened(.punch, Route(number: 7))),
      (1500, .moveRefused), (1900, .failed(.punch, .remoteAborted(1))),
    ]
    for (time, event) in events { _ = race.handle(event, at: time) }
    let expected = """
      +0 ms  attempt started  deadline 20000 ms
      +12 ms  handshake done  -> racing
      +12 ms  relay started
      +12 ms  punch started  remote 1.2.3.4:5 (random)
      +100 ms  relay opened  remote 1.2.3.4:6  -> attaching over relay
      +100 ms  stream attached  -> relayed
      +500 ms  punch opened  remote 1.2.3.4:7  -> moving
      +500 ms  stream not moved  -> relayed
      +900 ms  punch failed  REMOTE_ABORTED: the peer aborted hole punching with error 1  -> over: stays on the relay
      """
    XCTAssertEqual(race.timeline.lines.joined(separator: "\n"), expected)
    // Nothing is added after the end.
    _ = race.handle(.cancelled, at: 2000)
    XCTAssertEqual(race.timeline.lines.count, 9)
  }

  /// The beginning and the newest entry stay.
  func testTimelineIsBounded() {
    var race = Race(role: .dialling)
    _ = race.handle(.started(deadline: 5000), at: 0)
    for time in 1...1000 { _ = race.handle(.packet(Route(number: 1)), at: UInt64(time)) }
    _ = race.handle(.gaveUp(.peerNotFound), at: 1001)
    let lines = race.timeline.lines
    XCTAssertEqual(lines.count, Limits.Connect.timelineEntries + 1)
    XCTAssertEqual(lines.first, "+0 ms  attempt started  deadline 5000 ms")
    XCTAssertEqual(lines.dropLast().last, "  ... \(1002 - Limits.Connect.timelineEntries) more")
    let gaveUp = "given up  \(DHTError.peerNotFound)"
    XCTAssertEqual(lines.last, "+1001 ms  \(gaveUp)  -> over: failed with PEER_NOT_FOUND")
  }

  /// Both ends of a real connection can say how it came about.
  func testTimelineOfAConnection() throws {
    let net = Net()
    let (server, accepted) = net.listen(on: net.makeNode())
    var options = ConnectOptions()
    options.localConnection = false
    let peer = net.connect(net.makeNode(), to: server, options: options)
    net.assertEcho(peer)
    for stream in [peer.stream, try XCTUnwrap(accepted.peers.first).stream] {
      let lines = try XCTUnwrap(stream.pathTimeline)()
      XCTAssertTrue(lines.contains { $0.contains("punch started  remote ") }, "\(lines)")
      XCTAssertTrue(lines.last?.contains("stream attached  -> over: won by ") ?? false, "\(lines)")
    }
    let nowhere = Peer(net.makeNode().connect(to: Bytes32(repeating: 5)))
    net.wait { nowhere.isClosed }
    let lines = try XCTUnwrap(nowhere.stream.pathTimeline)()
    XCTAssertEqual(lines.count, 2)
    XCTAssertTrue(lines.last?.hasSuffix("-> over: failed with \(nowhere.closeError?.code ?? "")") ?? false, "\(lines)")
    net.destroy()
  }
}
