import HyperEncoding

/// A NAT box with one public address, in the terms of RFC 4787. Hosts are put behind it by
/// `VirtualNetwork.makeHost(_:behind:)`.
public final class VirtualNAT {
  /// How an inside endpoint is translated (RFC 4787, section 4.1).
  public enum Mapping: Sendable, Hashable, CaseIterable {
    /// Endpoint-independent with port preservation: one public port per inside endpoint, the same number where it is
    /// free.
    case portPreserving
    /// One random public port per inside endpoint.
    case endpointIndependent
    /// One random public port per inside endpoint and destination address.
    case addressDependent
    /// One random public port per inside endpoint and destination address and port ("symmetric", "random").
    case addressAndPortDependent
  }

  /// What may pass to a mapped port from outside (RFC 4787, section 5).
  public enum Filter: Sendable, Hashable, CaseIterable {
    /// Everything.
    case endpointIndependent
    /// Packets of hosts that were sent to from the port.
    case addressDependent
    /// Packets of endpoints that were sent to from the port.
    case addressAndPortDependent
  }

  /// The public address.
  public let address: IPv4Address
  /// Which public port a packet leaves from.
  public let mapping: Mapping
  /// Which packets come in.
  public let filter: Filter
  /// Fixed forwards, public port to inside endpoint; packets of any source pass, and what the endpoint sends leaves
  /// from that port.
  public var forwards: [UInt16: Endpoint] = [:]
  /// Whether hosts behind this box reach each other by its public address (RFC 4787, section 6); they do by default.
  public var hairpins = true
  /// How long a mapping lives after the last packet from inside (RFC 4787, section 4.3); `nil`, the default, is for
  /// ever.
  public var mappingLifetime: Duration? {
    didSet { lifetime = mappingLifetime.map(\.microseconds) }
  }

  private struct Key: Hashable {
    var inside: Endpoint
    var destination: Endpoint?
  }

  private struct Entry {
    var key: Key
    /// What lets packets in, as far as the filter asks for it.
    var sentTo: Set<Endpoint>
    var lastSent: UInt64
  }

  private var ports: [Key: UInt16] = [:]
  private var entries: [UInt16: Entry] = [:]
  private var lifetime: UInt64?
  private unowned let network: VirtualNetwork

  /// A box of `network`, which holds it and is not held by it. No host and no other box of the network may have the
  /// address. `VirtualNetwork.makeNAT` chooses one.
  public init(network: VirtualNetwork, address: IPv4Address, mapping: Mapping, filter: Filter) {
    self.network = network
    self.address = address
    self.mapping = mapping
    self.filter = filter
    network.nats[address] = self
  }

  /// The source that a packet has outside.
  func outbound(from source: Endpoint, to destination: Endpoint, now: UInt64) -> Endpoint {
    if !forwards.isEmpty, let port = forwards.filter({ $0.value == source }).keys.min() {
      return Endpoint(host: address, port: port)
    }
    let key = Key(inside: source, destination: dependency(on: destination))
    let port = ports[key].flatMap { isAlive($0, now) ? $0 : nil } ?? assign(key, now)
    if let index = entries.index(forKey: port) {
      if let opened = filtered(destination) { entries.values[index].sentTo.insert(opened) }
      entries.values[index].lastSent = now
    }
    return Endpoint(host: address, port: port)
  }

  /// What the filter remembers and compares of an outside endpoint; `nil` where it asks for nothing.
  private func filtered(_ outside: Endpoint) -> Endpoint? {
    switch filter {
    case .endpointIndependent: nil
    case .addressDependent: Endpoint(host: outside.host, port: 0)
    case .addressAndPortDependent: outside
    }
  }

  private func dependency(on destination: Endpoint) -> Endpoint? {
    switch mapping {
    case .portPreserving, .endpointIndependent: nil
    case .addressDependent: Endpoint(host: destination.host, port: 0)
    case .addressAndPortDependent: destination
    }
  }

  private func assign(_ key: Key, _ now: UInt64) -> UInt16 {
    var port = mapping == .portPreserving ? key.inside.port : randomPort()
    while isAlive(port, now) || forwards[port] != nil { port = randomPort() }
    ports[key] = port
    entries[port] = Entry(key: key, sentTo: [], lastSent: now)
    return port
  }

  /// Whether the port is mapped; forgets a mapping that is too old.
  private func isAlive(_ port: UInt16, _ now: UInt64) -> Bool {
    guard let index = entries.index(forKey: port) else { return false }
    guard let lifetime, now - entries.values[index].lastSent > lifetime else { return true }
    ports[entries.values[index].key] = nil
    entries[port] = nil
    return false
  }

  /// Where a packet from outside goes; `nil` where it is filtered.
  func inbound(to destination: Endpoint, from source: Endpoint, now: UInt64) -> Endpoint? {
    if let forward = forwards[destination.port] { return forward }
    guard isAlive(destination.port, now), let index = entries.index(forKey: destination.port) else { return nil }
    if let sender = filtered(source), !entries.values[index].sentTo.contains(sender) { return nil }
    return entries.values[index].key.inside
  }

  /// Forgets all mappings, as after a restart: each endpoint gets another port with its next packet, except by
  /// `portPreserving`. `forwards` stay.
  public func reset() {
    ports = [:]
    entries = [:]
  }

  private func randomPort() -> UInt16 { UInt16(20_000 + network.random.next() % 40_000) }
}
