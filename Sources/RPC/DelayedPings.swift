import HyperEncoding
import HyperEnvironment

/// Answers that wait for their time, bounded in all and per source (dht-rpc.md 7.1 and C-11).
struct DelayedPings {
  private var timers: [UInt64: any ScheduledAction] = [:]
  private var perSource: [IPv4Address: Int] = [:]
  private var serial: UInt64 = 0

  var count: Int { timers.count }

  func hasRoom(for source: IPv4Address) -> Bool {
    timers.count < Limits.maximumDelayedPings
      && perSource[source, default: 0] < Limits.maximumDelayedPingsPerSource
  }

  /// Key for a new timer.
  mutating func nextKey() -> UInt64 {
    serial += 1
    return serial
  }

  mutating func insert(_ timer: any ScheduledAction, key: UInt64, source: IPv4Address) {
    timers[key] = timer
    perSource[source, default: 0] += 1
  }

  mutating func remove(_ key: UInt64, source: IPv4Address) {
    guard timers.removeValue(forKey: key) != nil else { return }
    let left = perSource[source, default: 1] - 1
    perSource[source] = left > 0 ? left : nil
  }

  mutating func cancelAll() {
    for timer in timers.values { timer.cancel() }
    timers = [:]
    perSource = [:]
  }
}
