import HyperEncoding

/// How the values of one message type become bytes, and back. Both sides must use the same.
///
/// Codecs that are here already are found with a dot: `.raw`, `.string`, `.uint`, `.array(of: .string)`. Those of
/// `Codable` types are in the product `HyperProtomuxJSON`.
public protocol MessageCodec<Value>: Sendable {
  /// What is sent and received.
  associatedtype Value: Sendable
  /// The bytes of a value. An error is reported by the call that sends, as `encodingFailed`, and nothing is sent.
  /// Called where the program sends, from several threads at a time if it does so.
  func encode(_ value: Value) throws -> [UInt8]
  /// The value of the bytes of one message, which come from the peer and can be anything. An error destroys the
  /// connection. Called outside of any lock, in the order in which the messages have arrived.
  func decode(_ bytes: [UInt8]) throws -> Value
}

/// The bytes of a message as they are (`c.raw` in JavaScript, and what it takes by default).
public struct RawCodec: MessageCodec {
  /// The only one.
  public init() {}
  /// The bytes themselves.
  public func encode(_ value: [UInt8]) -> [UInt8] { value }
  /// The bytes themselves.
  public func decode(_ bytes: [UInt8]) -> [UInt8] { bytes }
}

extension MessageCodec where Self == RawCodec {
  /// The bytes of a message as they are (`c.raw`).
  public static var raw: RawCodec { RawCodec() }
}

/// Values in the compact encoding of the deployed stack (`compact-encoding` in JavaScript). What follows the value in a
/// message is ignored. Made by the names of `MessageCodec`: `.string`, `.uint` and so on.
public struct CompactCodec<Value: Sendable>: MessageCodec {
  let write: @Sendable (inout CompactWriter, Value) -> Void
  let read: @Sendable (inout CompactReader) throws(CompactError) -> Value

  /// The encoding of a value.
  public func encode(_ value: Value) -> [UInt8] {
    var writer = CompactWriter()
    write(&writer, value)
    return writer.bytes
  }

  /// The value at the start of the bytes. Throws when they are too few for it.
  public func decode(_ bytes: [UInt8]) throws -> Value {
    try bytes.withUnsafeBytes { bytes in
      var reader = CompactReader(bytes)
      return try read(&reader)
    }
  }
}

extension MessageCodec where Self == CompactCodec<String> {
  /// Text in UTF-8, with its length before it (`c.string`, `c.utf8`). What is not UTF-8 becomes U+FFFD.
  public static var string: CompactCodec<String> {
    CompactCodec {
      $0.string($1)
    } read: { reader throws(CompactError) in
      try reader.string()
    }
  }

  /// The same as `string`.
  public static var utf8: CompactCodec<String> { string }

  /// Text in UTF-8 that is the whole message (`c.raw.utf8`).
  public static var rawString: CompactCodec<String> {
    CompactCodec {
      $0.raw($1.utf8)
    } read: { reader in
      String(decoding: reader.raw(), as: UTF8.self)
    }
  }
}

extension MessageCodec where Self == CompactCodec<[UInt8]> {
  /// Bytes with their length before them (`c.buffer`).
  public static var buffer: CompactCodec<[UInt8]> {
    CompactCodec {
      $0.buffer($1)
    } read: { reader throws(CompactError) in
      try reader.buffer()
    }
  }
}

extension MessageCodec where Self == CompactCodec<UInt64> {
  /// An unsigned integer of 1 to 9 bytes (`c.uint`). JavaScript holds numbers up to 2^53 - 1.
  public static var uint: CompactCodec<UInt64> {
    CompactCodec {
      $0.uint($1)
    } read: { reader throws(CompactError) in
      try reader.uint()
    }
  }
}

extension MessageCodec where Self == CompactCodec<Int64> {
  /// A signed integer of 1 to 9 bytes (`c.int`). JavaScript holds numbers of up to 53 bits.
  public static var int: CompactCodec<Int64> {
    CompactCodec {
      $0.int($1)
    } read: { reader throws(CompactError) in
      try reader.int()
    }
  }
}

extension MessageCodec where Self == CompactCodec<Bool> {
  /// One byte, 1 for `true`; every other one that is received is `false` (`c.bool`).
  public static var bool: CompactCodec<Bool> {
    CompactCodec {
      $0.bool($1)
    } read: { reader throws(CompactError) in
      try reader.bool()
    }
  }
}

extension MessageCodec where Self == CompactCodec<Bytes32> {
  /// 32 bytes: a key, a topic, a hash (`c.fixed32`).
  public static var fixed32: CompactCodec<Bytes32> {
    CompactCodec {
      $0.fixed32($1)
    } read: { reader throws(CompactError) in
      try reader.fixed32()
    }
  }
}

extension MessageCodec {
  /// The number of elements and then each of them (`c.array`); more than 1,048,576 are not taken from a peer.
  public static func array<Element>(of element: CompactCodec<Element>) -> Self where Self == CompactCodec<[Element]> {
    CompactCodec { writer, elements in
      writer.array(elements) { element.write(&$0, $1) }
    } read: { reader throws(CompactError) in
      try reader.array(element.read)
    }
  }
}
