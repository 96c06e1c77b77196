import HyperEncoding

/// The answers nearest to a target, at most 20 (dht-rpc.md 20.2), of many subnets (dht-rpc.md C-10).
///
/// Members are chosen nearest first, as far as the quota of their IP address and /24 allows. Answers beyond it are
/// spares: they fill the set while there are not enough members (small networks behind one address), and never keep a
/// member out.
struct ClosestSet {
  /// A class, for every insertion moves all entries.
  private final class Entry {
    let distance: Bytes32
    let reply: Response

    init(distance: Bytes32, reply: Response) {
      self.distance = distance
      self.reply = reply
    }
  }

  private let isDiverse: Bool
  /// Ascending by distance, without duplicates.
  private var members: [Entry] = []
  private var spares: [Entry] = []
  var replies: [Response] {
    let chosen = members + spares.prefix(Limits.k - members.count)
    return chosen.sorted { $0.distance < $1.distance }.map(\.reply)
  }

  init(isDiverse: Bool) { self.isDiverse = isDiverse }

  /// Only a nearer member can still change the set.
  var isFull: Bool { members.count >= Limits.k }

  func isCloser(_ distance: Bytes32) -> Bool {
    guard isFull, let last = members.last else { return true }
    return distance < last.distance
  }

  mutating func insert(_ reply: Response, distance: Bytes32) {
    guard isCloser(distance) else { return }
    var all = members + spares
    guard !all.contains(where: { $0.distance == distance }) else { return }
    all.append(Entry(distance: distance, reply: reply))
    all.sort { $0.distance < $1.distance }
    var quota = SubnetQuota(.ofBucket)
    members = []
    spares = []
    for entry in all {
      let host = entry.reply.from.host
      if members.count < Limits.k, !isDiverse || quota.hasRoom(for: host) {
        quota.add(host)
        members.append(entry)
      } else if spares.count < Limits.k {
        spares.append(entry)
      }
    }
  }
}
