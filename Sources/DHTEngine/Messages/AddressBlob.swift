import HyperEncoding

/// A public key with hints where to find its server (hyperdht.md 3.1).
public struct AddressBlob: Hashable, Sendable {
  public var publicKey: Bytes32
  /// Nodes that may relay to the server; `nil` when the blob says nothing.
  public var nodes: [Endpoint]?

  public init(publicKey: Bytes32, nodes: [Endpoint]? = nil) {
    self.publicKey = publicKey
    self.nodes = nodes
  }

  /// Decodes a blob, of which a bare 32-byte key is the shortest form. Trailing bytes are ignored.
  public init(_ bytes: [UInt8]) throws(CompactError) {
    self = try CompactReader.decode(AddressBlob.self, from: bytes)
  }

  private static let nodesFlag: UInt64 = 0x01
}

extension AddressBlob: CompactEncodable, CompactDecodable {
  public func encode(into writer: inout CompactWriter) {
    writer.fixed32(publicKey)
    writer.uint(nodes == nil ? 0 : Self.nodesFlag)
    if let nodes { writer.array(nodes) }
  }

  public init(from reader: inout CompactReader) throws(CompactError) {
    publicKey = try reader.fixed32()
    let flags = reader.remaining == 0 ? 0 : try reader.uint()
    nodes = flags & Self.nodesFlag == 0 ? nil : try reader.array(of: Endpoint.self)
  }
}
