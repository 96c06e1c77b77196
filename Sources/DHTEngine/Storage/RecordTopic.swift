import HyperEncoding
import HyperEnvironment

/// One announced peer of one topic.
struct StoredRecord {
  var publicKey: Bytes32
  /// The encoded ``PeerRecord``.
  var bytes: [UInt8]
  /// Where the announce came from.
  var host: IPv4Address?
}

/// The records of one topic: an array to draw from, and where each key is in it.
struct RecordTopic {
  private(set) var records: [StoredRecord] = []
  private var positions: [Bytes32: Int] = [:]
  /// Of a topic with many records; those of others are listed when needed.
  private var index: RecordHosts?

  var isEmpty: Bool { records.isEmpty }

  func contains(_ key: Bytes32) -> Bool { positions[key] != nil }

  func bytes(of key: Bytes32) -> [UInt8]? { positions[key].map { records[$0].bytes } }

  /// The keys by host.
  var hosts: RecordHosts { index ?? RecordHosts(records) }

  mutating func replace(_ key: Bytes32, with bytes: [UInt8]) {
    if let position = positions[key] { records[position].bytes = bytes }
  }

  mutating func append(_ record: StoredRecord) {
    positions[record.publicKey] = records.count
    records.append(record)
    if index == nil, records.count >= Limits.Storage.indexedTopic {
      index = RecordHosts(records)
    } else {
      index?.append(record.publicKey, of: record.host)
    }
  }

  mutating func remove(_ key: Bytes32) -> StoredRecord? {
    guard let position = positions.removeValue(forKey: key) else { return nil }
    let record = records[position]
    let last = records.removeLast()
    if position < records.count {
      records[position] = last
      positions[last.publicKey] = position
    }
    index?.remove(key, of: record.host)
    return record
  }

  /// The record of a full topic that makes room for one of `host`: of the host with most records among those of a few
  /// draws and `host` itself.
  func keyToReplace(for host: IPv4Address?, random: any Environment) -> Bytes32 {
    let hosts = hosts
    let draw = { (count: Int) in Int(random.random(below: UInt32(clamping: count))) }
    var best = records[draw(records.count)]
    for _ in 1..<Limits.Storage.evictionDraws {
      let other = records[draw(records.count)]
      if hosts.count(of: other.host) > hosts.count(of: best.host) { best = other }
    }
    if let host, hosts.count(of: host) >= hosts.count(of: best.host), let own = hosts.keys[host]?.keys, !own.isEmpty {
      return own[draw(own.count)]
    }
    return best.publicKey
  }
}

/// The keys of a topic by the hosts that announced them.
struct RecordHosts {
  /// Hosts with records, to draw from.
  private(set) var hosts: [IPv4Address] = []
  private(set) var keys: [IPv4Address: (position: Int, keys: [Bytes32])] = [:]
  /// Keys that no host is charged for.
  private(set) var hostless: [Bytes32] = []
  /// Where a key is among those of its host, or among those without.
  private var places: [Bytes32: Int] = [:]

  init(_ records: [StoredRecord]) {
    for record in records { append(record.publicKey, of: record.host) }
  }

  /// A record without a host stands for itself.
  func count(of host: IPv4Address?) -> Int { host.map { keys[$0]?.keys.count ?? 0 } ?? 1 }

  mutating func append(_ key: Bytes32, of host: IPv4Address?) {
    guard let host else {
      places[key] = hostless.count
      hostless.append(key)
      return
    }
    if keys[host] == nil {
      keys[host] = (hosts.count, [])
      hosts.append(host)
    }
    places[key] = keys[host]?.keys.count
    keys[host]?.keys.append(key)
  }

  mutating func remove(_ key: Bytes32, of host: IPv4Address?) {
    guard let place = places.removeValue(forKey: key) else { return }
    guard let host else {
      let last = hostless.removeLast()
      if place < hostless.count {
        hostless[place] = last
        places[last] = place
      }
      return
    }
    guard var entry = keys.removeValue(forKey: host) else { return }
    let lastKey = entry.keys.removeLast()
    if place < entry.keys.count {
      entry.keys[place] = lastKey
      places[lastKey] = place
    }
    guard entry.keys.isEmpty else {
      keys[host] = entry
      return
    }
    let last = hosts.removeLast()
    if entry.position < hosts.count {
      hosts[entry.position] = last
      keys[last]?.position = entry.position
    }
  }
}
