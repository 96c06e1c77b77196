/// A JSON value with its keys in the order of writing.
indirect enum JSON: Sendable, CustomStringConvertible {
  case string(String)
  case number(Double)
  case integer(Int)
  /// Above what an integer holds, too.
  case unsigned(UInt64)
  case bool(Bool)
  case null
  case array([JSON])
  case object([(String, JSON)])

  var description: String {
    switch self {
    case .string(let text): JSON.quoted(text)
    case .number(let value): value.isFinite ? "\(value)" : "null"
    case .integer(let value): "\(value)"
    case .unsigned(let value): "\(value)"
    case .bool(let value): "\(value)"
    case .null: "null"
    case .array(let items): "[" + items.map(\.description).joined(separator: ",") + "]"
    case .object(let fields):
      "{" + fields.map { "\(JSON.quoted($0)):\($1.description)" }.joined(separator: ",") + "}"
    }
  }

  private static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
  init(stringLiteral value: String) { self = .string(value) }
  init(integerLiteral value: Int) { self = .integer(value) }
  init(booleanLiteral value: Bool) { self = .bool(value) }
}
