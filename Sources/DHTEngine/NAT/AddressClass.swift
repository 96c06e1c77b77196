import HyperEncoding

/// Which addresses are of no use to strangers (hyperdht.md 14.6).
extension IPv4Address {
  private func isIn(_ network: IPv4Address, _ prefix: UInt32) -> Bool {
    (value ^ network.value) >> (32 - prefix) == 0
  }

  /// Reachable on this host or this network only.
  package var isPrivate: Bool {
    isIn(IPv4Address(10, 0, 0, 0), 8) || isIn(IPv4Address(100, 64, 0, 0), 10) || isLoopback
      || isIn(IPv4Address(169, 254, 0, 0), 16) || isIn(IPv4Address(172, 16, 0, 0), 12)
      || isIn(IPv4Address(192, 168, 0, 0), 16)
  }

  /// Set aside by the IETF, private ranges left out.
  package var isReserved: Bool {
    isUnusable || isIn(IPv4Address(192, 0, 0, 0), 24) || isIn(IPv4Address(192, 0, 2, 0), 24)
      || isIn(IPv4Address(198, 18, 0, 0), 15) || isIn(IPv4Address(198, 51, 100, 0), 24)
      || isIn(IPv4Address(203, 0, 113, 0), 24)
  }

  /// Not an address of the public network.
  package var isBogon: Bool { isPrivate || isReserved }

  package var isLoopback: Bool { isIn(IPv4Address(127, 0, 0, 0), 8) }

  /// Never the address of one host: "this network", multicast, future use and broadcast.
  package var isUnusable: Bool {
    isIn(IPv4Address(0, 0, 0, 0), 8) || isIn(IPv4Address(224, 0, 0, 0), 4) || isIn(IPv4Address(240, 0, 0, 0), 4)
  }
}

extension IPv6Address {
  private func isIn(_ network: (high: UInt64, low: UInt64), _ prefix: UInt64) -> Bool {
    if prefix <= 64 { return prefix == 0 || (high ^ network.high) >> (64 - prefix) == 0 }
    return high == network.high && (low ^ network.low) >> (128 - prefix) == 0
  }

  /// No IPv6 range counts as private: they are all under ``isReserved``.
  package var isPrivate: Bool { false }

  package var isReserved: Bool {
    isIn((0, 0), 96)  // unspecified, loopback and IPv4-compatible
      || isIn((0, 0xffff_0000_0000), 96)  // IPv4-mapped
      || isIn((0x0100_0000_0000_0000, 0), 64) || isIn((0x2001_0010_0000_0000, 0), 28)
      || isIn((0x2001_0020_0000_0000, 0), 28) || isIn((0x2001_0db8_0000_0000, 0), 32)
      || isIn((0xfc00_0000_0000_0000, 0), 7) || isIn((0xfe80_0000_0000_0000, 0), 10)
      || isIn((0xff00_0000_0000_0000, 0), 8)
  }

  package var isBogon: Bool { isPrivate || isReserved }
}
