import HyperEncoding

/// Counts the nodes of a place by IP address and by /24, of which only so many may share it (dht-rpc.md B-2, B-3 and
/// dht-rpc.md C-10).
///
/// Ids follow from addresses, so that an attacker needs many addresses to surround a target or a node: ports are cheap
/// (65,535 ids each), addresses of one subnet cost little more. There is no IPv6 in this protocol. Loopback and private
/// addresses are not counted: they cannot come from outside, and test networks live there.
struct SubnetQuota {
  struct Bounds: Equatable {
    let perHost: Int
    let perSubnet: Int

    /// A bucket, and the nodes nearest to a target: at most a quarter of one.
    static let ofBucket = Bounds(perHost: Limits.bucketNodesPerHost, perSubnet: Limits.bucketNodesPerSubnet)
    static let ofTable = Bounds(perHost: Limits.tableNodesPerHost, perSubnet: Limits.tableNodesPerSubnet)
    static let ofQuery = Bounds(perHost: Limits.queryCandidatesPerHost, perSubnet: Limits.queryCandidatesPerSubnet)
  }

  let bounds: Bounds
  private var hosts: [IPv4Address: Int] = [:]
  private var subnets: [UInt32: Int] = [:]

  init(_ bounds: Bounds) { self.bounds = bounds }

  static func subnet(of host: IPv4Address) -> UInt32 { host.value >> 8 }

  func hasRoom(for host: IPv4Address) -> Bool {
    host.isPrivate
      || hosts[host, default: 0] < bounds.perHost
        && subnets[SubnetQuota.subnet(of: host), default: 0] < bounds.perSubnet
  }

  mutating func add(_ host: IPv4Address) {
    guard !host.isPrivate else { return }
    hosts[host, default: 0] += 1
    subnets[SubnetQuota.subnet(of: host), default: 0] += 1
  }

  mutating func remove(_ host: IPv4Address) {
    SubnetQuota.decrement(&hosts, host)
    SubnetQuota.decrement(&subnets, SubnetQuota.subnet(of: host))
  }

  private static func decrement<Key>(_ counts: inout [Key: Int], _ key: Key) {
    guard let count = counts[key] else { return }
    counts[key] = count > 1 ? count - 1 : nil
  }
}
