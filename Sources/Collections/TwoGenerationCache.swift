import HyperEncoding

/// A bounded map whose entries live in a young and an old generation (hyperdht.md 5.1 and 12.1).
///
/// Writing puts an entry into the young generation, reading moves it there, so use extends life. A generation that
/// holds its maximum of entries is rotated at once, so there are always fewer than twice as many. Pinned entries are
/// outside all this.
///
/// Beyond the reference: a generation also has a byte budget, and a host that holds more than a share of a full one
/// makes room itself, so that a few sources cannot push out the entries of all the others (see ``HeavyHosts``).
package struct TwoGenerationCache<Key: Hashable, Value> {
  package struct Bounds: Sendable {
    /// Entries per generation.
    package var maximumEntries: Int
    /// Bytes per generation as stated by the writers; 0 for no budget.
    package var maximumBytes: Int
    /// Entries and bytes of both generations that a host keeps for certain when one is full; 0 for no share. What is
    /// above makes room for newcomers.
    package var entriesPerHost: Int
    package var bytesPerHost: Int
    /// Milliseconds; 0 for no age.
    package var maximumAge: UInt64

    package init(
      maximumEntries: Int, maximumBytes: Int = 0, entriesPerHost: Int = 0, bytesPerHost: Int = 0, maximumAge: UInt64
    ) {
      self.maximumEntries = max(maximumEntries, 1)
      self.maximumBytes = maximumBytes
      self.entriesPerHost = entriesPerHost
      self.bytesPerHost = bytesPerHost
      self.maximumAge = maximumAge
    }
  }

  @usableFromInline struct Entry {
    @usableFromInline var value: Value
    @usableFromInline var bytes: Int
    @usableFromInline var host: IPv4Address?

    @inlinable init(value: Value, bytes: Int, host: IPv4Address?) {
      self.value = value
      self.bytes = bytes
      self.host = host
    }
  }

  @usableFromInline struct Generation: CacheGeneration {
    @usableFromInline var entries: [Key: Entry] = [:]
    @usableFromInline var bytes = 0
    @usableFromInline var hosts: [IPv4Address: HostUsage] = [:]

    @inlinable init() {}

    @inlinable mutating func insert(_ key: Key, _ entry: Entry) {
      remove(key)
      entries[key] = entry
      bytes += entry.bytes
      if let host = entry.host {
        hosts[host, default: HostUsage()].entries += 1
        hosts[host, default: HostUsage()].bytes += entry.bytes
      }
    }

    @discardableResult
    @inlinable mutating func remove(_ key: Key) -> Entry? {
      guard let entry = entries.removeValue(forKey: key) else { return nil }
      bytes -= entry.bytes
      if let host = entry.host, let usage = hosts[host] {
        hosts[host] =
          usage.entries > 1 ? HostUsage(entries: usage.entries - 1, bytes: usage.bytes - entry.bytes) : nil
      }
      return entry
    }
  }

  package let bounds: Bounds
  @usableFromInline var pinned: [Key: Value] = [:]
  @usableFromInline var generations: TwoGenerations<Generation>
  @usableFromInline var heavyHosts: HeavyHosts<Key>

  package init(_ bounds: Bounds, now: UInt64) {
    self.bounds = bounds
    heavyHosts = HeavyHosts(share: HostUsage(entries: bounds.entriesPerHost, bytes: bounds.bytesPerHost))
    generations = TwoGenerations(maximumAge: bounds.maximumAge, now: now)
  }

  /// Entries of both generations and pinned ones.
  package var count: Int { pinned.count + generations.young.entries.count + generations.old.entries.count }
  /// Bytes of both generations.
  package var bytes: Int { generations.young.bytes + generations.old.bytes }
  /// Whether entries have been forgotten for newer ones lately, rather than for their age.
  package func isCrowded(at now: UInt64) -> Bool { generations.hasRotatedBySize(at: now) }

  /// The pinned value, else the cached one, which becomes young.
  @inlinable package mutating func get(_ key: Key, now: UInt64) -> Value? {
    if let value = pinned[key] { return value }
    generations.expire(now)
    if let entry = generations.young.entries[key] { return entry.value }
    guard let entry = generations.old.remove(key) else { return nil }
    insert(key, entry)
    return entry.value
  }

  /// The value, without extending its life.
  @inlinable package func peek(_ key: Key, now: UInt64) -> Value? {
    if let value = pinned[key] { return value }
    switch generations.rotationsDue(at: now) {
    case 0: return generations.young.entries[key]?.value ?? generations.old.entries[key]?.value
    case 1: return generations.young.entries[key]?.value
    default: return nil
    }
  }

  /// Writes a value. `host` is the source that it is charged to, `bytes` its size.
  /// - Returns: false when nothing was stored: the key is pinned, or the value is larger than the budget.
  @discardableResult
  @inlinable package mutating func set(
    _ key: Key, _ value: Value, bytes: Int = 0, host: IPv4Address? = nil, now: UInt64
  ) -> Bool {
    guard pinned[key] == nil else { return false }
    generations.expire(now)
    if bounds.maximumBytes > 0, bytes > bounds.maximumBytes { return false }
    generations.old.remove(key)
    insert(key, Entry(value: value, bytes: bytes, host: host))
    return true
  }

  /// Forgets a cached entry. Pinned entries stay.
  @discardableResult
  @inlinable package mutating func remove(_ key: Key) -> Value? {
    let current = generations.young.remove(key)
    let former = generations.old.remove(key)
    return (current ?? former)?.value
  }

  /// Puts a value that only ``unpin(_:)`` removes; cached entries of the key are forgotten.
  package mutating func pin(_ key: Key, _ value: Value) {
    remove(key)
    pinned[key] = value
  }

  @discardableResult
  package mutating func unpin(_ key: Key) -> Value? { pinned.removeValue(forKey: key) }

  /// Forgets everything, pinned entries too.
  package mutating func removeAll() {
    pinned = [:]
    generations.removeAll()
  }

  @inlinable mutating func insert(_ key: Key, _ entry: Entry) {
    generations.young.remove(key)
    makeRoom(for: entry)
    generations.young.insert(key, entry)
    if generations.young.entries.count >= bounds.maximumEntries { generations.rotateBySize() }
  }

  @usableFromInline mutating func makeRoom(for entry: Entry) {
    var finder = HeavyHosts<Key>(share: heavyHosts.share)
    while isOutOfBytes(for: entry) || generations.young.entries.count + 1 >= bounds.maximumEntries {
      swap(&finder, &heavyHosts)
      let key = finder.next(
        newcomer: entry.host, rotation: generations.rotations, usage: { usage(of: $0) },
        isYoung: { generations.young.entries[$0] != nil },
        keys: { generations.young.entries.compactMap { key, entry in entry.host.map { ($0, key) } } })
      swap(&finder, &heavyHosts)
      guard let key else { break }
      generations.young.remove(key)
    }
    if isOutOfBytes(for: entry) { generations.rotateBySize() }
  }

  private func isOutOfBytes(for entry: Entry) -> Bool {
    bounds.maximumBytes > 0 && generations.young.bytes + entry.bytes > bounds.maximumBytes
  }

  private func usage(of host: IPv4Address) -> (young: HostUsage, both: HostUsage) {
    let young = generations.young.hosts[host] ?? HostUsage()
    let old = generations.old.hosts[host] ?? HostUsage()
    return (young, HostUsage(entries: young.entries + old.entries, bytes: young.bytes + old.bytes))
  }
}
