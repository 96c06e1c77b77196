import HyperCrypto
import HyperEncoding

/// The 64 bytes under the signatures of the DHT (hyperdht.md 3.4).
package enum Signables {
  /// Valid for one storing node (`nodeID`), one source address and one token lifetime.
  /// `peer` is the record exactly as it is sent; `refresh` counts for nothing when absent.
  package static func announce(
    target: Bytes32, nodeID: Bytes32, token: Bytes32, peer: PeerRecord, refresh: Bytes32? = nil
  ) -> [UInt8] {
    record(Namespaces.announce, target, nodeID, token, peer, refresh)
  }

  /// As ``announce(target:nodeID:token:peer:refresh:)``; senders use a record with an empty relay list.
  package static func unannounce(
    target: Bytes32, nodeID: Bytes32, token: Bytes32, peer: PeerRecord, refresh: Bytes32? = nil
  ) -> [UInt8] {
    record(Namespaces.unannounce, target, nodeID, token, peer, refresh)
  }

  package static func mutable(seq: UInt64, value: [UInt8]) -> [UInt8] {
    let inner = Blake2b.hash32(MutableSignable(seq: seq, value: value).encoded)
    return Namespaces.mutablePut.bytes + inner.bytes
  }

  private static func record(
    _ namespace: Bytes32, _ target: Bytes32, _ nodeID: Bytes32, _ token: Bytes32, _ peer: PeerRecord,
    _ refresh: Bytes32?
  ) -> [UInt8] {
    let inner = Blake2b.hash32(target.bytes, nodeID.bytes, token.bytes, peer.encoded, refresh?.bytes ?? [])
    return namespace.bytes + inner.bytes
  }
}
