import HyperEncoding

/// A NAT box with one public address.
package final class TestNAT {
  package enum Mapping {
    /// One public port per inside endpoint, the same number where it is free.
    case portPreserving
    /// One random public port per inside endpoint.
    case endpointIndependent
    /// One random public port per inside endpoint and destination ("symmetric", "random").
    case perDestination
  }

  package enum Filter {
    /// Anybody may send to a mapped port.
    case open
    /// Only hosts that were sent to.
    case byHost
    /// Only endpoints that were sent to.
    case byEndpoint
  }

  package let address: IPv4Address
  package let mapping: Mapping
  package let filter: Filter
  /// Fixed forwards: public port to inside endpoint, open to anybody.
  package var forwards: [UInt16: Endpoint] = [:]

  private struct Key: Hashable {
    var inside: Endpoint
    var destination: Endpoint?
  }

  private var ports: [Key: UInt16] = [:]
  private var inside: [UInt16: Endpoint] = [:]
  private var sentTo: [UInt16: Set<Endpoint>] = [:]
  private unowned let network: TestNetwork

  package init(network: TestNetwork, address: IPv4Address, mapping: Mapping, filter: Filter) {
    self.network = network
    self.address = address
    self.mapping = mapping
    self.filter = filter
    network.nats[address] = self
  }

  func outbound(from source: Endpoint, to destination: Endpoint, now: UInt64) -> Endpoint {
    if let forward = forwards.first(where: { $0.value == source }) {
      return Endpoint(host: address, port: forward.key)
    }
    let key = Key(inside: source, destination: mapping == .perDestination ? destination : nil)
    let port: UInt16
    if let known = ports[key] {
      port = known
    } else {
      var candidate = mapping == .portPreserving ? source.port : randomPort()
      while inside[candidate] != nil || forwards[candidate] != nil { candidate = randomPort() }
      port = candidate
      ports[key] = port
      inside[port] = source
    }
    sentTo[port, default: []].insert(destination)
    return Endpoint(host: address, port: port)
  }

  func inbound(to destination: Endpoint, from source: Endpoint, now: UInt64) -> Endpoint? {
    if let forward = forwards[destination.port] { return forward }
    guard let target = inside[destination.port], let allowed = sentTo[destination.port] else { return nil }
    switch filter {
    case .open: return target
    case .byHost: return allowed.contains { $0.host == source.host } ? target : nil
    case .byEndpoint: return allowed.contains(source) ? target : nil
    }
  }

  /// Forgets all mappings, as after a restart; `forwards` stay.
  package func reset() {
    ports = [:]
    inside = [:]
    sentTo = [:]
  }

  private func randomPort() -> UInt16 { UInt16(20_000 + network.random.next() % 40_000) }
}
