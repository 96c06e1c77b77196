import HyperCrypto
import HyperEncoding

/// Domain separation of hashes and signatures (hyperdht.md 3.3): `H(H("hyperswarm/dht") || command id)`.
package enum Namespaces {
  package static let peerHandshake = namespace(.peerHandshake)
  package static let peerHolepunch = namespace(.peerHolepunch)
  package static let announce = namespace(.announce)
  package static let unannounce = namespace(.unannounce)
  package static let mutablePut = namespace(.mutablePut)
  /// Reserved; nothing uses it.
  package static let plugin = namespace(.plugin)

  private static func namespace(_ command: Command) -> Bytes32 {
    let root = Blake2b.hash32(Array("hyperswarm/dht".utf8))
    return Blake2b.hash32(root.bytes, [UInt8(truncatingIfNeeded: command.rawValue)])
  }
}

/// Where things live in the DHT (hyperdht.md 3.2).
package enum Target {
  /// Servers, peer records and mutable records of a public key.
  package static func of(publicKey: Bytes32) -> Bytes32 { Blake2b.hash32(publicKey.bytes) }
  /// Immutable values.
  package static func of(value: [UInt8]) -> Bytes32 { Blake2b.hash32(value) }
}
