import HyperEncoding

/// A bounded map whose entries live in a young and an old generation (hyperdht.md 5.1 and 12.1).
///
/// Writing puts an entry into the young generation, reading moves it there, so use extends life. A generation that
/// holds its maximum of entries is rotated at once, so there are always fewer than twice as many. Pinned entries are
/// outside all this.
///
/// Beyond the reference: a generation also has a byte budget, and one host may hold only a share of it, so that a
/// single source cannot push out the entries of all the others.
package struct TwoGenerationCache<Key: Hashable, Value> {
  package struct Bounds: Sendable {
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
    @usableFromInline var hosts: [IPv4Address: Int] = [:]

    @inlinable init() {}

    @inlinable mutating func insert(_ key: Key, _ entry: Entry) {
      remove(key)
      entries[key] = entry
      bytes += entry.bytes
      if let host = entry.host { hosts[host, default: 0] += 1 }
    }

    @discardableResult
    @inlinable mutating func remove(_ key: Key) -> Entry? {
      guard let entry = entries.removeValue(forKey: key) else { return nil }
      bytes -= entry.bytes
      if let host = entry.host, let count = hosts[host] { hosts[host] = count > 1 ? count - 1 : nil }
      return entry
    }
  }

  package let bounds: Bounds
  @usableFromInline var pinned: [Key: Value] = [:]
  @usableFromInline var generations: TwoGenerations<Generation>

  package init(_ bounds: Bounds, now: UInt64) {
    self.bounds = bounds
    generations = TwoGenerations(maximumAge: bounds.maximumAge, now: now)
  }

  /// Entries of both generations and pinned ones.
  package var count: Int { pinned.count + generations.young.entries.count + generations.old.entries.count }
  /// Bytes of both generations.
  package var bytes: Int { generations.young.bytes + generations.old.bytes }

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
  /// - Returns: false when nothing was stored: the key is pinned, the value is larger than the budget, or the host has
  ///   used up its share (rewriting a key it already has in the young generation is always possible).
  @discardableResult
  @inlinable package mutating func set(
    _ key: Key, _ value: Value, bytes: Int = 0, host: IPv4Address? = nil, now: UInt64
  ) -> Bool {
    guard pinned[key] == nil else { return false }
    generations.expire(now)
    if bounds.maximumBytes > 0, bytes > bounds.maximumBytes { return false }
    if bounds.maximumEntriesPerHost > 0, let host, generations.young.entries[key]?.host != host,
      (generations.young.hosts[host] ?? 0) >= bounds.maximumEntriesPerHost
    {
      return false
    }
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
    if bounds.maximumBytes > 0, generations.young.bytes + entry.bytes > bounds.maximumBytes {
      generations.rotateBySize()
    }
    generations.young.insert(key, entry)
    if generations.young.entries.count >= bounds.maximumEntries { generations.rotateBySize() }
  }
}
