import Foundation
import HyperTestVectors
import XCTest

@testable import HyperEncoding

/// `compact-encoding.json`: every codec in both directions, malformed input with its error.
final class VectorTests: XCTestCase {
  func testAllVectors() throws {
    let cases = try Vectors.cases("compact-encoding")
    var ran = 0
    for vector in cases {
      let id = try XCTUnwrap(vector["id"] as? String)
      let codec = try XCTUnwrap(AnyCodec.named(try XCTUnwrap(vector["codec"] as? String)), id)
      let hex = vector["hex"] as? String
      switch vector["op"] as? String {
      case "roundtrip":
        let value = try XCTUnwrap(vector["value"], id)
        let bytes = Vectors.bytes(try XCTUnwrap(hex))
        XCTAssertEqual(Vectors.hex(try codec.encode(value)), hex, id)
        let (decoded, consumed) = try codec.decode(bytes)
        XCTAssertEqual(text(decoded), text(value), id)
        XCTAssertEqual(consumed, bytes.count, id)
      case "encode-decode-differs":
        XCTAssertEqual(Vectors.hex(try codec.encode(try XCTUnwrap(vector["value"]))), hex, id)
        let (decoded, _) = try codec.decode(Vectors.bytes(try XCTUnwrap(hex)))
        XCTAssertEqual(text(decoded), text(try XCTUnwrap(vector["decoded"])), id)
      case "decode":
        let (decoded, consumed) = try codec.decode(Vectors.bytes(try XCTUnwrap(hex)))
        XCTAssertEqual(text(decoded), text(try XCTUnwrap(vector["value"])), id)
        XCTAssertEqual(consumed, vector["consumed"] as? Int, id)
        if let again = vector["reencoded"] as? String {
          XCTAssertEqual(Vectors.hex(try codec.encode(decoded)), again, id)
        }
      case "decode-error":
        XCTAssertThrowsError(try codec.decode(Vectors.bytes(try XCTUnwrap(hex))), id) { error in
          XCTAssertEqual(self.name(error), vector["error"] as? String ?? "", id)
        }
      case "encode-error":
        XCTAssertThrowsError(try codec.encode(try XCTUnwrap(vector["value"])), id) { error in
          XCTAssertEqual(self.name(error), vector["error"] as? String, id)
        }
      case "decode-unsafe":
        // Exact as 64 bits, refused where a message asks for a safe integer.
        let bytes = Vectors.bytes(try XCTUnwrap(hex))
        let (decoded, _) = try codec.decode(bytes)
        XCTAssertEqual(text(decoded), vector["exact"] as? String, id)
        try bytes.withUnsafeBytes { buffer in
          var reader = CompactReader(buffer)
          XCTAssertThrowsError(try reader.safeUint()) { XCTAssertEqual($0 as? CompactError, .unsafeInteger, id) }
        }
      default: XCTFail("unknown op in \(id)")
      }
      ran += 1
    }
    print("compact-encoding.json: \(ran) cases")
    XCTAssertEqual(ran, cases.count)
  }

  private func name(_ error: any Error) -> String {
    switch error as? CompactError {
    case .outOfBounds: "out-of-bounds"
    case .arrayTooBig: "array-too-big"
    case .wrongSize: "wrong-size"
    case .notAnUnsignedInteger: "not-a-uint"
    case .unsafeInteger: "unsafe-integer"
    case .invalidAddress: "invalid-address"
    case .invalidValue: "invalid-value"
    case nil: "\(error)"
    }
  }

  /// One spelling for JSON values and decoded values.
  private func text(_ value: Any) -> String {
    switch value {
    case is NSNull: return "null"
    case let number as NSNumber where String(cString: number.objCType) == "c":
      return number.boolValue ? "true" : "false"
    case let list as [Any]: return "[" + list.map(text).joined(separator: ",") + "]"
    case let object as [String: Any]: return "\(text(object["host"] ?? "")):\(text(object["port"] ?? ""))"
    case let string as String: return string
    default: return "\(value)"
    }
  }
}

/// A codec by its name in the vectors, over untyped JSON values.
struct AnyCodec {
  let write: (inout CompactWriter, Any) throws -> Void
  let read: (inout CompactReader) throws -> Any

  func encode(_ value: Any) throws -> [UInt8] {
    var writer = CompactWriter()
    try write(&writer, value)
    return writer.bytes
  }

  func decode(_ bytes: [UInt8]) throws -> (Any, Int) {
    try bytes.withUnsafeBytes { buffer in
      var reader = CompactReader(buffer)
      let value = try read(&reader)
      return (value, reader.offset)
    }
  }

