/// What `SharedTicks` calls.
package protocol TickMember: AnyObject {
  /// Written by `SharedTicks` alone.
  var tickPlace: TickPlace { get set }
  /// The tick has come.
  func ticked()
}

/// Where a member waits.
package struct TickPlace {
  fileprivate var step: UInt64 = 0
  fileprivate var index: Int32 = -1

  package init() {}

  package var isWaiting: Bool { index >= 0 }
}

/// Deadlines of many that may come a little early: those of one step of time share one timer, so that thousands of
/// connections wake the loop a few times a second, and their packets leave together.
///
/// One per environment, on its loop. Members are not kept alive.
package final class SharedTicks {
  /// Milliseconds of a step: 20 of them are the usual keepalive interval.
  package static let step: UInt64 = 250
  /// Members of one step, as long as earlier steps have room: their packets leave in one turn, and two hundred find
  /// room in a receive buffer of the usual size.
  static let crowd = 192
  /// Steps that a deadline may be early to find such room.
  static let spread: UInt64 = 2
  /// Milliseconds by which a tick may come before its deadline.
  package static let slack = (spread + 1) * step
  /// Milliseconds of a deadline at most, 35,000 years: one that stands for "never" must not overflow the clock.
  static let longest: UInt64 = 1 << 50

  private struct Entry { weak var member: (any TickMember)? }

  private final class Step {
    var entries: [Entry] = []
    var timer: (any ScheduledAction)?
  }

  private unowned let environment: any Environment
  private var steps: [UInt64: Step] = [:]

  package init(_ environment: any Environment) { self.environment = environment }

  /// Timers that are set.
  package var stepCount: Int { steps.count }

  /// One tick for the member, in place of one that it waits for: within `milliseconds`, more than `slack`, and at most
  /// `slack` earlier; after `longest` at the latest.
  package func schedule(_ member: any TickMember, within milliseconds: UInt64) {
    precondition(milliseconds > Self.slack, "a tick may come early by the slack")
    cancel(member)
    let now = environment.nowMilliseconds
    let latest = (now + min(milliseconds, Self.longest)) / Self.step
    var number = latest
    while number > latest - Self.spread, steps[number]?.entries.count ?? 0 >= Self.crowd { number -= 1 }
    if steps[number]?.entries.count ?? 0 >= Self.crowd { number = latest }
    let step = steps[number] ?? begin(number, now)
    member.tickPlace.step = number
    member.tickPlace.index = Int32(step.entries.count)
    step.entries.append(Entry(member: member))
  }

  /// No tick comes for the member.
  package func cancel(_ member: any TickMember) {
    let place = member.tickPlace
    guard place.index >= 0 else { return }
    member.tickPlace = TickPlace()
    guard let step = steps[place.step] else { return }
    let index = Int(place.index)
    let last = step.entries.removeLast()
    if index < step.entries.count {
      step.entries[index] = last
      last.member?.tickPlace.index = place.index
    }
    guard step.entries.isEmpty else { return }
    step.timer?.cancel()
    steps[place.step] = nil
  }

  private func begin(_ number: UInt64, _ now: UInt64) -> Step {
    let step = Step()
    steps[number] = step
    step.timer = environment.schedule(after: number * Self.step - now) { [weak self] in self?.tick(number) }
    return step
  }

  private func tick(_ number: UInt64) {
    // What a member does may cancel those behind it, which leaves the step with its last one.
    while let step = steps[number], let entry = step.entries.last {
      guard let member = entry.member else {
        step.entries.removeLast()
        if step.entries.isEmpty { steps[number] = nil }
        continue
      }
      cancel(member)
      member.ticked()
    }
  }
}
