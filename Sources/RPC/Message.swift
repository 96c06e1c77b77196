import HyperEncoding

// Datagrams of dht-rpc.md 5. Pure: bytes in, values out.

/// The first byte of a datagram: protocol version 3 and the type.
enum DatagramKind {
  static let request: UInt8 = 0x03
  static let response: UInt8 = 0x13
}

/// Flag bits; bits 5-7 are never set and ignored. Bits 2 and 3 mean different things in requests and responses.
enum DatagramFlags {
  static let id: UInt64 = 0x01
  static let token: UInt64 = 0x02
  static let isInternal: UInt64 = 0x04
  static let target: UInt64 = 0x08
  static let closerNodes: UInt64 = 0x04
  static let error: UInt64 = 0x08
  static let value: UInt64 = 0x10
}

/// A request (dht-rpc.md 5.1).
struct RequestDatagram: Hashable {
  var tid: UInt16 = 0
  /// The address the sender is sending to, as the sender knows it.
  var to: Endpoint
  /// As carried; valid only if it hashes from the source address.
  var id: Bytes32?
  var token: Bytes32?
  var isInternal = false
  var command: UInt64 = 0
  var target: Bytes32?
  var value: [UInt8]?

  private static let maximumHeaderCount = 10 + 32 + 32 + 9 + 32 + 9

  /// Bytes of the encoding at most.
  private var capacity: Int { RequestDatagram.maximumHeaderCount + (value?.count ?? 0) }

  /// Bytes of the encoding with an id, whatever the command.
  static func maximumCount(_ message: RequestMessage) -> Int {
    10 + 32 + (message.token == nil ? 0 : 32) + 9 + (message.target == nil ? 0 : 32) + 5 + (message.value?.count ?? 0)
  }

  func encode() -> [UInt8] {
    var writer = CompactWriter(reservingCapacity: capacity)
    var flags: UInt64 = 0
    if id != nil { flags |= DatagramFlags.id }
    if token != nil { flags |= DatagramFlags.token }
    if isInternal { flags |= DatagramFlags.isInternal }
    if target != nil { flags |= DatagramFlags.target }
    if value != nil { flags |= DatagramFlags.value }
    writer.uint8(DatagramKind.request)
    writer.uint8(UInt8(truncatingIfNeeded: flags))
    writer.uint16(tid)
    to.encode(into: &writer)
    if let id { writer.fixed32(id) }
    if let token { writer.fixed32(token) }
    writer.uint(command)
    if let target { writer.fixed32(target) }
    if let value { writer.buffer(value) }
    return writer.bytes
  }
}

extension RequestDatagram: CompactDecodable {
  /// Reads what follows the type byte. Trailing bytes are ignored.
  init(from reader: inout CompactReader) throws(CompactError) {
    let flags = try reader.uint()
    tid = try reader.uint16()
    to = try Endpoint(from: &reader)
    id = flags & DatagramFlags.id != 0 ? try reader.fixed32() : nil
    token = flags & DatagramFlags.token != 0 ? try reader.fixed32() : nil
    isInternal = flags & DatagramFlags.isInternal != 0
    command = try reader.safeUint()
    target = flags & DatagramFlags.target != 0 ? try reader.fixed32() : nil
    value = flags & DatagramFlags.value != 0 ? try reader.optionalBuffer() : nil
  }
}

/// A response (dht-rpc.md 5.2).
struct ResponseDatagram: Hashable {
  var tid: UInt16 = 0
  /// The address this response is sent to.
  var to: Endpoint
  /// As carried; valid only if it hashes from the source address.
  var id: Bytes32?
  var token: Bytes32?
  /// `nil` is absent; an empty list is never written.
  var closerNodes: [Endpoint]?
  var error: UInt64 = 0
  var value: [UInt8]?

  /// Everything but the closer nodes and the value.
  static let maximumHeaderCount = 10 + 32 + 32 + 9 + 9 + 9

  /// What `write` takes at most.
  func capacity(closerCount: Int) -> Int {
    ResponseDatagram.maximumHeaderCount + Endpoint.encodedCount * closerCount + (value?.count ?? 0)
  }

  func encode() -> [UInt8] {
    let closer = closerNodes ?? []
    return closer.withUnsafeBufferPointer { closer in
      [UInt8](unsafeUninitializedCapacity: capacity(closerCount: closer.count)) { memory, count in
        var writer = DatagramWriter(UnsafeMutableRawBufferPointer(memory))
        write(closer, to: &writer)
        count = writer.count
      }
    }
  }

  /// Encodes with these closer nodes instead of `closerNodes`. Writes nothing where it does not fit.
  func write(_ closer: UnsafeBufferPointer<Endpoint>, to writer: inout DatagramWriter) {
    guard writer.begin(capacity(closerCount: closer.count)) else { return }
    var flags: UInt64 = 0
    if id != nil { flags |= DatagramFlags.id }
    if token != nil { flags |= DatagramFlags.token }
    if !closer.isEmpty { flags |= DatagramFlags.closerNodes }
    if error > 0 { flags |= DatagramFlags.error }
    if value != nil { flags |= DatagramFlags.value }
    writer.uint8(DatagramKind.response)
    writer.uint8(UInt8(truncatingIfNeeded: flags))
    writer.uint16(tid)
    writer.endpoint(to)
    if let id { writer.fixed32(id) }
    if let token { writer.fixed32(token) }
    if !closer.isEmpty {
      writer.uint(UInt64(closer.count))
      for endpoint in closer { writer.endpoint(endpoint) }
    }
    if error > 0 { writer.uint(error) }
    if let value { writer.buffer(value) }
  }
}

extension ResponseDatagram: CompactDecodable {
  /// Reads what follows the type byte. Trailing bytes are ignored.
  init(from reader: inout CompactReader) throws(CompactError) {
    let flags = try reader.uint()
    tid = try reader.uint16()
    to = try Endpoint(from: &reader)
    id = flags & DatagramFlags.id != 0 ? try reader.fixed32() : nil
    token = flags & DatagramFlags.token != 0 ? try reader.fixed32() : nil
    closerNodes = flags & DatagramFlags.closerNodes != 0 ? try reader.array(of: Endpoint.self) : nil
    error = flags & DatagramFlags.error != 0 ? try reader.safeUint() : 0
    value = flags & DatagramFlags.value != 0 ? try reader.optionalBuffer() : nil
  }
}

/// Any DHT datagram.
enum Datagram: Hashable {
  case request(RequestDatagram)
  case response(ResponseDatagram)

  /// `nil` for anything that is not a well-formed DHT datagram.
  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= 2 else { return nil }
    var reader = CompactReader(UnsafeRawBufferPointer(rebasing: bytes[1...]))
    do throws(CompactError) {
      switch bytes[0] {
      case DatagramKind.request: self = .request(try RequestDatagram(from: &reader))
      case DatagramKind.response: self = .response(try ResponseDatagram(from: &reader))
      default: return nil
      }
    } catch {
      return nil
    }
  }
}
