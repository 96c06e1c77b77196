import HyperEncoding

/// Message type 0 of the `blind-relay` channel: pair two streams by a token (hyperdht.md 10.4).
package struct RelayPairMessage: Hashable, Sendable {
  package static let type: UInt64 = 0

  package var isInitiator: Bool
  package var token: Bytes32
  /// The sender's stream id.
  package var id: UInt64
  package var seq: UInt64

  package init(isInitiator: Bool, token: Bytes32, id: UInt64, seq: UInt64 = 0) {
    self.isInitiator = isInitiator
    self.token = token
    self.id = id
    self.seq = seq
  }
}

extension RelayPairMessage: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.uint8(isInitiator ? 1 : 0)
    writer.fixed32(token)
    writer.uint(id)
    writer.uint(seq)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    isInitiator = try reader.bitfield() & 1 != 0
    token = try reader.fixed32()
    id = try reader.uint()
    seq = try reader.uint()
  }
}

/// Message type 1 of the `blind-relay` channel: forget a pairing, or end it.
package struct RelayUnpairMessage: Hashable, Sendable {
  package static let type: UInt64 = 1

  package var token: Bytes32

  package init(token: Bytes32) { self.token = token }
}

extension RelayUnpairMessage: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.uint8(0)
    writer.fixed32(token)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    _ = try reader.bitfield()
    token = try reader.fixed32()
  }
}
