import HyperCollections
import HyperEncoding

/// Which sources of requests are pinged, so that their answer shows that they are where they say (dht-rpc.md C-11,
/// dht-rpc.md C-13). An address that is only claimed gets one ping a minute, whatever is sent in its name.
struct SourceChecks {
  /// Each has budgets of its own, so that what invented sources can do by the thousand leaves those of others.
  enum Kind: Int, CaseIterable {
    /// It has sent something.
    case unproven
    /// It has echoed a token.
    case proven
    /// What it has sent was refused, and came again: it waits for an answer.
    case waiting

    fileprivate var policy: SourceBudget.Policy {
      let isWaiting = self == .waiting
      return SourceBudget.Policy(
        perSource: Rate(
          burst: Limits.sourceCheckBurst,
          perSecond: isWaiting ? Limits.waitingSourceChecksPerSecond : Limits.sourceChecksPerSecond),
        total: Rate(
          burst: Limits.totalSourceCheckBurst,
          perSecond: isWaiting ? Limits.totalWaitingSourceChecksPerSecond : Limits.totalSourceChecksPerSecond),
        maximumSources: Limits.trackedSources / 2)
    }
  }

  /// By kind, as the pings in flight are.
  private var budgets: [SourceBudget]
  private var pending: [Int]
  private var recent: TwoGenerationCache<Endpoint, Bool>

  init(now: UInt64) {
    budgets = Kind.allCases.map { SourceBudget($0.policy, now: now) }
    pending = Kind.allCases.map { _ in 0 }
    recent = TwoGenerationCache(
      .init(
        maximumEntries: Limits.rememberedSourceChecks / 2,
        maximumAge: Limits.sourceCheckInterval * 3 / 2), now: now)
  }

  /// Whether `source` may be pinged now (milliseconds); if so it counts as pinged, until ``end(_:)``.
  mutating func begin(_ source: Endpoint, _ kind: Kind, now: UInt64) -> Bool {
    guard pending[kind.rawValue] < Limits.pendingSourceChecks, recent.peek(source, now: now) == nil,
      budgets[kind.rawValue].take(source.host, now: now)
    else { return false }
    recent.set(source, true, now: now)
    pending[kind.rawValue] += 1
    return true
  }

  mutating func end(_ kind: Kind) { pending[kind.rawValue] -= 1 }
}

/// One request and its retransmissions, of which none was answered for want of room.
struct RefusedRequest: Hashable {
  var source: Endpoint
  var tid: UInt16
}

extension RPCNode {
  /// Pings a source that has shown nothing yet. Its answer proves it, and brings a node into the table; what it waits
  /// for is done then (`answered`).
  func checkSource(_ source: Endpoint, isWaiting: Bool = false, answered: (() -> Void)? = nil) {
    let now = environment.nowMilliseconds
    let kind: SourceChecks.Kind =
      isWaiting ? .waiting : replyBudget.isProven(source, now: now) ? .proven : .unproven
    guard !isSuspended, !isDestroyed, !isOffline, source.isUsable, serverSocket != nil,
      sourceChecks.begin(source, kind, now: now)
    else { return }
    var options = RequestOptions(retries: 0)
    options.isUnsolicited = true
    ping(source, options: options) { [weak self] result in
      guard let self else { return }
      sourceChecks.end(kind)
      if case .success = result, !isSuspended, !isDestroyed { answered?() }
    }
  }
}
