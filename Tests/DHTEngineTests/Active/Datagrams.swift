import HyperCrypto
import HyperEncoding
import HyperRPC

@testable import HyperDHTEngine

/// What a datagram of the virtual network says, read without the engine under test.
enum Datagrams {
  struct Request {
    var tid: UInt16
    var to: Endpoint
    var id: Bytes32?
    var token: Bytes32?
    var command: UInt64
    var isInternal: Bool
    var target: Bytes32?
    var value: [UInt8]?
  }

  struct Response {
    var tid: UInt16
    var to: Endpoint
    var id: Bytes32?
    var token: Bytes32?
    var closerNodes: [Endpoint]
    var error: UInt64
    var value: [UInt8]?
  }

  static func request(_ bytes: [UInt8]) -> Request? {
    guard bytes.first == 3 else { return nil }
    return bytes.withUnsafeBytes { buffer in
      var reader = CompactReader(buffer)
      do {
        _ = try reader.uint8()
        let flags = try reader.uint()
        let tid = try reader.uint16()
        let to = try Endpoint(from: &reader)
        let id = flags & 1 != 0 ? try reader.fixed32() : nil
        let token = flags & 2 != 0 ? try reader.fixed32() : nil
        let command = try reader.uint()
        let target = flags & 8 != 0 ? try reader.fixed32() : nil
        let value = flags & 16 != 0 ? try reader.buffer() : nil
        return Request(
          tid: tid, to: to, id: id, token: token, command: command, isInternal: flags & 4 != 0, target: target,
          value: value)
      } catch {
        return nil
      }
    }
  }

  static func response(_ bytes: [UInt8]) -> Response? {
    guard bytes.first == 0x13 else { return nil }
    return bytes.withUnsafeBytes { buffer in
      var reader = CompactReader(buffer)
      do {
        _ = try reader.uint8()
        let flags = try reader.uint()
        let tid = try reader.uint16()
        let to = try Endpoint(from: &reader)
        let id = flags & 1 != 0 ? try reader.fixed32() : nil
        let token = flags & 2 != 0 ? try reader.fixed32() : nil
        let closer = flags & 4 != 0 ? try reader.array(of: Endpoint.self) : []
        let error = flags & 8 != 0 ? try reader.uint() : 0
        let value = flags & 16 != 0 ? try reader.buffer() : nil
        return Response(tid: tid, to: to, id: id, token: token, closerNodes: closer, error: error, value: value)
      } catch {
        return nil
      }
    }
  }

  /// The PEER_HANDSHAKE message of a request or a response. Responses do not name their command: whatever decodes with
  /// mode 4 counts.
  static func handshake(_ bytes: [UInt8]) -> HandshakeMessage? {
    if let request = request(bytes) {
      guard request.command == Command.peerHandshake.rawValue, !request.isInternal, let value = request.value else {
        return nil
      }
      return try? CompactReader.decode(HandshakeMessage.self, from: value)
    }
    guard let value = response(bytes)?.value,
      let message = try? CompactReader.decode(HandshakeMessage.self, from: value), message.mode == .reply
    else { return nil }
    return message
  }

  /// The PEER_HOLEPUNCH message of a request.
  static func holepunch(_ bytes: [UInt8]) -> HolepunchMessage? {
    guard let request = request(bytes), request.command == Command.peerHolepunch.rawValue, !request.isInternal,
      let value = request.value
    else { return nil }
    return try? CompactReader.decode(HolepunchMessage.self, from: value)
  }

  static func encodeRequest(
    tid: UInt16, to: Endpoint, command: UInt64, target: Bytes32?, value: [UInt8]?, token: Bytes32? = nil
  ) -> [UInt8] {
    var writer = CompactWriter()
    writer.uint8(3)
    writer.uint8((token == nil ? 0 : 2) | (target == nil ? 0 : 8) | (value == nil ? 0 : 16))
    writer.uint16(tid)
    to.encode(into: &writer)
    if let token { writer.fixed32(token) }
    writer.uint(command)
    if let target { writer.fixed32(target) }
    if let value { writer.buffer(value) }
    return writer.bytes
  }

  static func encodeResponse(tid: UInt16, to: Endpoint, value: [UInt8]?) -> [UInt8] {
    var writer = CompactWriter()
    writer.uint8(0x13)
    writer.uint8(value == nil ? 0 : 16)
    writer.uint16(tid)
    to.encode(into: &writer)
    if let value { writer.buffer(value) }
    return writer.bytes
  }
}
