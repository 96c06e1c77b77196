import HyperEncoding

/// What one host holds of a bounded store.
public struct HostUsage: Hashable {
  public var entries: Int
  public var bytes: Int

  @inlinable public init(entries: Int = 0, bytes: Int = 0) {
    self.entries = entries
    self.bytes = bytes
  }

  /// Whether one of the two is above its bound; 0 stands for no bound.
  public func exceeds(_ share: HostUsage) -> Bool {
    share.entries > 0 && entries > share.entries || share.bytes > 0 && bytes > share.bytes
  }

  /// The part of the share that is used, in thousandths, of entries or bytes, whichever is more.
  func weight(in share: HostUsage) -> Int {
    max(
      share.entries > 0 ? entries * 1000 / share.entries : 0, share.bytes > 0 ? bytes * 1000 / share.bytes : 0)
  }
}

/// Finds what makes room in a full young generation: an entry of the host that holds most, if that is more than a share
/// of both generations together. So a share says nothing before the store is full, and no few hosts can make it forget
/// the entries of all others.
///
/// The keys of heavy hosts are collected in one pass over the generation, which as many evictions or insertions as half
/// a share pay for: the cost of one is constant on average.
public struct HeavyHosts<Key> {
  public let share: HostUsage
  @usableFromInline var candidates: [IPv4Address: [Key]] = [:]
  @usableFromInline var rotation: UInt64?

  @inlinable public init(share: HostUsage) { self.share = share }

  /// The key of an entry of the heaviest host, which the caller removes; `nil` when no host is over its share.
  /// - Parameters:
  ///   - newcomer: the host of the entry that wants a place, and the only one that has grown since the last call.
  ///   - rotation: a number that changes with every rotation.
  ///   - usage: what a host holds in the young generation, and in both.
  ///   - isYoung: whether a key is still in the young generation.
  ///   - keys: all keys of the young generation with their hosts.
  public mutating func next(
    newcomer: IPv4Address?, rotation: UInt64, usage: (IPv4Address) -> (young: HostUsage, both: HostUsage),
    isYoung: (Key) -> Bool, keys: () -> [(IPv4Address, Key)]
  ) -> Key? {
    guard share.entries > 0 || share.bytes > 0 else { return nil }
    let share = share
    func isHeavy(_ host: IPv4Address) -> Bool {
      let (young, both) = usage(host)
      return both.exceeds(share) && young.weight(in: share) >= 500
    }
    let isUnknown = newcomer.map { candidates[$0] == nil && isHeavy($0) } ?? false
    if self.rotation != rotation || isUnknown {
      self.rotation = rotation
      collect(usage, keys)
    }
    for isLastPass in [false, true] {
      let heavy = candidates.keys.filter(isHeavy)
        .map { (weight: usage($0).both.weight(in: share), host: $0) }
        .sorted { ($0.weight, $0.host.value) > ($1.weight, $1.host.value) }
      guard !heavy.isEmpty else { return nil }
      for (_, host) in heavy {
        while let key = candidates[host]?.popLast() {
          if isYoung(key) { return key }
        }
      }
      // What they hold now has come after the last pass.
      if !isLastPass { collect(usage, keys) }
    }
    return nil
  }

  /// The keys of all hosts that have half a share or more in the young generation.
  private mutating func collect(
    _ usage: (IPv4Address) -> (young: HostUsage, both: HostUsage), _ keys: () -> [(IPv4Address, Key)]
  ) {
    candidates = [:]
    var light: Set<IPv4Address> = []
    for (host, key) in keys() where !light.contains(host) {
      if candidates[host] == nil, usage(host).young.weight(in: share) < 500 {
        light.insert(host)
      } else {
        candidates[host, default: []].append(key)
      }
    }
  }
}
