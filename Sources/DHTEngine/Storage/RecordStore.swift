import HyperCollections
import HyperEncoding
import HyperEnvironment

/// Announced peers per topic, in two generations without touch on read (hyperdht.md 12.1, 12.2 and 12.5).
///
/// One host may announce many peers. A topic or a generation that is full makes room at the cost of the hosts with most
/// records, and a reply draws hosts before records, so that no host can drown the others (hyperdht.md B-10).
package struct RecordStore {
  package struct Bounds: Sendable {
    package var maximumRecords = Limits.Storage.records
    /// 0 for no limit.
    package var maximumRecordsPerTopic = Limits.Storage.recordsPerTopic
    /// What one host keeps of both generations when one is full; 0 for no share.
    package var recordsPerHost = Limits.Storage.recordsPerHost
    /// Milliseconds.
    package var maximumAge = Limits.Storage.age
    /// Whether a peer that announces a changed record replaces its fresh one (the reference keeps the first).
    package var replacesChangedRecords = true

    package init() {}
  }

  private struct Generation: CacheGeneration {
    var topics: [Bytes32: RecordTopic] = [:]
    var count = 0
    var hosts: [IPv4Address: Int] = [:]

    mutating func append(_ record: StoredRecord, to target: Bytes32) {
      topics[target, default: RecordTopic()].append(record)
      count += 1
      if let host = record.host { hosts[host, default: 0] += 1 }
    }

    @discardableResult
    mutating func remove(_ key: Bytes32, from target: Bytes32) -> StoredRecord? {
      guard let record = topics[target]?.remove(key) else { return nil }
      if topics[target]?.isEmpty == true { topics[target] = nil }
      count -= 1
      if let host = record.host, let left = hosts[host] { hosts[host] = left > 1 ? left - 1 : nil }
      return record
    }

    var keys: [(IPv4Address, RecordKey)] {
      topics.flatMap { target, topic in
        topic.records.compactMap { record in
          record.host.map { ($0, RecordKey(target: target, publicKey: record.publicKey)) }
        }
      }
    }
  }

  private struct RecordKey {
    var target: Bytes32
    var publicKey: Bytes32
  }

  package let bounds: Bounds
  private var generations: TwoGenerations<Generation>
  private var heavyHosts: HeavyHosts<RecordKey>

  package init(_ bounds: Bounds, now: UInt64) {
    self.bounds = bounds
    generations = TwoGenerations(maximumAge: bounds.maximumAge, now: now)
    heavyHosts = HeavyHosts(share: HostUsage(entries: bounds.recordsPerHost))
  }

  /// Records of both generations.
  package var count: Int { generations.young.count + generations.old.count }

  /// Adds the encoded record of `publicKey`. A key of the old generation moves to the young one with the new record.
  package mutating func add(
    _ record: [UInt8], publicKey: Bytes32, target: Bytes32, host: IPv4Address?, now: UInt64, random: any Environment
  ) {
    generations.expire(now)
    if generations.young.topics[target]?.contains(publicKey) == true {
      if bounds.replacesChangedRecords { generations.young.topics[target]?.replace(publicKey, with: record) }
      return
    }
    generations.old.remove(publicKey, from: target)
    if let key = keyToReplace(in: target, for: host, random) { generations.young.remove(key, from: target) }
    if generations.young.count + 1 >= bounds.maximumRecords { makeRoom(for: host) }
    generations.young.append(StoredRecord(publicKey: publicKey, bytes: record, host: host), to: target)
    if generations.young.count >= bounds.maximumRecords { generations.rotateBySize() }
  }

  /// The record of a full topic that makes room.
  private func keyToReplace(in target: Bytes32, for host: IPv4Address?, _ random: any Environment) -> Bytes32? {
    guard bounds.maximumRecordsPerTopic > 0, let topic = generations.young.topics[target],
      topic.records.count >= bounds.maximumRecordsPerTopic
    else { return nil }
    return topic.keyToReplace(for: host, random: random)
  }

  private mutating func makeRoom(for host: IPv4Address?) {
    var finder = HeavyHosts<RecordKey>(share: heavyHosts.share)
    swap(&finder, &heavyHosts)
    let victim = finder.next(
      newcomer: host, rotation: generations.rotations,
      usage: { host in
        let young = generations.young.hosts[host] ?? 0
        return (HostUsage(entries: young), HostUsage(entries: young + (generations.old.hosts[host] ?? 0)))
      },
      isYoung: { generations.young.topics[$0.target]?.contains($0.publicKey) == true },
      keys: { generations.young.keys })
    swap(&finder, &heavyHosts)
    if let victim { generations.young.remove(victim.publicKey, from: victim.target) }
  }

  package mutating func remove(publicKey: Bytes32, target: Bytes32) {
    generations.young.remove(publicKey, from: target)
    generations.old.remove(publicKey, from: target)
  }

  /// Up to `maximumCount` encoded records of the topic, drawn without replacement from both generations, hosts first,
  /// in random order.
  package mutating func sample(
    target: Bytes32, maximumCount: Int, now: UInt64, random: any Environment
  ) -> [[UInt8]] {
    generations.expire(now)
    return RecordSample(
      [generations.young.topics[target], generations.old.topics[target]].compactMap { $0 }, random: random
    ).draw(maximumCount)
  }

  package mutating func removeAll() { generations.removeAll() }
}
