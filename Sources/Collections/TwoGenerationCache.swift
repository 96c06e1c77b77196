import HyperEncoding

/// A bounded map whose entries live in a young and an old generation (hyperdht.md 5.1 and 12.1).
///
/// Writing puts an entry into the young generation, reading moves it there, so use extends life. A generation that
/// holds its maximum of entries is rotated at once, so there are always fewer than twice as many. Pinned entries are
/// outside all this.
///
/// Beyond the reference: a generation also has a byte budget, and a host that holds more than a share of a full one
/// makes room itself, so that a few sources cannot push out the entries of all the others (see ``HeavyHosts``).
public struct TwoGenerationCache<Key: Hashable, Value> {
  public struct Bounds: Sendable {
    /// Entries per generation.
    public var maximumEntries: Int
    /// Bytes per generation as stated by the writers; 0 for no budget.
    public var maximumBytes: Int
    /// Entries and bytes of both generations that a host keeps for certain when one is full; 0 for no share. What is
    /// above makes room for newcomers.
    public var entriesPerHost: Int
    public var bytesPerHost: Int
    /// Milliseconds; 0 for no age.
    public var maximumAge: UInt64

    public init(
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

    /// Replaces a value of the same size and source, which changes no account; `false` without one.
    @inlinable mutating func replace(_ key: Key, _ entry: Entry) -> Bool {
      guard let index = entries.index(forKey: key), entries.values[index].bytes == entry.bytes,
        entries.values[index].host == entry.host
      else { return false }
      entries.values[index].value = entry.value
      return true
    }

    /// A key without an entry.
    @inlinable mutating func insert(_ key: Key, _ entry: Entry) {
      entries[key] = entry
      bytes += entry.bytes
      if let host = entry.host {
        let usage = hosts[host] ?? HostUsage()
        hosts[host] = HostUsage(entries: usage.entries + 1, bytes: usage.bytes + entry.bytes)
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

  public let bounds: Bounds
  @usableFromInline var pinned: [Key: Value] = [:]
  @usableFromInline var generations: TwoGenerations<Generation>
  @usableFromInline var heavyHosts: HeavyHosts<Key>

  public init(_ bounds: Bounds, now: UInt64) {
    self.bounds = bounds
    heavyHosts = HeavyHosts(share: HostUsage(entries: bounds.entriesPerHost, bytes: bounds.bytesPerHost))
    generations = TwoGenerations(maximumAge: bounds.maximumAge, now: now)
  }

  /// Entries of both generations and pinned ones.
  public var count: Int { pinned.count + generations.young.entries.count + generations.old.entries.count }
  /// Bytes of both generations.
  public var bytes: Int { generations.young.bytes + generations.old.bytes }
  /// Whether entries have been forgotten for newer ones lately, rather than for their age.
  public func isCrowded(at now: UInt64) -> Bool { generations.hasRotatedBySize(at: now) }

  /// The pinned value, else the cached one, which becomes young.
  @inlinable public mutating func get(_ key: Key, now: UInt64) -> Value? {
    if let value = pinnedValue(key) { return value }
    generations.expire(now)
    if let entry = generations.young.entries[key] { return entry.value }
    guard let entry = generations.old.remove(key) else { return nil }
    insert(key, entry)
    return entry.value
  }

  /// The value, without extending its life.
  @inlinable public func peek(_ key: Key, now: UInt64) -> Value? {
    if let value = pinnedValue(key) { return value }
    switch generations.rotationsDue(at: now) {
    case 0: return generations.young.entries[key]?.value ?? generations.old.entries[key]?.value
    case 1: return generations.young.entries[key]?.value
    default: return nil
    }
  }

  /// Writes a value. `host` is the source that it is charged to, `bytes` its size.
  /// - Returns: false when nothing was stored: the key is pinned, or the value is larger than the budget.
  @discardableResult
  @inlinable public mutating func set(
    _ key: Key, _ value: Value, bytes: Int = 0, host: IPv4Address? = nil, now: UInt64
  ) -> Bool {
    guard pinnedValue(key) == nil else { return false }
    generations.expire(now)
    if bounds.maximumBytes > 0, bytes > bounds.maximumBytes { return false }
    let entry = Entry(value: value, bytes: bytes, host: host)
    if generations.young.replace(key, entry) { return true }
    generations.old.remove(key)
    insert(key, entry)
    return true
  }

  /// Forgets a cached entry. Pinned entries stay.
  @discardableResult
  @inlinable public mutating func remove(_ key: Key) -> Value? {
    let current = generations.young.remove(key)
    let former = generations.old.remove(key)
    return (current ?? former)?.value
  }

  /// Puts a value that only ``unpin(_:)`` removes; cached entries of the key are forgotten.
  public mutating func pin(_ key: Key, _ value: Value) {
    remove(key)
    pinned[key] = value
  }

  @discardableResult
  public mutating func unpin(_ key: Key) -> Value? { pinned.removeValue(forKey: key) }

  /// Forgets everything, pinned entries too.
  public mutating func removeAll() {
    pinned = [:]
    generations.removeAll()
  }

  /// Most caches have none: no hash then.
  @inlinable func pinnedValue(_ key: Key) -> Value? { pinned.isEmpty ? nil : pinned[key] }

  @inlinable mutating func insert(_ key: Key, _ entry: Entry) {
    generations.young.remove(key)
    if isFull(for: entry) { makeRoom(for: entry) }
    generations.young.insert(key, entry)
    if generations.young.entries.count >= bounds.maximumEntries { generations.rotateBySize() }
  }

  @usableFromInline mutating func makeRoom(for entry: Entry) {
    var finder = HeavyHosts<Key>(share: heavyHosts.share)
    while isFull(for: entry) {
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

  @inlinable func isFull(for entry: Entry) -> Bool {
    isOutOfBytes(for: entry) || generations.young.entries.count + 1 >= bounds.maximumEntries
  }

  @inlinable func isOutOfBytes(for entry: Entry) -> Bool {
    bounds.maximumBytes > 0 && generations.young.bytes + entry.bytes > bounds.maximumBytes
  }

  private func usage(of host: IPv4Address) -> (young: HostUsage, both: HostUsage) {
    let young = generations.young.hosts[host] ?? HostUsage()
    let old = generations.old.hosts[host] ?? HostUsage()
    return (young, HostUsage(entries: young.entries + old.entries, bytes: young.bytes + old.bytes))
  }
}
