import HyperCollections
import HyperEncoding
import HyperEnvironment

/// Announced peers per topic, in two generations without touch on read (hyperdht.md 12.1, 12.2 and 12.5).
package struct RecordStore {
  package struct Bounds: Sendable {
    package var maximumRecords = Limits.Storage.records
    /// 0 for no limit.
    package var maximumRecordsPerTopic = Limits.Storage.recordsPerTopic
    /// 0 for no limit.
    package var maximumRecordsPerHost = Limits.Storage.recordsPerHost
    /// Milliseconds.
    package var maximumAge = Limits.Storage.age
    /// Whether a peer that announces a changed record replaces its fresh one (the reference keeps the first).
    package var replacesChangedRecords = true

    package init() {}
  }

  private struct Record {
    var publicKey: Bytes32
    /// The encoded ``PeerRecord``.
    var bytes: [UInt8]
    var host: IPv4Address?
  }

  /// The records of one topic: an array to draw from, and where each key is in it.
  private struct Topic {
    var records: [Record] = []
    var positions: [Bytes32: Int] = [:]

    mutating func append(_ record: Record) {
      positions[record.publicKey] = records.count
      records.append(record)
    }

    mutating func remove(at index: Int) -> Record {
      let removed = records[index]
      positions[removed.publicKey] = nil
      let last = records.removeLast()
      if index < records.count {
        records[index] = last
        positions[last.publicKey] = index
      }
      return removed
    }

    mutating func remove(_ key: Bytes32) -> Record? { positions[key].map { remove(at: $0) } }
  }

  private struct Generation: CacheGeneration {
    var topics: [Bytes32: Topic] = [:]
    var count = 0
    var hosts: [IPv4Address: Int] = [:]

    mutating func append(_ record: Record, to target: Bytes32) {
      topics[target, default: Topic()].append(record)
      count += 1
      if let host = record.host { hosts[host, default: 0] += 1 }
    }

    @discardableResult
    mutating func remove(_ key: Bytes32, from target: Bytes32) -> Record? {
      guard let record = topics[target]?.remove(key) else { return nil }
      didRemove(record, from: target)
      return record
    }

    mutating func remove(at index: Int, from target: Bytes32) {
      guard let record = topics[target]?.remove(at: index) else { return }
      didRemove(record, from: target)
    }

    private mutating func didRemove(_ record: Record, from target: Bytes32) {
      if topics[target]?.records.isEmpty == true { topics[target] = nil }
      count -= 1
      if let host = record.host, let left = hosts[host] { hosts[host] = left > 1 ? left - 1 : nil }
    }
  }

  package let bounds: Bounds
  private var generations: TwoGenerations<Generation>

  package init(_ bounds: Bounds, now: UInt64) {
    self.bounds = bounds
    generations = TwoGenerations(maximumAge: bounds.maximumAge, now: now)
  }

  /// Records of both generations.
  package var count: Int { generations.young.count + generations.old.count }

  /// Adds the encoded record of `publicKey`. A key of the old generation moves to the young one with the new record.
  /// - Returns: false when the host has used up its share.
  @discardableResult
  package mutating func add(
    _ record: [UInt8], publicKey: Bytes32, target: Bytes32, host: IPv4Address?, now: UInt64, random: any Environment
  ) -> Bool {
    generations.expire(now)
    if let index = generations.young.topics[target]?.positions[publicKey] {
      if bounds.replacesChangedRecords { generations.young.topics[target]?.records[index].bytes = record }
      return true
    }
    if bounds.maximumRecordsPerHost > 0, let host, (generations.young.hosts[host] ?? 0) >= bounds.maximumRecordsPerHost
    {
      return false
    }
    generations.old.remove(publicKey, from: target)
    if bounds.maximumRecordsPerTopic > 0, let size = generations.young.topics[target]?.records.count,
      size >= bounds.maximumRecordsPerTopic
    {
      generations.young.remove(at: Int(random.random(below: UInt32(clamping: size))), from: target)
    }
    generations.young.append(Record(publicKey: publicKey, bytes: record, host: host), to: target)
    if generations.young.count >= bounds.maximumRecords {
      generations.rotateBySize()
    }
    return true
  }

  package mutating func remove(publicKey: Bytes32, target: Bytes32) {
    generations.young.remove(publicKey, from: target)
    generations.old.remove(publicKey, from: target)
  }

  /// Up to `maximumCount` encoded records of the topic, drawn without replacement from both generations, in random
  /// order.
  package mutating func sample(
    target: Bytes32, maximumCount: Int, now: UInt64, random: any Environment
  ) -> [[UInt8]] {
    generations.expire(now)
    let fresh = generations.young.topics[target]?.records ?? []
    let stale = generations.old.topics[target]?.records ?? []
    let total = fresh.count + stale.count
    let wanted = min(max(maximumCount, 0), total)
    // Floyd's sampling: as many draws as records wanted, however many there are.
    var chosen = Set<Int>()
    var order: [Int] = []
    for upper in (total - wanted)..<total {
      let draw = Int(random.random(below: UInt32(clamping: upper + 1)))
      let index = chosen.contains(draw) ? upper : draw
      chosen.insert(index)
      order.insert(index, at: Int(random.random(below: UInt32(clamping: order.count + 1))))
    }
    return order.map { $0 < fresh.count ? fresh[$0].bytes : stale[$0 - fresh.count].bytes }
  }

  package mutating func removeAll() { generations.removeAll() }
}
