import HyperEncoding

/// The answers nearest to a target, at most 20 (dht-rpc.md 20.2), of many subnets (dht-rpc.md C-10).
///
/// Members are chosen nearest first, as far as the quota of their IP address and /24 allows. Answers beyond it are
/// spares: they fill the set while there are not enough members (small networks behind one address), and never keep a
/// member out.
struct ClosestSet {
  private struct Entry {
    let distance: Bytes32
    let host: IPv4Address
    let isPrivate: Bool
    let reply: Response
    var isMember = true

    init(_ reply: Response, distance: Bytes32) {
      self.distance = distance
      host = reply.from.host
      isPrivate = host.isPrivate
      self.reply = reply
    }
  }

  private let isDiverse: Bool
  /// Members and spares, ascending by distance, without duplicates.
  private var entries: [Entry] = []
  private var memberCount = 0
  private var farthestMember: Bytes32?

  init(isDiverse: Bool) { self.isDiverse = isDiverse }

  /// Only a nearer member can still change the set.
  var isFull: Bool { memberCount >= Limits.k }

  /// Nearest first.
  var replies: [Response] {
    var sparesLeft = Limits.k - memberCount
    return entries.compactMap { entry in
      if entry.isMember { return entry.reply }
      sparesLeft -= 1
      return sparesLeft >= 0 ? entry.reply : nil
    }
  }

  func isCloser(_ distance: Bytes32) -> Bool {
    guard isFull, let farthestMember else { return true }
    return distance < farthestMember
  }

  mutating func insert(_ reply: Response, distance: Bytes32) {
    guard isCloser(distance) else { return }
    let place = entries.firstIndex { $0.distance >= distance } ?? entries.count
    guard place == entries.count || entries[place].distance != distance else { return }
    entries.insert(Entry(reply, distance: distance), at: place)
    choose()
  }

  /// Twice the size of the set at most: counting again and again costs less than a table.
  private mutating func choose() {
    memberCount = 0
    var spareCount = 0
    var index = 0
    while index < entries.count {
      let isMember = memberCount < Limits.k && (!isDiverse || hasRoom(at: index))
      if isMember {
        memberCount += 1
        farthestMember = entries[index].distance
      } else if spareCount < Limits.k {
        spareCount += 1
      } else {
        entries.remove(at: index)
        continue
      }
      entries[index].isMember = isMember
      index += 1
    }
  }

  /// As `SubnetQuota`, among the nearer members.
  private func hasRoom(at index: Int) -> Bool {
    if entries[index].isPrivate { return true }
    let host = entries[index].host
    let bounds = SubnetQuota.Bounds.ofBucket
    var ofHost = 0
    var ofSubnet = 0
    for nearer in 0..<index where entries[nearer].isMember {
      if entries[nearer].host == host { ofHost += 1 }
      if SubnetQuota.subnet(of: entries[nearer].host) == SubnetQuota.subnet(of: host) { ofSubnet += 1 }
    }
    return ofHost < bounds.perHost && ofSubnet < bounds.perSubnet
  }
}
