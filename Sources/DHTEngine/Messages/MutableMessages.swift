import HyperEncoding

/// What the signature of a mutable record covers, before hashing (hyperdht.md 2.8).
package struct MutableSignable: Hashable, Sendable {
  package var seq: UInt64
  package var value: [UInt8]

  package init(seq: UInt64, value: [UInt8]) {
    self.seq = seq
    self.value = value
  }
}

extension MutableSignable: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.uint(seq)
    writer.buffer(value)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    seq = try reader.uint()
    value = try reader.buffer()
  }
}

/// The value of MUTABLE_PUT.
package struct MutablePutRequest: Hashable, Sendable {
  package var publicKey: Bytes32
  package var seq: UInt64
  package var value: [UInt8]
  package var signature: Bytes64

  package init(publicKey: Bytes32, seq: UInt64, value: [UInt8], signature: Bytes64) {
    self.publicKey = publicKey
    self.seq = seq
    self.value = value
    self.signature = signature
  }
}

extension MutablePutRequest: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.fixed32(publicKey)
    writer.uint(seq)
    writer.buffer(value)
    writer.fixed64(signature)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    publicKey = try reader.fixed32()
    seq = try reader.uint()
    value = try reader.buffer()
    signature = try reader.fixed64()
  }
}

/// The value of MUTABLE_GET: the least acceptable sequence number.
package struct MutableGetRequest: Hashable, Sendable {
  package var seq: UInt64

  package init(seq: UInt64) { self.seq = seq }
}

extension MutableGetRequest: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) { writer.uint(seq) }
  package init(from reader: inout CompactReader) throws(CompactError) { seq = try reader.uint() }
}

/// The value of a MUTABLE_GET reply.
package struct MutableGetResponse: Hashable, Sendable {
  package var seq: UInt64
  package var value: [UInt8]
  package var signature: Bytes64

  package init(seq: UInt64, value: [UInt8], signature: Bytes64) {
    self.seq = seq
    self.value = value
    self.signature = signature
  }
}

extension MutableGetResponse: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.uint(seq)
    writer.buffer(value)
    writer.fixed64(signature)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    seq = try reader.uint()
    value = try reader.buffer()
    signature = try reader.fixed64()
  }
}
