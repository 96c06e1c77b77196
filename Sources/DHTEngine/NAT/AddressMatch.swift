import HyperEncoding

/// Which address of a peer is most likely on one of our own networks (hyperdht.md 14.5).
package enum AddressMatch {
  /// The other side's address that shares three leading octets with one of ours, else the first that shares two, else
  /// the first that shares one, else `nil`.
  package static func best(own: [IPv4Address], other: [Endpoint]) -> Endpoint? {
    var best: (endpoint: Endpoint, octets: Int)?
    for mine in own {
      for theirs in other {
        let octets = min((mine.value ^ theirs.host.value).leadingZeroBitCount / 8, 3)
        if octets == 3 { return theirs }
        if octets > (best?.octets ?? 0) { best = (theirs, octets) }
      }
    }
    return best?.endpoint
  }

  package static func best(own: [Endpoint], other: [Endpoint]) -> Endpoint? { best(own: own.map(\.host), other: other) }
}
