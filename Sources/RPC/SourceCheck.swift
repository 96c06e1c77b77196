import HyperCollections
import HyperEncoding

/// Which sources of requests are pinged, so that their answer shows that they are where they say (dht-rpc.md C-11,
/// dht-rpc.md C-13). An address that is only claimed gets one ping a minute, whatever is sent in its name. Sources that
/// have echoed a token have a total of their own, so that a node whose requests carry one enters the table also while
/// invented ones come by the thousand.
struct SourceChecks {
  private static let policy = SourceBudget.Policy(
    perSource: Rate(burst: Limits.sourceCheckBurst, perSecond: Limits.sourceChecksPerSecond),
    total: Rate(burst: Limits.totalSourceCheckBurst, perSecond: Limits.totalSourceChecksPerSecond),
    maximumSources: Limits.trackedSources / 2)

  private var unproven: SourceBudget
  private var proven: SourceBudget
  private var recent: TwoGenerationCache<Endpoint, Bool>
  /// Pings in flight, to sources of either kind.
  private var pendingUnproven = 0
  private var pendingProven = 0

  init(now: UInt64) {
    unproven = SourceBudget(SourceChecks.policy, now: now)
    proven = SourceBudget(SourceChecks.policy, now: now)
    recent = TwoGenerationCache(
      .init(
        maximumEntries: Limits.rememberedSourceChecks / 2,
        maximumAge: Limits.sourceCheckInterval * 3 / 2), now: now)
  }

  /// Whether `source` may be pinged now (milliseconds); if so it counts as pinged, until ``end(isProven:)``.
  mutating func begin(_ source: Endpoint, isProven: Bool, now: UInt64) -> Bool {
    guard (isProven ? pendingProven : pendingUnproven) < Limits.pendingSourceChecks,
      recent.peek(source, now: now) == nil,
      isProven ? proven.take(source.host, now: now) : unproven.take(source.host, now: now)
    else { return false }
    recent.set(source, true, now: now)
    if isProven { pendingProven += 1 } else { pendingUnproven += 1 }
    return true
  }

  mutating func end(isProven: Bool) {
    if isProven { pendingProven -= 1 } else { pendingUnproven -= 1 }
  }
}

extension RPCNode {
  /// Pings a source that has shown nothing yet. Its answer proves it, and brings a node into the table.
  func checkSource(_ source: Endpoint) {
    let now = environment.nowMilliseconds
    let isProven = replyBudget.isProven(source, now: now)
    guard !isSuspended, !isDestroyed, !isOffline, source.isUsable, serverSocket != nil,
      sourceChecks.begin(source, isProven: isProven, now: now)
    else { return }
    var options = RequestOptions(retries: 0)
    options.isUnsolicited = true
    ping(source, options: options) { [weak self] _ in self?.sourceChecks.end(isProven: isProven) }
  }
}
