import HyperEncoding

/// What hosts have of something bounded, each known by a number that rises with every newcomer: finds what makes room,
/// the oldest of the host that has most.
package struct HostQueue {
  private struct Host {
    var address: IPv4Address
    /// Ascending.
    var orders: [UInt64]
  }

  private var places: [IPv4Address: Int] = [:]
  private var hosts: [Host] = []
  private(set) package var count = 0

  package init() {}

  package mutating func insert(_ order: UInt64, of address: IPv4Address) {
    count += 1
    if let place = places[address] {
      hosts[place].orders.append(order)
    } else {
      places[address] = hosts.count
      hosts.append(Host(address: address, orders: [order]))
    }
  }

  /// What `address` has.
  package func count(of address: IPv4Address) -> Int { places[address].map { hosts[$0].orders.count } ?? 0 }

  package mutating func remove(_ order: UInt64, of address: IPv4Address) {
    guard let place = places[address], let index = hosts[place].orders.firstIndex(of: order) else { return }
    count -= 1
    hosts[place].orders.remove(at: index)
    guard hosts[place].orders.isEmpty else { return }
    places[address] = nil
    hosts.swapAt(place, hosts.count - 1)
    hosts.removeLast()
    if place < hosts.count { places[hosts[place].address] = place }
  }

  /// The host that has most, and its oldest; of equal hosts the one whose oldest is older. Looks at every host.
  package var heaviest: (address: IPv4Address, oldest: UInt64)? {
    var found: Host?
    for host in hosts {
      guard let best = found else {
        found = host
        continue
      }
      let isHeavier = host.orders.count > best.orders.count
      if isHeavier || (host.orders.count == best.orders.count && host.orders[0] < best.orders[0]) { found = host }
    }
    return found.map { ($0.address, $0.orders[0]) }
  }
}
