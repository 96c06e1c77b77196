/// Which of several paths carries a stream (hyperdht.md 6, 7.2, 9.2, 10.3): the first one that opens wins; a relay may
/// win first and is left for a direct path later.
///
/// A value without side effects: `handle` takes one event and says what is to be done. Both sides of a connection use
/// it. Every attempt that is started either fails by itself or is released, and every timer fires or is stopped, before
/// the race has ended.
struct PathRace<Route: RaceRoute> {
  typealias Event = RaceEvent<Route>
  typealias Output = RaceOutput<Route>

  let role: RaceRole
  private(set) var state = RaceState.handshaking
  /// Attempts that may still find a path.
  private(set) var pending: Set<RacePath> = []
  /// Attempts that hold something: the pending ones, and a relay that carries the stream.
  private(set) var running: Set<RacePath> = []
  private(set) var timers: Set<RaceTimer> = []
  /// The peer's stream packet may overtake the end of the handshake (hyperdht.md 9.1).
  private(set) var early: Route?
  /// Taken when nothing else is left.
  private(set) var lastResort: Route?
  private(set) var lastError = DHTError.cannotHolepunch("no way to the peer could be tried")
  /// The path that is attached is one that only the peer has named: nothing has come over it.
  private(set) var isClaimed = false
  private(set) var timeline = PathTimeline()
  private var outputs: [Output] = []

  init(role: RaceRole) { self.role = role }

  var isOver: Bool { if case .over = state { true } else { false } }
  /// Hole punching messages are of use.
  var mayPunch: Bool { state == .racing || state == .relayed }
  private var hasDirect: Bool { pending.contains(where: \.isDirect) }

  mutating func handle(_ event: Event, at now: UInt64) -> [Output] {
    guard !isOver else { return [] }
    outputs = []
    let before = state
    switch event {
    case .started(let deadline): started(deadline)
    case .handshaken(let direct, let contestants): handshaken(direct, contestants)
    case .packet(let route): packet(route)
    case .opened(let path, let route): opened(path, route)
    case .failed(let path, let error): failed([path], error)
    case .unproven(let route, let error): unproven(route, error)
    case .directFailed(let error): directFailed(error)
    case .peerPunches: peerPunches()
    case .timer(let timer): fired(timer)
    case .attached: attached()
    case .attachFailed(let error): attachFailed(error)
    case .moved: moved()
    case .moveRefused: moveRefused()
    case .relayLeft: relayLeft()
    case .gaveUp(let error): gaveUp(error)
    case .cancelled: end(.cancelled)
    }
    timeline.add(event, outputs, state == before ? nil : state, at: now)
    return outputs
  }

  // MARK: Before the race

  private mutating func started(_ deadline: UInt64) {
    guard state == .handshaking, timers.isEmpty, deadline > 0 else { return }
    start(.deadline, deadline)
  }

  private mutating func handshaken(_ direct: Route?, _ contestants: [RaceContestant]) {
    guard state == .handshaking else { return }
    if let route = early ?? direct {
      isClaimed = early == nil
      return attach(.direct, route)
    }
    state = .racing
    pending = Set(contestants.map(\.path))
    running = pending
    if role == .accepting {
      start(.prepunch, Limits.Server.prepunchTimeout)
    } else if pending.contains(.passive) {
      start(.passive, Limits.Connect.passiveTimeout)
    }
    for contestant in contestants { outputs.append(.start(contestant)) }
    if pending.isEmpty { end(.failed(lastError)) }
  }

  // MARK: Paths that open

  private mutating func packet(_ route: Route) {
    switch state {
    case .handshaking: early = early ?? route
    case .racing: attach(.direct, route)
    case .relayed where hasDirect: move(route, .direct)
    case .relayed, .attaching, .moving, .over: break
    }
  }

  private mutating func opened(_ path: RacePath, _ route: Route) {
    guard pending.contains(path) else { return }
    switch state {
    case .racing: attach(path, route)
    case .relayed: move(route, path)
    case .handshaking, .attaching, .moving, .over: break
    }
  }

