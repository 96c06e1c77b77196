import HyperEncoding

/// The value of PEER_HOLEPUNCH (hyperdht.md 2.3).
package struct HolepunchMessage: Hashable, Sendable {
  package var mode: RoutingMode
  /// The session id of the server's noise payload; 0 from server to relay.
  package var id: UInt64
  /// A sealed ``HolepunchPayload``.
  package var payload: [UInt8]
  package var peerAddress: Endpoint?

  package init(mode: RoutingMode, id: UInt64, payload: [UInt8], peerAddress: Endpoint? = nil) {
    self.mode = mode
    self.id = id
    self.payload = payload
    self.peerAddress = peerAddress
  }

  private enum Flag {
    static let peerAddress: UInt64 = 0x01
  }
}

extension HolepunchMessage: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.uint(peerAddress == nil ? 0 : Flag.peerAddress)
    writer.uint(mode.rawValue)
    writer.uint(id)
    writer.buffer(payload)
    peerAddress?.encode(into: &writer)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    let flags = try reader.uint()
    mode = RoutingMode(rawValue: try reader.uint())
    id = try reader.uint()
    payload = try reader.buffer()
    peerAddress = flags & Flag.peerAddress == 0 ? nil : try Endpoint(from: &reader)
  }
}
