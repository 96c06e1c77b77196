import Synchronization

/// Lines about peers that come by themselves, of which strangers could make so many that nothing else is seen:
/// so many are printed at once and every second, the others are counted, and a line says how many they were.
///
/// Objects (`--json`) are for programs, which count on each of them: none is left out.
final class Crowd: Sendable {
  typealias Instant = ContinuousClock.Instant

  /// What a line is about, with what the summary says of several.
  enum Kind: String, CaseIterable {
    case joined
    case named = "changed their names"
    case left
    case connected
    case moved = "moved to other paths"
    case ended
    case failed
    case refused = "were refused"
    case served = "were served"
  }

  /// A screen of lines at once, and as many a second as can be followed.
  static let burst = 40
  static let perSecond = 5
  /// From the first line that is left out to the one that says so.
  static let summing = Duration.seconds(2)

  /// Of standard output, and of standard error.
  static let ofEvents = Crowd { Console.event("more", $0) }
  static let ofNotes = Crowd { Console.note("more", $0) }

  private struct State {
    /// Lines that may be printed, as of `filledAt`.
    var room = Double(burst)
    var filledAt: Instant?
    var omitted: [Kind: Int] = [:]

    /// Whether it is the first one since the last summary.
    mutating func omit(_ kind: Kind) -> Bool {
      defer { omitted[kind, default: 0] += 1 }
      return omitted.isEmpty
    }
  }

  private let state = Mutex(State())
  private let tell: @Sendable (String) -> Void
  private let isSummedByItself: Bool

  /// - Parameter isSummedByItself: `false` for tests, which call `summary`.
  init(isSummedByItself: Bool = true, tell: @escaping @Sendable (String) -> Void) {
    self.isSummedByItself = isSummedByItself
    self.tell = tell
  }

  /// Whether a line may be printed now. One that may not is counted.
  func admits(_ kind: Kind, at now: Instant = .now) -> Bool {
    let (isAdmitted, isFirst) = state.withLock { state in
      if let filledAt = state.filledAt, now > filledAt {
        state.room = min(Double(Crowd.burst), state.room + (now - filledAt) / .seconds(1) * Double(Crowd.perSecond))
      }
      state.filledAt = max(now, state.filledAt ?? now)
      guard state.room < 1 else {
        state.room -= 1
        return (true, false)
      }
      return (false, state.omit(kind))
    }
    if isFirst { sumUp() }
    return isAdmitted
  }

  /// Counts a line that is not printed whatever room there is: it would be about a peer that no line has named.
  func omit(_ kind: Kind) {
    if state.withLock({ $0.omit(kind) }) { sumUp() }
  }

  private func sumUp() {
    guard isSummedByItself else { return }
    Task {
      try? await Task.sleep(for: Crowd.summing)
      summary()
    }
  }

  /// Says how many lines were left out since the last time.
  func summary() {
    let omitted = state.withLock { state in
      defer { state.omitted = [:] }
      return state.omitted
    }
    let parts = Kind.allCases.compactMap { kind in omitted[kind].map { "\($0) \(kind.rawValue)" } }
    if !parts.isEmpty { tell("* and more peers than are shown: \(parts.joined(separator: ", "))") }
  }
}

extension Console {
  /// As `event`, about a peer that has come by itself. Returns whether it was printed.
  @discardableResult
  static func event(
    _ name: String, ofOne kind: Crowd.Kind, _ text: @autoclosure () -> String, _ fields: [(String, JSON)] = []
  ) -> Bool {
    guard isJSON || Crowd.ofEvents.admits(kind) else { return false }
    event(name, text(), fields)
    return true
  }

  /// As `note`, about a peer that has come by itself.
  static func note(
    _ name: String, ofOne kind: Crowd.Kind, _ text: @autoclosure () -> String, _ fields: [(String, JSON)] = []
  ) {
    guard isJSON || Crowd.ofNotes.admits(kind) else { return }
    note(name, text(), fields)
  }
}
