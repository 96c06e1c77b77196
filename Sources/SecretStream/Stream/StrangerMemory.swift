import HyperEncoding
import HyperEnvironment

/// The memory that strangers share: peers that have dialled us and have not yet sent a message with content. Any number
/// of them costs at most `Limits.Stranger.memory` together (secret-stream.md 18).
///
/// A stranger that has not proved its key, or has begun a frame, has a place. When all places are taken a newcomer gets
/// that of another one: first of those that have begun nothing for long, then of the frame that has not got on for the
/// longest time, last of the oldest that has begun nothing. Of the last two, one of the host with most places, where
/// that is more than its share, so that a few hosts push out only each other. What a frame takes beyond the place is
/// claimed as it arrives; small frames have room of their own, which large ones cannot take. A frame that finds no room
/// waits with its window closed. While any waits, the largest one that has not got on for `Limits.Stranger.stall` ends.
///
/// One per node, confined to its loop. Held by its streams, which it does not hold.
package final class StrangerMemory {
  /// One stream's part.
  final class Share {
    fileprivate unowned let stream: EncryptedStream
    fileprivate let memory: StrangerMemory
    fileprivate let number: UInt64
    fileprivate var hasPlace = false
    /// Bytes beyond the place.
    fileprivate(set) var growth = 0
    fileprivate var isLarge = false
    /// Bytes that the frame waits for.
    fileprivate var wanted = 0
    /// Since when nothing is begun, microseconds.
    fileprivate var idleSince: UInt64
    /// When the begun frame got on last, microseconds; `nil` without one.
    var progress: UInt64? {
      didSet { if progress == nil, oldValue != nil { idleSince = memory.environment.now } }
    }

    fileprivate init(_ stream: EncryptedStream, _ memory: StrangerMemory, _ number: UInt64) {
      self.stream = stream
      self.memory = memory
      self.number = number
      idleSince = memory.environment.now
    }

    /// False if there is none and no other stranger to take it from.
    func takePlace() -> Bool { memory.takePlace(self) }

    /// Nothing is begun, and the peer has proved its key.
    func leavePlace() { memory.leavePlace(self) }

    /// The frame takes `bytes` beyond the place, if there is room.
    func grow(to bytes: Int, isLarge: Bool) -> Bool { memory.grow(self, to: bytes, isLarge: isLarge) }

    /// No frame is begun.
    func release() { memory.release(self) }

    /// The stream's window is closed until there are `bytes` for it.
    func wait(for bytes: Int) { memory.wait(self, for: bytes) }

    func stopWaiting() { memory.stopWaiting(self) }

    /// The peer is no stranger any more, or the stream closes.
    func leave() { memory.leave(self) }
  }

  /// Ends of streams.
  package struct Counters: Hashable, Sendable {
    package var idleEvicted: UInt64 = 0
    package var framesEvicted: UInt64 = 0
    package var framesTimedOut: UInt64 = 0
  }

  /// Bytes that strangers cost now.
  package var used: Int { places * Limits.Stranger.place + large + small }
  /// The most that it has been.
  package private(set) var peak = 0
  package internal(set) var counters = Counters()
  /// Streams that wait for memory.
  package var waitingCount: Int { waiting.count }
  /// Streams of strangers.
  package var count: Int { shares.count }

  private let environment: any Environment
  private var places = 0
  private var placesByHost: [IPv4Address: Int] = [:]
  private var large = 0
  private var small = 0
  private var shares: [UInt64: Share] = [:]
  private var waiting: [UInt64: Share] = [:]
  private var lastNumber: UInt64 = 0
  private var grantIsScheduled = false
  private var stallTimer: (any ScheduledAction)?

  package init(environment: any Environment) {
    Limits.check()
    self.environment = environment
  }

  func join(_ stream: EncryptedStream) -> Share {
    lastNumber += 1
    let share = Share(stream, self, lastNumber)
    shares[lastNumber] = share
    return share
  }

  private func leave(_ share: Share) {
    guard shares.removeValue(forKey: share.number) != nil else { return }
    stopWaiting(share)
    release(share)
    leavePlace(share)
  }

  // MARK: Places

  private func takePlace(_ share: Share) -> Bool {
    guard !share.hasPlace else { return true }
    if places == Limits.Stranger.places {
      guard let victim = cheapest() else { return false }
      evict(victim)
    }
    share.hasPlace = true
    places += 1
    if let host = share.stream.strangerHost { placesByHost[host, default: 0] += 1 }
    peak = max(peak, used)
    return true
  }

  private func leavePlace(_ share: Share) {
    guard share.hasPlace else { return }
    share.hasPlace = false
    places -= 1
    guard let host = share.stream.strangerHost, let count = placesByHost[host] else { return }
    placesByHost[host] = count > 1 ? count - 1 : nil
  }

  /// The stranger with a place that others lose least by.
  private func cheapest() -> Share? {
    let heavy = heaviestHost()
    var found: Share?
    var lowest = (Int.max, UInt64.max, UInt64.max)
    for share in shares.values where share.hasPlace {
      let rank = rank(share)
      let isHeavy = heavy != nil && share.stream.strangerHost == heavy
      let key = (rank == 0 || isHeavy ? rank : rank + 2, share.progress ?? share.idleSince, share.number)
      if key < lowest { (found, lowest) = (share, key) }
    }
    return found
  }

  /// The one with most places; `nil` while none has more than its share.
  private func heaviestHost() -> IPv4Address? {
    let heaviest = placesByHost.max { ($0.value, $1.key.value) < ($1.value, $0.key.value) }
    return heaviest.flatMap { $0.value > Limits.Stranger.placesPerHost ? $0.key : nil }
  }

  private func rank(_ share: Share) -> Int {
    if share.progress != nil { return 1 }
    return environment.now - share.idleSince >= Limits.Stranger.stall * 1_000 ? 0 : 2
  }

  private func evict(_ share: Share) {
    if share.progress == nil { counters.idleEvicted += 1 } else { counters.framesEvicted += 1 }
    share.stream.fail(.evicted)
  }

  // MARK: Growth

  private func grow(_ share: Share, to bytes: Int, isLarge: Bool) -> Bool {
    // Grows with one frame only: a frame that is complete ends it.
    share.isLarge = isLarge
    let more = bytes - share.growth
    let room = isLarge ? Limits.Stranger.largeMemory - large : Limits.Stranger.smallMemory - small
    guard share.hasPlace, more <= 0 || more <= room else { return false }
    share.growth = bytes
    if isLarge { large += more } else { small += more }
    peak = max(peak, used)
    return true
  }

  private func release(_ share: Share) {
    guard share.growth > 0 else { return }
    if share.isLarge { large -= share.growth } else { small -= share.growth }
    share.growth = 0
    scheduleGrants()
  }

  // MARK: Waiting

  private func wait(_ share: Share, for bytes: Int) {
    guard shares[share.number] != nil else { return }
    share.wanted = bytes
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

  /// For the frame that has not got on for the longest time.
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
    stalled.max { ($0.growth, $1.number) < ($1.growth, $0.number) }.map(evict)
    // Streams that wait are asked before the timer looks again.
    environment.defer { [weak self] in self?.armStallTimer() }
  }
}