  static func named(_ name: String) -> AnyCodec? {
    if name.hasPrefix("array<"), let element = named(String(name.dropFirst(6).dropLast())) {
      return AnyCodec(
        write: { writer, value in
          let list = value as? [Any] ?? []
          writer.uint(UInt64(list.count))
          for item in list { try element.write(&writer, item) }
        },
        read: { reader in
          try reader.array { reader throws(CompactError) in
            do { return try element.read(&reader) } catch let error as CompactError { throw error } catch {
              throw .invalidValue
            }
          }
        })
    }
    if name.hasPrefix("bitfield"), let bits = Int(name.dropFirst(8)) {
      return AnyCodec(
        write: { writer, value in
          var number: UInt64 = 0
          for (index, byte) in Vectors.bytes(hex(value)).enumerated() { number |= UInt64(byte) << UInt64(8 * index) }
          try writer.bitfield(number, bitCount: bits)
        },
        read: { reader in
          let number = try reader.bitfield()
          return Vectors.hex((0..<(bits + 7) / 8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) })
        })
    }
    if name.hasPrefix("uint"), let bits = Int(name.dropFirst(4)) {
      return AnyCodec(
        write: { try $0.uint(try unsigned($1), byteCount: bits / 8) }, read: { try $0.uint(byteCount: bits / 8) })
    }
    if name.hasPrefix("int"), let bits = Int(name.dropFirst(3)) {
      return AnyCodec(
        write: { try $0.uint(ZigZag.encode(signed($1)), byteCount: bits / 8) },
        read: { ZigZag.decode(try $0.uint(byteCount: bits / 8)) })
    }
    return plain[name]
  }

  private static var plain: [String: AnyCodec] {
    [
      "uint": AnyCodec(write: { try $0.safeUint(try unsigned($1)) }, read: { try $0.uint() }),
      "int": AnyCodec(write: { $0.int(signed($1)) }, read: { try $0.int() }),
      "bool": AnyCodec(write: { $0.bool($1 as? Bool ?? false) }, read: { try $0.bool() }),
      "buffer": AnyCodec(write: { $0.buffer(Vectors.bytes(hex($1))) }, read: { Vectors.hex(try $0.buffer()) }),
      "optionalBuffer": AnyCodec(
        write: { $0.optionalBuffer($1 is NSNull ? nil : Vectors.bytes(hex($1))) },
        read: { try $0.optionalBuffer().map { Vectors.hex($0) as Any } ?? NSNull() }),
      "raw": AnyCodec(write: { $0.raw(Vectors.bytes(hex($1))) }, read: { Vectors.hex($0.raw()) }),
      "string": AnyCodec(write: { $0.string(hex($1)) }, read: { try $0.string() }),
      "fixed32": AnyCodec(
        write: {
          guard let value = Bytes32(Vectors.bytes(hex($1))) else { throw CompactError.wrongSize }
          $0.fixed32(value)
        }, read: { try $0.fixed32().hex }),
      "fixed64": AnyCodec(
        write: {
          guard let value = Bytes64(Vectors.bytes(hex($1))) else { throw CompactError.wrongSize }
          $0.fixed64(value)
        }, read: { try $0.fixed64().hex }),
      "port": AnyCodec(write: { $0.uint16(UInt16(try unsigned($1))) }, read: { try $0.uint16() }),
      "ipv4": address { IPv4Address($0) },
      "ipv6": address { IPv6Address($0) },
      "ip": address { IPAddress($0) },
      "ipv4Address": endpoint { IPv4Address($0) },
      "ipv6Address": endpoint { IPv6Address($0) },
      "ipAddress": endpoint { IPAddress($0) },
    ]
  }

  private static func address<Address: CompactCodable & CustomStringConvertible>(
    _ parse: @escaping (String) -> Address?
  ) -> AnyCodec {
    AnyCodec(
      write: {
        guard let value = parse(hex($1)) else { throw CompactError.invalidAddress }
        value.encode(into: &$0)
      }, read: { try Address(from: &$0).description })
  }

  private static func endpoint<Address: CompactCodable & CustomStringConvertible>(
    _ parse: @escaping (String) -> Address?
  ) -> AnyCodec {
    AnyCodec(
      write: { writer, value in
        let object = value as? [String: Any] ?? [:]
        guard let host = parse(hex(object["host"] ?? "")) else { throw CompactError.invalidAddress }
        host.encode(into: &writer)
        writer.uint16(UInt16(try unsigned(object["port"] ?? 0)))
      },
      read: { reader in
        let host = try Address(from: &reader)
        return ["host": host.description, "port": try reader.uint16()] as [String: Any]
      })
  }

  private static func hex(_ value: Any) -> String { value as? String ?? "" }

  private static func signed(_ value: Any) -> Int64 { (value as? NSNumber)?.int64Value ?? (value as? Int64) ?? 0 }

  private static func unsigned(_ value: Any) throws -> UInt64 {
    if let exact = value as? UInt64 { return exact }
    guard let number = value as? NSNumber, number.doubleValue >= 0, number.doubleValue.rounded() == number.doubleValue
    else { throw CompactError.notAnUnsignedInteger }
    return number.uint64Value
  }
}
