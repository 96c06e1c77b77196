import HyperEncoding
import HyperEnvironment

/// Draws the records of a reply: hosts first, so that a host with a thousand records is seen as often as one with a
/// few, and fills at most a part of the reply while others have records.
struct RecordSample {
  /// A record without a host stands for itself.
  private enum Source: Hashable {
    case host(IPv4Address)
    case record(Bytes32)
  }

  /// Of the young and the old generation; no key is in both.
  private let topics: [RecordTopic]
  private let hosts: [RecordHosts]
  private let random: any Environment

  init(_ topics: [RecordTopic], random: any Environment) {
    self.topics = topics
    hosts = topics.map(\.hosts)
    self.random = random
  }

  /// Up to `maximumCount` encoded records in random order.
  func draw(_ maximumCount: Int) -> [[UInt8]] {
    guard maximumCount > 0 else { return [] }
    var chosen: [[UInt8]] = []
    for (source, count) in quotas(maximumCount) {
      for key in pick(count, of: source) {
        guard let bytes = topics.lazy.compactMap({ $0.bytes(of: key) }).first else { continue }
        chosen.insert(bytes, at: below(chosen.count + 1))
      }
    }
    return chosen
  }

  // MARK: Sources

  /// How many records each of the drawn sources contributes.
  private func quotas(_ maximumCount: Int) -> [(Source, Int)] {
    let sources = drawSources(maximumCount)
    let held = sources.map { count(of: $0) }
    var quotas = [Int](repeating: 0, count: sources.count)
    var left = maximumCount
    // One of each in turn, up to the part of one host.
    for _ in 0..<max(maximumCount / Limits.Storage.replyPartPerHost, 1) where left > 0 {
      for index in sources.indices where left > 0 && quotas[index] < held[index] {
        quotas[index] += 1
        left -= 1
      }
    }
    // Room that is left belongs to the hosts with fewest records; that with most comes last.
    for index in sources.indices.sorted(by: { held[$0] < held[$1] }) where left > 0 {
      let more = min(held[index] - quotas[index], left)
      quotas[index] += more
      left -= more
    }
    return Array(zip(sources, quotas))
  }

  /// Up to `maximumCount` different sources in random order.
  private func drawSources(_ maximumCount: Int) -> [Source] {
    let sizes = hosts.map { $0.hosts.count + $0.hostless.count }
    let total = sizes.reduce(0, +)
    var drawn: [Source] = []
    var seen: Set<Source> = []
    // A host of both generations has two places, and counts in the first only.
    func take(_ index: Int) {
      guard drawn.count < maximumCount, let source = source(at: index, sizes), seen.insert(source).inserted else {
        return
      }
      drawn.append(source)
    }
    if total > 4 * maximumCount {
      // At least half of the places count, and few of those are taken: this ends with luck left over.
      for _ in 0..<16 * maximumCount where drawn.count < maximumCount { take(below(total)) }
    } else {
      var order = Array(0..<total)
      for index in order.indices { order.swapAt(index, index + below(total - index)) }
      for index in order { take(index) }
    }
    return drawn
  }

  private func source(at index: Int, _ sizes: [Int]) -> Source? {
    var place = index
    for (generation, list) in hosts.enumerated() {
      guard place >= sizes[generation] else {
        guard place < list.hosts.count else { return .record(list.hostless[place - list.hosts.count]) }
        let host = list.hosts[place]
        let isCounted = hosts[..<generation].contains { $0.keys[host] != nil }
        return isCounted ? nil : .host(host)
      }
      place -= sizes[generation]
    }
    return nil
  }

  // MARK: Records

  private func count(of source: Source) -> Int {
    guard case .host(let host) = source else { return 1 }
    return hosts.reduce(0) { $0 + $1.count(of: host) }
  }

  /// So many different keys of a source.
  private func pick(_ count: Int, of source: Source) -> [Bytes32] {
    guard count > 0 else { return [] }
    guard case .host(let host) = source else {
      if case .record(let key) = source { return [key] }
      return []
    }
    let lists = hosts.map { $0.keys[host]?.keys ?? [] }
    let total = lists.reduce(0) { $0 + $1.count }
    // Floyd's sampling: as many draws as records wanted, however many there are.
    var chosen: [Int] = []
    for upper in (total - min(count, total))..<total {
      let draw = below(upper + 1)
      chosen.append(chosen.contains(draw) ? upper : draw)
    }
    return chosen.map { index in
      var place = index
      for list in lists {
        if place < list.count { return list[place] }
        place -= list.count
      }
      preconditionFailure("an index below the sum of the counts")
    }
  }

  private func below(_ bound: Int) -> Int { Int(random.random(below: UInt32(clamping: bound))) }
}
