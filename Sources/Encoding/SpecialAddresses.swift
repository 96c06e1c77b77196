/// The blocks of the IANA special-purpose address registries (RFC 6890) and the blocks for multicast and future use, as
/// far as this protocol tells them from the public network.
///
/// Blocks that the registry lists as globally reachable (192.31.196.0/24, 192.52.193.0/24, 192.175.48.0/24), and
/// 192.88.99.0/24 (once 6to4 relays), are ordinary addresses here (hyperdht.md 14.6).
package enum SpecialAddresses {
  /// What distinguishes a block from the public network.
  package enum Scope: Sendable {
    /// Hosts of this machine or of a network near by.
    case local
    /// One host in principle, but none that answers: protocol assignments, documentation, benchmarks.
    case assigned
    /// Never the address of one host: this network, multicast, future use and broadcast.
    case notUnicast
  }

  package struct IPv4Block: Sendable {
    package let network: IPv4Address
    package let prefix: UInt32
    package let scope: Scope

    init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ prefix: UInt32, _ scope: Scope) {
      network = IPv4Address(a, b, c, 0)
      self.prefix = prefix
      self.scope = scope
    }

    package func contains(_ address: IPv4Address) -> Bool { (address.value ^ network.value) >> (32 - prefix) == 0 }
  }

  package struct IPv6Block: Sendable {
    package let network: IPv6Address
    /// 1...128.
    package let prefix: UInt64

    init(_ high: UInt64, _ low: UInt64, _ prefix: UInt64) {
      network = IPv6Address(high: high, low: low)
      self.prefix = prefix
    }

    package func contains(_ address: IPv6Address) -> Bool {
      let high = address.high ^ network.high
      let low = address.low ^ network.low
      return prefix <= 64 ? high >> (64 - prefix) == 0 : high == 0 && low >> (128 - prefix) == 0
    }
  }

  /// RFC 1122 section 3.2.1.3.
  package static let loopback = IPv4Block(127, 0, 0, 8, .local)

  /// In ascending order, without overlap.
  package static let ipv4: [IPv4Block] = [
    IPv4Block(0, 0, 0, 8, .notUnicast),  // this network, RFC 791
    IPv4Block(10, 0, 0, 8, .local),  // private use, RFC 1918
    IPv4Block(100, 64, 0, 10, .local),  // shared address space of carriers, RFC 6598
    loopback,
    IPv4Block(169, 254, 0, 16, .local),  // link-local, RFC 3927
    IPv4Block(172, 16, 0, 12, .local),  // private use, RFC 1918
    IPv4Block(192, 0, 0, 24, .assigned),  // IETF protocol assignments, RFC 6890
    IPv4Block(192, 0, 2, 24, .assigned),  // documentation, RFC 5737
    IPv4Block(192, 168, 0, 16, .local),  // private use, RFC 1918
    IPv4Block(198, 18, 0, 15, .assigned),  // benchmarks, RFC 2544
    IPv4Block(198, 51, 100, 24, .assigned),  // documentation, RFC 5737
    IPv4Block(203, 0, 113, 24, .assigned),  // documentation, RFC 5737
    IPv4Block(224, 0, 0, 4, .notUnicast),  // multicast, RFC 5771
    IPv4Block(240, 0, 0, 4, .notUnicast),  // future use, RFC 1112, and limited broadcast, RFC 919
  ]

  /// All of one kind: the protocol knows no local IPv6 addresses (hyperdht.md 14.6).
  package static let ipv6: [IPv6Block] = [
    IPv6Block(0, 0, 96),  // unspecified, loopback and IPv4-compatible, RFC 4291
    IPv6Block(0, 0xffff_0000_0000, 96),  // IPv4-mapped, RFC 4291
    IPv6Block(0x0100_0000_0000_0000, 0, 64),  // discard-only, RFC 6666
    IPv6Block(0x2001_0010_0000_0000, 0, 28),  // ORCHID, RFC 4843
    IPv6Block(0x2001_0020_0000_0000, 0, 28),  // ORCHIDv2, RFC 7343
    IPv6Block(0x2001_0db8_0000_0000, 0, 32),  // documentation, RFC 3849
    IPv6Block(0xfc00_0000_0000_0000, 0, 7),  // unique local, RFC 4193
    IPv6Block(0xfe80_0000_0000_0000, 0, 10),  // link-local, RFC 4291
    IPv6Block(0xff00_0000_0000_0000, 0, 8),  // multicast, RFC 4291
  ]
}

extension IPv4Address {
  /// The scope of the block that the address is in; `nil` on the public network.
  package var specialScope: SpecialAddresses.Scope? {
    for block in SpecialAddresses.ipv4 {
      if block.contains(self) { return block.scope }
      if block.network > self { return nil }
    }
    return nil
  }

  package var isLoopback: Bool { SpecialAddresses.loopback.contains(self) }

  /// Reachable from this machine or a network near by only: "private" of hyperdht.md 14.6, and "private/loopback" of
  /// dht-rpc.md C-7.
  package var isPrivate: Bool { specialScope == .local }

  /// Set aside by the IETF, private ranges left out: "reserved" of hyperdht.md 14.6.
  package var isReserved: Bool { specialScope.map { $0 != .local } ?? false }

  /// Not an address of the public network (hyperdht.md 14.6).
  package var isBogon: Bool { specialScope != nil }

  /// Possibly the address of one host; unspecified, multicast and broadcast addresses are not (dht-rpc.md C-7).
  package var isUnicast: Bool { specialScope != .notUnicast }
}

extension Endpoint {
  /// Something that a datagram may be sent to because a message names it (dht-rpc.md C-7).
  package var isUsable: Bool { port != 0 && host.isUnicast }
}

extension IPv6Address {
  /// No IPv6 range counts as private: they are all under ``isReserved``.
  package var isPrivate: Bool { false }

  package var isReserved: Bool { SpecialAddresses.ipv6.contains { $0.contains(self) } }

  package var isBogon: Bool { isReserved }
}
