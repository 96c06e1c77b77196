import HyperCollections
import HyperEncoding

/// Which sources of requests are pinged, so that their answer shows that they are where they say (dht-rpc.md C-11,
/// dht-rpc.md C-13). An address that is only claimed gets one ping a minute, whatever is sent in its name.
struct SourceChecks {
  private static let policy = SourceBudget.Policy(
    perSource: Rate(burst: Limits.sourceCheckBurst, perSecond: Limits.sourceChecksPerSecond),
    total: Rate(burst: Limits.totalSourceCheckBurst, perSecond: Limits.totalSourceChecksPerSecond),
    maximumSources: Limits.trackedSources / 2)

  private var budget: SourceBudget
  private var recent: TwoGenerationCache<Endpoint, Bool>
  /// Pings in flight.
  var pending = 0

  init(now: UInt64) {
    budget = SourceBudget(SourceChecks.policy, now: now)
    recent = TwoGenerationCache(
      .init(
        maximumEntries: Limits.rememberedSourceChecks / 2,
        maximumAge: Limits.sourceCheckInterval * 3 / 2), now: now)
  }

  /// Whether `source` may be pinged now (milliseconds); if so it counts as pinged.
  mutating func begin(_ source: Endpoint, now: UInt64) -> Bool {
    guard pending < Limits.pendingSourceChecks, recent.peek(source, now: now) == nil, budget.take(source.host, now: now)
    else { return false }
    recent.set(source, true, now: now)
    pending += 1
    return true
  }
}

extension RPCNode {
  /// Pings a source that has shown nothing yet. Its answer proves it, and brings a node into the table.
  func checkSource(_ source: Endpoint) {
    guard !isSuspended, !isDestroyed, !isOffline, source.isUsable, serverSocket != nil,
      sourceChecks.begin(source, now: environment.nowMilliseconds)
    else { return }
    var options = RequestOptions(retries: 0)
    options.isUnsolicited = true
    ping(source, options: options) { [weak self] _ in self?.sourceChecks.pending -= 1 }
  }
}
