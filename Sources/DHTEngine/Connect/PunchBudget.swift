import HyperEnvironment

/// Random punches are loud: one at a time per node, and a pause after each (hyperdht.md 8.6).
final class PunchBudget {
  private let environment: any Environment
  private let interval: UInt64
  private var running = 0
  private var endedAt: UInt64?

  init(environment: any Environment, interval: UInt64, startsRunning: Bool) {
    self.environment = environment
    self.interval = interval
    if startsRunning { endedAt = environment.nowMilliseconds }
  }

  var isAvailable: Bool {
    guard running < Limits.Punch.randomPunches else { return false }
    guard let endedAt else { return true }
    return environment.nowMilliseconds >= endedAt + interval
  }

  func begin() { running += 1 }

  func end() {
    running = max(0, running - 1)
    restart()
  }

  func restart() { endedAt = environment.nowMilliseconds }
}
