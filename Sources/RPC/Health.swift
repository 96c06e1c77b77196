/// Judges the network from responses and final timeouts per tick (dht-rpc.md 19).
struct Health {
  private struct Snapshot {
    var responses: UInt64
    var timeouts: UInt64
    var isBad: Bool?
  }

  private(set) var isOnline = true
  private(set) var isDegraded = false
  private(set) var isCold = true
  private(set) var isIdle = true
  /// Of the last tick.
  private(set) var responses: UInt64 = 0
  private(set) var timeouts: UInt64 = 0
  private var ring: [Snapshot] = []

  /// Takes the totals since the start; returns whether (online, degraded) has changed.
  mutating func update(responses totalResponses: UInt64, timeouts totalTimeouts: UInt64) -> Bool {
    let before = (isOnline, isDegraded)
    let last = ring.last
    responses = totalResponses &- (last?.responses ?? 0)
    timeouts = totalTimeouts &- (last?.timeouts ?? 0)
    ring.append(Snapshot(responses: totalResponses, timeouts: totalTimeouts, isBad: nil))
    if ring.count > Limits.healthWindow { ring.removeFirst() }
    isCold = ring.count < Limits.healthWindow
    isIdle = responses + timeouts < Limits.healthIdle
    if !isCold, !isIdle {
      let isBad = 2 * timeouts > responses + timeouts
      ring[ring.count - 1].isBad = isBad
      isOnline = responses > 0
      if !isOnline {
        isDegraded = false
      } else if ring.allSatisfy({ $0.isBad == true }) {
        isDegraded = true
      } else if ring.allSatisfy({ $0.isBad == false }) {
        isDegraded = false
      }
    }
    return before != (isOnline, isDegraded)
  }

  /// The probes have found the network silent; returns whether that is new.
  mutating func goOffline() -> Bool {
    guard isOnline else { return false }
    isOnline = false
    isDegraded = false
    return true
  }

  /// Online and cold; returns whether (online, degraded) has changed. The totals at this moment become the base.
  mutating func reset() -> Bool {
    let changed = !isOnline || isDegraded
    self = Health()
    return changed
  }
}
