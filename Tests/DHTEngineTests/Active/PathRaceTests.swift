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

  /// Whether this can happen now, by what the outputs have said.
  func isPossible(_ event: Event) -> Bool {
    if asked != nil || isMoving {
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

  private func name(_ state: RaceState) -> String {
    switch state {
    case .attaching(let path): "attaching-\(path)"
    case .over(.won): "won"
    case .over(.moved): "moved"
    case .over(.stayed): "stayed"
    case .over(.failed): "failed"
    case .over(.lost): "lost"
    case .over(.cancelled): "cancelled"
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
          // A report that comes too late changes nothing, except that an answer outside of its call is not waited for.
          if surroundings.asked == nil, !surroundings.isMoving {
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
    return (transitions.map { "\($0.key) -> \($0.value.sorted().joined(separator: ", "))" }.sorted(), seen.count)
  }

  func testEveryTransitionOfTheDialler() {
    let (lines, states) = walk(.dialling)
    print("dialling: \(states) states, \(lines.count) transitions")
    print(lines.joined(separator: "\n"))
  }

  func testEveryTransitionOfTheAcceptor() {
    let (lines, states) = walk(.accepting)
    print("accepting: \(states) states, \(lines.count) transitions")
    print(lines.joined(separator: "\n"))
  }
}
