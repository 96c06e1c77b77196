import HyperEncoding

/// How to open a path between two NATs (hyperdht.md 8.6).
package enum PunchStrategy: Hashable, Sendable {
  /// Both mappings are predictable: a few probes from one socket to each known address.
  case consistentProbes
  /// The peer's port is unknown: probes from one socket to random ports of its verified host.
  case randomProbes
  /// Our port is unknown: probes from many sockets to the peer's verified address.
  case birthdaySockets

  /// Strategies of which a node runs one at a time.
  package var isRandom: Bool { self != .consistentProbes }

  /// The strategy for the two NATs and the peer's addresses, `nil` when none can work: a side not classified, both
  /// random, no address, or no verified one where random probing would hit a stranger.
  package static func decide(local: Firewall, remote: Firewall, remoteAddresses: [RemoteAddress]) -> PunchStrategy? {
    guard !remoteAddresses.isEmpty, local != .unknown, remote != .unknown else { return nil }
    switch (local.isRandom, remote.isRandom) {
    case (false, false): return .consistentProbes
    case (true, true): return nil
    case (false, true): return remoteAddresses.contains(where: \.isVerified) ? .randomProbes : nil
    case (true, false): return remoteAddresses.contains(where: \.isVerified) ? .birthdaySockets : nil
    }
  }

  /// Whether punching may start: our class is known, and not both sides are random.
  package static func isStable(local: Firewall, remote: Firewall) -> Bool {
    local != .unknown && !(local.isRandom && remote.isRandom)
  }
}

/// An address that the peer has named, and whether it has proven to receive at that host.
package struct RemoteAddress: Hashable, Sendable {
  package var endpoint: Endpoint
  package var isVerified: Bool

  package init(endpoint: Endpoint, isVerified: Bool) {
    self.endpoint = endpoint
    self.isVerified = isVerified
  }
}

/// What a puncher knows of the other side, from its hole-punch payloads (hyperdht.md 8.2).
package struct RemoteView: Hashable, Sendable {
  package private(set) var firewall: Firewall
  package private(set) var isPunching = false
  package private(set) var addresses: [RemoteAddress] = []

  package init(firewall: Firewall) { self.firewall = firewall }

  /// Takes over a payload. `verifiedHost` is the host that a token has just proven; hosts verified before stay so.
  /// Left out are addresses that are not unicast, and, when the peer was seen under a public address (`observedHost`),
  /// those of other networks than the public one: a probe there would hit another host of this node's network.
  package mutating func update(
    firewall: Firewall, isPunching: Bool, addresses: [Endpoint], verifiedHost: IPv4Address?, observedHost: IPv4Address?
  ) {
    var verified = Set(self.addresses.filter(\.isVerified).map(\.endpoint.host))
    if let verifiedHost { verified.insert(verifiedHost) }
    let peerIsPublic = observedHost.map { !$0.isBogon } ?? false
    self.firewall = firewall
    self.isPunching = isPunching
    var list: [RemoteAddress] = []
    for endpoint in addresses where list.count < Limits.Punch.peerAddresses {
      guard endpoint.host.isUnicast, !(peerIsPublic && endpoint.host.isBogon) else { continue }
      let address = RemoteAddress(endpoint: endpoint, isVerified: verified.contains(endpoint.host))
      if !list.contains(address) { list.append(address) }
    }
    self.addresses = list
  }

  package func isVerified(_ host: IPv4Address) -> Bool {
    addresses.contains { $0.isVerified && $0.endpoint.host == host }
  }

  /// What random punches towards this peer are charged to: the network of the host that they would be aimed at.
  var network: IPv4Address? {
    (firstVerified ?? addresses.first?.endpoint).map { IPv4Address(value: $0.host.value & 0xffff_ff00) }
  }

  package var firstVerified: Endpoint? { addresses.first(where: \.isVerified)?.endpoint }
}
