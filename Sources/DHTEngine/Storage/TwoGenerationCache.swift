import HyperEncoding

/// A bounded map whose entries live in a young and an old generation (hyperdht.md 5.1 and 12.1).
///
/// Writing puts an entry into the young generation, reading moves it there, so use extends life. When the young
/// generation is full, or two thirds of the maximal age have passed, the old one is forgotten and the young one becomes
/// the old one: an untouched entry lives between 2/3 and 4/3 of the age, and there are at most twice the limit of
/// entries. Pinned entries are outside all this.
///
/// Beyond the reference: a generation also has a byte budget, and one host may hold only a share of it, so that a single
/// source cannot push out everybody else. The caller passes the time (milliseconds, monotonic) with every call.
package struct TwoGenerationCache<Key: Hashable, Value> {
  package struct Limits: Sendable {
    /// Entries per generation.
    package var maximumEntries: Int
    /// Bytes per generation as stated by the writers; 0 for no budget.
    package var maximumBytes: Int
    /// Entries per generation that one host may write; 0 for no limit.
    package var maximumEntriesPerHost: Int
    /// Milliseconds; 0 for no age.
    package var maximumAge: UInt64

    package init(maximumEntries: Int, maximumBytes: Int = 0, maximumEntriesPerHost: Int = 0, maximumAge: UInt64) {
      self.maximumEntries = max(maximumEntries, 1)
      self.maximumBytes = maximumBytes
      self.maximumEntriesPerHost = maximumEntriesPerHost
      self.maximumAge = maximumAge
    }
  }

  private struct Entry {
    var value: Value
    var bytes: Int
    var host: IPv4Address?
  }

  private struct Generation {
    var entries: [Key: Entry] = [:]
    var bytes = 0
    var hosts: [IPv4Address: Int] = [:]

    mutating func insert(_ key: Key, _ entry: Entry) {
      remove(key)
      entries[key] = entry
      bytes += entry.bytes
      if let host = entry.host { hosts[host, default: 0] += 1 }
    }

    @discardableResult
    mutating func remove(_ key: Key) -> Entry? {
      guard let entry = entries.removeValue(forKey: key) else { return nil }
      bytes -= entry.bytes
      if let host = entry.host, let count = hosts[host] { hosts[host] = count > 1 ? count - 1 : nil }
      return entry
    }
  }

  package let limits: Limits
  private var pinned: [Key: Value] = [:]
  private var young = Generation()
  private var old = Generation()
  private var clock: GenerationClock

  package init(limits: Limits, now: UInt64) {
    self.limits = limits
    clock = GenerationClock(maximumAge: limits.maximumAge, now: now)
  }

  /// Entries of both generations and pinned ones.
  package var count: Int { pinned.count + young.entries.count + old.entries.count }
  /// Bytes of both generations.
  package var bytes: Int { young.bytes + old.bytes }

  /// The pinned value, else the cached one, which becomes young.
  package mutating func get(_ key: Key, now: UInt64) -> Value? {
    if let value = pinned[key] { return value }
    expire(now)
    if let entry = young.entries[key] { return entry.value }
    guard let entry = old.remove(key) else { return nil }
    insert(key, entry)
    return entry.value
  }

  /// The value without touching it.
  package mutating func peek(_ key: Key, now: UInt64) -> Value? {
    if let value = pinned[key] { return value }
    expire(now)
    return young.entries[key]?.value ?? old.entries[key]?.value
  }

  /// Writes a value; ignored when the key is pinned. `host` is who wrote it, `bytes` what it weighs.
  /// - Returns: false when nothing was stored: the key is pinned, the value is larger than the budget, or the host has
  ///   used up its share (rewriting a key it already holds is always possible).
  @discardableResult
  package mutating func set(
    _ key: Key, _ value: Value, bytes: Int = 0, host: IPv4Address? = nil, now: UInt64
  ) -> Bool {
    guard pinned[key] == nil else { return false }
    expire(now)
    if limits.maximumBytes > 0, bytes > limits.maximumBytes { return false }
    if limits.maximumEntriesPerHost > 0, let host, young.entries[key]?.host != host,
      (young.hosts[host] ?? 0) >= limits.maximumEntriesPerHost
    {
      return false
    }
    old.remove(key)
    insert(key, Entry(value: value, bytes: bytes, host: host))
    return true
  }

  /// Forgets a cached entry. Pinned entries stay.
  @discardableResult
  package mutating func remove(_ key: Key) -> Value? {
    let current = young.remove(key)
    let former = old.remove(key)
    return (current ?? former)?.value
  }

  /// Puts a value that only ``unpin(_:)`` removes; cached entries of the key are forgotten.
  package mutating func pin(_ key: Key, _ value: Value) {
    remove(key)
    pinned[key] = value
  }

  @discardableResult
  package mutating func unpin(_ key: Key) -> Value? { pinned.removeValue(forKey: key) }

  package func isPinned(_ key: Key) -> Bool { pinned[key] != nil }

  /// Forgets everything, pinned entries too.
  package mutating func removeAll() {
    pinned = [:]
    young = Generation()
    old = Generation()
  }

  /// Drops what has become too old. All other calls do this by themselves.
  package mutating func expire(_ now: UInt64) {
    for _ in 0..<clock.rotationsDue(now) { rotate() }
  }

  private mutating func insert(_ key: Key, _ entry: Entry) {
    if limits.maximumBytes > 0, young.bytes + entry.bytes > limits.maximumBytes {
      rotate()
      clock.didRotateBySize()
    }
    young.insert(key, entry)
    if young.entries.count >= limits.maximumEntries {
      rotate()
      clock.didRotateBySize()
    }
  }

  private mutating func rotate() {
    old = young
    young = Generation()
  }
}

/// When generations rotate: every ceil(2/3 of the age), unless a rotation by size has happened since the last tick.
struct GenerationClock {
  private let interval: UInt64
  private var nextTick: UInt64
  private var rotatedBySize = false

  init(maximumAge: UInt64, now: UInt64) {
    interval = maximumAge == 0 ? 0 : (maximumAge &* 2 &+ 2) / 3
    nextTick = now &+ interval
  }

  mutating func didRotateBySize() { rotatedBySize = true }

  /// Rotations to do now, at most 2 (which forget everything), however long nobody has asked.
  mutating func rotationsDue(_ now: UInt64) -> Int {
    guard interval > 0, now >= nextTick else { return 0 }
    let ticks = 1 &+ (now &- nextTick) / interval
    nextTick = nextTick &+ ticks &* interval
    let rotations = rotatedBySize ? ticks &- 1 : ticks
    rotatedBySize = false
    return Int(min(rotations, 2))
  }
}
