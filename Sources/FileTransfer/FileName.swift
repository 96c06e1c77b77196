/// Rules for the names in paths.
package enum FileName {
  package static let separator = UInt8(ascii: "/")
  /// Beginning of the names under which a receiver keeps what is not complete: not for a sender to choose.
  package static let reserved = ".hyperswarm-receive-"

  /// Whether the bytes can stand in a path of an offer: a name, not a way out of the folder.
  package static func isAllowed(_ name: some Collection<UInt8>) -> Bool {
    guard (1...Limits.name).contains(name.count), !name.contains(0), !name.contains(separator) else { return false }
    if name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8) { return false }
    return !name.starts(with: reserved.utf8)
  }

  /// The name under which a receiver stores it: control characters, characters that change the direction of text, and
  /// bytes that are not UTF-8 become `_`.
  package static func sanitized(_ name: some Collection<UInt8>) -> String {
    var text = String.UnicodeScalarView()
    for scalar in String(decoding: name, as: UTF8.self).unicodeScalars {
      text.append(isHarmful(scalar) || scalar == "\u{fffd}" ? "_" : scalar)
    }
    return String(text)
  }

  /// Text of a peer for a terminal.
  package static func printable(_ bytes: some Collection<UInt8>) -> String {
    var text = String.UnicodeScalarView()
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      text.append(isHarmful(scalar) ? "\u{fffd}" : scalar)
    }
    return String(text)
  }

  private static func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7f...0x9f, 0x061c, 0x200e...0x200f, 0x2028...0x202e, 0x2066...0x2069: true
    default: false
    }
  }
}
