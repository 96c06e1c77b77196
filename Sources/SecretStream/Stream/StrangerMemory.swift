import HyperEnvironment

/// The memory that strangers share: peers that have dialled us and have not yet sent a message with content. Any number
/// of them costs at most `Limits.Stranger.memory` together (secret-stream.md 18).
///
/// A claim that finds no room ends strangers that have begun nothing, the oldest first; if that is not enough, the one
/// that claims has to wait with its window closed. Where streams wait, the largest frame that has not got on for
/// `Limits.Stranger.stall` ends.
///
/// One per node, confined to its loop. Held by its streams, which it does not hold.
package final class StrangerMemory {
  /// One stream's part.
  final class Share {
    fileprivate unowned let stream: EncryptedStream
    fileprivate let memory: StrangerMemory
    fileprivate let number: UInt64
    /// Bytes.
    fileprivate(set) var charge = 0
    /// When the begun frame got on last, microseconds; `nil` without one.
    var progress: UInt64?
    /// Bytes that the frame needs to go on.
    fileprivate var wanted = 0
    fileprivate var isLarge = false

    fileprivate init(_ stream: EncryptedStream, _ memory: StrangerMemory, _ number: UInt64) {
      self.stream = stream
      self.memory = memory
      self.number = number
    }

    /// Costs `bytes` from now on, if there is room; a large frame finds less of it.
    func claim(_ bytes: Int, isLarge: Bool = false, evicting: Eviction) -> Bool {
      memory.claim(bytes, for: self, isLarge: isLarge, evicting: evicting)
    }

    /// The stream's window is closed until there are `bytes` for it.
    func wait(for bytes: Int, isLarge: Bool) { memory.wait(self, for: bytes, isLarge: isLarge) }

    func stopWaiting() { memory.stopWaiting(self) }

    /// The peer is no stranger any more, or the stream closes.
    func leave() { memory.leave(self) }

    fileprivate var isIdle: Bool { progress == nil && charge > 0 }
  }

  /// What a claim that finds no room may end.
  enum Eviction {
    case nothing
    /// Strangers that have begun nothing.
    case idle
    /// Also frames: those first that have not got on for the longest time.
    case frames
  }

  /// Ends of streams.
  package struct Counters: Hashable, Sendable {
    package var idleEvicted: UInt64 = 0
    package var framesEvicted: UInt64 = 0
    package var framesTimedOut: UInt64 = 0
  }

  /// Bytes that strangers cost now.
  package private(set) var used = 0
  /// The most that it has been.
  package private(set) var peak = 0
  package internal(set) var counters = Counters()
  /// Streams that wait for memory.
  package var waitingCount: Int { waiting.count }

  private let environment: any Environment
  private var shares: [UInt64: Share] = [:]
  private var waiting: [UInt64: Share] = [:]
  private var lastNumber: UInt64 = 0
  private var grantIsScheduled = false
  private var stallTimer: (any ScheduledAction)?

  package init(environment: any Environment) {
    Limits.check()
    self.environment = environment
  }

  /// Streams with a share.
  package var count: Int { shares.count }

  /// `nil` if there is no room and nothing that could make some.
  func join(_ stream: EncryptedStream) -> Share? {
    lastNumber += 1
    let share = Share(stream, self, lastNumber)
    shares[lastNumber] = share
    if share.claim(Limits.Stranger.least, evicting: .frames) { return share }
    shares[lastNumber] = nil
    return nil
  }

  // MARK: Claims

  private func claim(_ bytes: Int, for share: Share, isLarge: Bool, evicting: Eviction) -> Bool {
    guard shares[share.number] != nil else { return false }
    let more = bytes - share.charge
    if more > 0 {
      let lacking = more - ((isLarge ? Limits.Stranger.largeMemory : Limits.Stranger.memory) - used)
      if lacking > 0, !evict(lacking, for: share, evicting) { return false }
    }
    charge(share, bytes)
    return true
  }

  private func charge(_ share: Share, _ bytes: Int) {
    used += bytes - share.charge
    peak = max(peak, used)
    if bytes < share.charge { scheduleGrants() }
    share.charge = bytes
  }

  /// Ends streams until `bytes` are free; none if all of them were not enough.
  private func evict(_ bytes: Int, for claimant: Share, _ eviction: Eviction) -> Bool {
    guard eviction != .nothing else { return false }
    var most = 0
    for share in shares.values where share !== claimant && (share.isIdle || eviction == .frames) {
      most += share.charge
    }
    guard most >= bytes else { return false }
    var freed = 0
    while freed < bytes, let victim = next(for: claimant, eviction) {
      freed += victim.charge
      evict(victim)
    }
    return freed >= bytes
  }

  /// Idle ones come first.
  private func next(for claimant: Share, _ eviction: Eviction) -> Share? {
    var found: Share?
    for share in shares.values where share !== claimant && (share.isIdle || eviction == .frames && share.charge > 0) {
      guard let best = found else {
        found = share
        continue
      }
      if (share.progress ?? 0, share.number) < (best.progress ?? 0, best.number) { found = share }
    }
    return found
  }

  private func evict(_ share: Share) {
    if share.isIdle { counters.idleEvicted += 1 } else { counters.framesEvicted += 1 }
    share.stream.fail(.evicted)
  }

  private func leave(_ share: Share) {
    guard shares.removeValue(forKey: share.number) != nil else { return }
    stopWaiting(share)
    charge(share, 0)
  }

  // MARK: Waiting

  private func wait(_ share: Share, for bytes: Int, isLarge: Bool) {
    guard shares[share.number] != nil else { return }
    share.wanted = bytes
    share.isLarge = isLarge
    waiting[share.number] = share
    armStallTimer()
  }

  private func stopWaiting(_ share: Share) {
    guard waiting.removeValue(forKey: share.number) != nil, waiting.isEmpty else { return }
    stallTimer?.cancel()
    stallTimer = nil
  }

  private func scheduleGrants() {
    guard !grantIsScheduled, !waiting.isEmpty else { return }
    grantIsScheduled = true
    environment.defer { [self] in
      grantIsScheduled = false
      // The least first: most streams can go on. Where one finds no room, no larger one does.
      for isLarge in [false, true] {
        let asking = waiting.values.filter { $0.isLarge == isLarge }
          .sorted { ($0.wanted, $0.number) < ($1.wanted, $1.number) }
        for share in asking where waiting[share.number] != nil {
          share.stream.askForMemory()
          if waiting[share.number] != nil { break }
        }
      }
    }
  }

  /// Begun frames, those first that have not got on for the longest time.
  private func armStallTimer() {
    guard stallTimer == nil, !waiting.isEmpty else { return }
    let since = shares.values.compactMap(\.progress).min() ?? environment.now
    let waited = (environment.now - since) / 1_000
    stallTimer = environment.schedule(after: waited < Limits.Stranger.stall ? Limits.Stranger.stall - waited : 0) {
      [weak self] in self?.stallExpired()
    }
  }

  private func stallExpired() {
    stallTimer = nil
    let stalled = shares.values.filter { share in
      share.progress.map { environment.now - $0 >= Limits.Stranger.stall * 1_000 } ?? false
    }
    stalled.max { ($0.charge, $1.number) < ($1.charge, $0.number) }.map(evict)
    // Streams that wait are asked before the timer looks again.
    environment.defer { [weak self] in self?.armStallTimer() }
  }
}
