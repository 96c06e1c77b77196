import HyperEncoding

/// What happened in one race, for people: when, what, and the state it led to.
struct PathTimeline {
  /// Kept as values and put into words on demand, because every connection has a timeline and few are read.
  /// In this order the fields take 32 bytes.
  struct Entry {
    /// `nil`: the state stays.
    var state: RaceState?
    /// Milliseconds, the low half: only differences count, and a race takes less than 49 days.
    var time: UInt32
    var what: What

    init(time: UInt64, what: What, state: RaceState?) {
      self.time = UInt32(truncatingIfNeeded: time)
      self.what = what
      self.state = state
    }
  }

  enum What {
    case began(deadline: UInt64)
    case handshaken
    case started(RaceContestant)
    case packet(Endpoint)
    case opened(RacePath, Endpoint)
    case attached
    indirect case attachFailed(DHTError)
    indirect case failed(RacePath?, DHTError)
    case unproven(Endpoint)
    case peerPunches
    case timer(RaceTimer)
    case moved
    case moveRefused
    case relayLeft
    indirect case gaveUp(DHTError)
    case cancelled
  }

  private(set) var entries: [Entry] = []
  /// Entries between the last two that did not fit.
  private(set) var omitted = 0

  mutating func add<Route: RaceRoute>(
    _ event: RaceEvent<Route>, _ outputs: [RaceOutput<Route>], _ state: RaceState?, at now: UInt64
  ) {
    append(Entry(time: now, what: What(event), state: state))
    for case .start(let contestant) in outputs { append(Entry(time: now, what: .started(contestant), state: nil)) }
  }

  /// A full list keeps its beginning and the newest entry: the cause, and the end.
  private mutating func append(_ entry: Entry) {
    if entries.count == Limits.Connect.timelineEntries {
      entries.removeLast()
      omitted += 1
    }
    entries.append(entry)
    // Little follows, and it stays as long as the connection: no room to grow.
    if case .over = entry.state { entries = entries.withUnsafeBufferPointer { Array($0) } }
  }

  /// One line per entry, times counted from the first.
  var lines: [String] { lines(since: entries.first?.time ?? 0) }

  /// Of attempts one after the other; times are counted from the beginning of the first one.
  static func lines(of timelines: [PathTimeline]) -> [String] {
    guard let start = timelines.first?.entries.first?.time else { return [] }
    return timelines.flatMap { $0.lines(since: start) }
  }

  private func lines(since start: UInt32) -> [String] {
    var lines = entries.map { $0.line(since: start) }
    if omitted > 0 { lines.insert("  ... \(omitted) more", at: lines.count - 1) }
    return lines
  }
}

extension PathTimeline.What {
  fileprivate init<Route: RaceRoute>(_ event: RaceEvent<Route>) {
    switch event {
    case .started(let deadline): self = .began(deadline: deadline)
    case .handshaken: self = .handshaken
    case .packet(let route): self = .packet(route.remote)
    case .opened(let path, let route): self = .opened(path, route.remote)
    case .failed(let path, let error): self = .failed(path, error)
    case .unproven(let route, _): self = .unproven(route.remote)
    case .directFailed(let error): self = .failed(nil, error)
    case .peerPunches: self = .peerPunches
    case .timer(let timer): self = .timer(timer)
    case .attached: self = .attached
    case .attachFailed(let error): self = .attachFailed(error)
    case .moved: self = .moved
    case .moveRefused: self = .moveRefused
    case .relayLeft: self = .relayLeft
    case .gaveUp(let error): self = .gaveUp(error)
    case .cancelled: self = .cancelled
    }
  }

  fileprivate var text: String {
    switch self {
    case .began(let deadline): deadline == 0 ? "attempt started" : "attempt started  deadline \(deadline) ms"
    case .handshaken: "handshake done"
    case .started(let contestant): contestant.text
    case .packet(let remote): "packet arrived  remote \(remote)"
    case .opened(let path, let remote): "\(path) opened  remote \(remote)"
    case .attached: "stream attached"
    case .attachFailed(let error): "stream not attached  \(error)"
    case .failed(let path, let error): "\(path.map { "\($0)" } ?? "every direct path") failed  \(error)"
    case .unproven(let remote): "local answered without proof  remote \(remote)"
    case .peerPunches: "peer punches"
    case .timer(let timer): "\(timer) timer fired"
    case .moved: "stream moved"
    case .moveRefused: "stream not moved"
    case .relayLeft: "relay left"
    case .gaveUp(let error): "given up  \(error)"
    case .cancelled: "cancelled"
    }
  }
}

extension RaceContestant {
  fileprivate var text: String {
    var text = "\(path) started"
    if let remote { text += "  remote \(remote)" }
    if let firewall { text += " (\(firewall))" }
    return text
  }
}

extension RaceState {
  fileprivate var text: String {
    switch self {
    case .handshaking: "handshaking"
    case .racing: "racing"
    case .attaching(let path): "attaching over \(path)"
    case .relayed: "relayed"
    case .moving: "moving"
    case .over(let end): "over: \(end.text)"
    }
  }
}

extension RaceEnd {
  fileprivate var text: String {
    switch self {
    case .won(let path): "won by \(path)"
    case .moved: "moved to a direct path"
    case .stayed: "stays on the relay"
    case .failed(let error): "failed with \(error.code)"
    case .lost(let error): "lost with \(error.code)"
    case .cancelled: "cancelled"
    }
  }
}

extension PathTimeline.Entry {
  fileprivate func line(since start: UInt32) -> String {
    let line = "+\(time &- start) ms  \(what.text)"
    return state.map { "\(line)  -> \($0.text)" } ?? line
  }
}
