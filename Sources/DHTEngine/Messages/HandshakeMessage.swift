import HyperEncoding

/// The value of PEER_HANDSHAKE (hyperdht.md 2.1).
package struct HandshakeMessage: Hashable, Sendable {
  package var mode: RoutingMode
  /// A Noise message.
  package var noise: [UInt8]
  package var peerAddress: Endpoint?
  package var relayAddress: Endpoint?

  package init(mode: RoutingMode, noise: [UInt8], peerAddress: Endpoint? = nil, relayAddress: Endpoint? = nil) {
    self.mode = mode
    self.noise = noise
    self.peerAddress = peerAddress
    self.relayAddress = relayAddress
  }

  private enum Flag {
    static let peerAddress: UInt64 = 0x01
    static let relayAddress: UInt64 = 0x02
  }
}

extension HandshakeMessage: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    var flags: UInt64 = 0
    if peerAddress != nil { flags |= Flag.peerAddress }
    if relayAddress != nil { flags |= Flag.relayAddress }
    writer.uint(flags)
    writer.uint(mode.rawValue)
    writer.buffer(noise)
    peerAddress?.encode(into: &writer)
    relayAddress?.encode(into: &writer)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    let flags = try reader.uint()
    mode = RoutingMode(rawValue: try reader.uint())
    noise = try reader.buffer()
    peerAddress = flags & Flag.peerAddress == 0 ? nil : try Endpoint(from: &reader)
    relayAddress = flags & Flag.relayAddress == 0 ? nil : try Endpoint(from: &reader)
  }
}
