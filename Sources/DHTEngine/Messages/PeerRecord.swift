import HyperEncoding

/// An announced peer (hyperdht.md 2.5).
package struct PeerRecord: Hashable, Sendable {
  package var publicKey: Bytes32
  package var relayAddresses: [Endpoint]

  package init(publicKey: Bytes32, relayAddresses: [Endpoint] = []) {
    self.publicKey = publicKey
    self.relayAddresses = relayAddresses
  }

  /// The record as a storing node keeps it.
  package var trimmed: PeerRecord {
    PeerRecord(publicKey: publicKey, relayAddresses: Array(relayAddresses.prefix(Limits.Announce.storedRelays)))
  }
}

extension PeerRecord: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.fixed32(publicKey)
    writer.array(relayAddresses)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    publicKey = try reader.fixed32()
    relayAddresses = try reader.array()
  }
}

/// The value of a LOOKUP reply (hyperdht.md 2.6).
package struct LookupReply: Hashable, Sendable {
  package var peers: [PeerRecord]
  /// Milliseconds since the epoch; 0 when no announcer has set one, and from nodes that do not know the field.
  package var bump: UInt64

  package init(peers: [PeerRecord], bump: UInt64 = 0) {
    self.peers = peers
    self.bump = bump
  }

  /// The encoding, from records that are encoded already.
  static func encode(records: [[UInt8]], bump: UInt64) -> [UInt8] {
    var writer = CompactWriter(reservingCapacity: 16 + records.reduce(0) { $0 + $1.count })
    writer.uint(UInt64(records.count))
    for record in records { writer.raw(record) }
    writer.uint(bump)
    return writer.bytes
  }
}

extension LookupReply: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.array(peers)
    writer.uint(bump)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    peers = try reader.array()
    bump = reader.remaining == 0 ? 0 : try reader.uint()
  }
}
