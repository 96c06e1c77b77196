import HyperCrypto
import HyperEncoding

/// A node: where it is and, if it has shown a valid one, its id.
package struct NodeAddress: Hashable, Sendable {
  /// `nil` for ephemeral nodes and for senders whose id does not hash from their address.
  package var id: Bytes32?
  package var endpoint: Endpoint

  package init(id: Bytes32?, endpoint: Endpoint) {
    self.id = id
    self.endpoint = endpoint
  }

  package var host: IPv4Address { endpoint.host }
  package var port: UInt16 { endpoint.port }

  /// The id of a node at `endpoint`: BLAKE2b-256 of the 6-byte address (dht-rpc.md 4).
  package static func id(of endpoint: Endpoint) -> Bytes32 {
    let address = (endpoint.host.value.bigEndian, endpoint.port.littleEndian)
    return withUnsafeBytes(of: address) { Blake2b.hash32(UnsafeRawBufferPointer(rebasing: $0[..<6])) }
  }
}
