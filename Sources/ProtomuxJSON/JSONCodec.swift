#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Values of a `Codable` type as JSON text (RFC 8259) in UTF-8. Made by `.json()` and `.rawJSON()`.
public struct JSONCodec<Value: Codable & Sendable>: MessageCodec {
  private let hasLength: Bool

  init(hasLength: Bool) { self.hasLength = hasLength }

  /// The text of a value, with sorted keys. Throws what `JSONEncoder` does.
  public func encode(_ value: Value) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let text = String(decoding: try encoder.encode(value), as: UTF8.self)
    return hasLength ? StringCodec.string.encode(text) : StringCodec.rawString.encode(text)
  }

  /// The value of a text. Throws what `JSONDecoder` does.
  public func decode(_ bytes: [UInt8]) throws -> Value {
    let text = hasLength ? try StringCodec.string.decode(bytes) : try StringCodec.rawString.decode(bytes)
    return try JSONDecoder().decode(Value.self, from: Data(text.utf8))
  }
}

private typealias StringCodec = CompactCodec<String>

extension MessageCodec {
  /// JSON with its length before it (`c.json` in JavaScript).
  /// - Parameter type: where the compiler cannot tell it from the use.
  public static func json<Value>(_ type: Value.Type = Value.self) -> Self where Self == JSONCodec<Value> {
    JSONCodec(hasLength: true)
  }

  /// JSON that is the whole message (`c.raw.json`).
  /// - Parameter type: where the compiler cannot tell it from the use.
  public static func rawJSON<Value>(_ type: Value.Type = Value.self) -> Self where Self == JSONCodec<Value> {
    JSONCodec(hasLength: false)
  }
}