  private mutating func attach(_ path: RacePath, _ route: Route) {
    state = .attaching(path)
    outputs.append(.attach(route, path))
  }

  private mutating func move(_ route: Route, _ path: RacePath) {
    state = .moving
    outputs.append(.move(route, path))
  }

  private mutating func attached() {
    guard case .attaching(let path) = state else { return }
    guard path == .relay else { return end(.won(path)) }
    state = .relayed
    pending.remove(.relay)
    for timer in [RaceTimer.deadline, .prepunch] { stop(timer) }
    guard hasDirect else { return end(.stayed) }
    if role == .accepting { start(.upgrade, Limits.Relay.upgradeWindow) }
  }

  private mutating func attachFailed(_ error: DHTError) {
    guard case .attaching = state else { return }
    end(.failed(error))
  }

  private mutating func moved() {
    guard state == .moving else { return }
    end(.moved)
  }

  private mutating func moveRefused() {
    guard state == .moving else { return }
    state = .relayed
  }

  // MARK: Paths that do not

  private mutating func unproven(_ route: Route, _ error: DHTError) {
    if state == .racing, pending.contains(.local) { lastResort = route }
    failed([.local], error)
  }

  /// The race is lost only when no other path can still win.
  private mutating func failed(_ paths: Set<RacePath>, _ error: DHTError) {
    guard state == .racing || state == .relayed, !paths.isDisjoint(with: pending) else { return }
    pending.subtract(paths)
    running.subtract(paths)
    // What hole punching says is worth more than that the local network does not help.
    if paths != [.local] || pending.isEmpty { lastError = error }
    if state == .relayed {
      if !hasDirect { end(.stayed) }
    } else if pending.isEmpty {
      if let lastResort { attach(.local, lastResort) } else { end(.failed(lastError)) }
    }
  }

  private mutating func directFailed(_ error: DHTError) {
    let paths = pending.filter(\.isDirect)
    guard state == .racing || state == .relayed else { return }
    for path in sorted(paths) { outputs.append(.release(path, .dropped)) }
    failed(paths, error)
  }

  private mutating func peerPunches() {
    guard state == .racing else { return }
    stop(.prepunch)
  }

  private mutating func fired(_ timer: RaceTimer) {
    guard timers.remove(timer) != nil else { return }
    switch timer {
    case .deadline: end(.failed(.connectTimeout))
    case .passive: failed([.passive], .holepunchAborted("the server did not connect to us in time"))
    case .prepunch, .upgrade: directFailed(.holepunchAborted("the client did not come in time"))
    }
  }

  private mutating func relayLeft() {
    guard state == .relayed else { return }
    end(.stayed)
  }

  private mutating func gaveUp(_ error: DHTError) {
    end(state == .relayed ? .lost(error) : .failed(error))
  }

  // MARK: The end

  private mutating func end(_ end: RaceEnd) {
    let relayRuns = state == .relayed || state == .moving
    state = .over(end)
    for timer in RaceTimer.allCases { stop(timer) }
    for path in sorted(running) { release(path, end, relayRuns: relayRuns) }
    pending = []
    early = nil
    lastResort = nil
    outputs.append(.end(end))
  }

  private mutating func release(_ path: RacePath, _ end: RaceEnd, relayRuns: Bool) {
    let release: RaceRelease =
      switch (path, end) {
      case (.relay, .won): .standBy
      case (.relay, _): relayRuns ? .kept : .dropped
      case (_, .won), (_, .moved): .kept
      default: .dropped
      }
    outputs.append(.release(path, release))
  }

  private func sorted(_ paths: Set<RacePath>) -> [RacePath] { RacePath.allCases.filter(paths.contains) }

  private mutating func start(_ timer: RaceTimer, _ milliseconds: UInt64) {
    timers.insert(timer)
    outputs.append(.startTimer(timer, milliseconds))
  }

  private mutating func stop(_ timer: RaceTimer) {
    if timers.remove(timer) != nil { outputs.append(.stopTimer(timer)) }
  }
}
