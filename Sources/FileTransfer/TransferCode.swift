import HyperCrypto
import HyperEncoding

/// A code to read out: a number under which the sender is found, and words that prove that it is the one.
package struct TransferCode: Hashable, Sendable, CustomStringConvertible {
  package let nameplate: String
  package let secret: [String]

  /// As both sides must have it.
  package var text: String { ([nameplate] + secret).joined(separator: "-") }
  package var description: String { text }

  /// Why a text is no code.
  package enum Flaw: Error, Hashable, Sendable, CustomStringConvertible {
    case shape
    case unknownWord(String, closest: String)

    package var description: String {
      switch self {
      case .shape: "a code is a number of \(Limits.nameplateDigits) digits and \(Limits.words) words"
      case .unknownWord(let word, let closest): "'\(word)' is not in any code; did you mean '\(closest)'?"
      }
    }
  }

  package static func random() -> TransferCode {
    var generator = SystemRandomNumberGenerator()
    let digits = (0..<Limits.nameplateDigits).map { _ in String(Int.random(in: 0...9, using: &generator)) }
    let words = (0..<Limits.words).map { _ in TransferCode.words[Int.random(in: 0..<256, using: &generator)] }
    return TransferCode(nameplate: digits.joined(), secret: words)
  }

  private init(nameplate: String, secret: [String]) {
    self.nameplate = nameplate
    self.secret = secret
  }

  /// As it is read out: in any case, with hyphens or spaces.
  package init(_ text: String) throws(Flaw) {
    let parts = text.lowercased().split { $0 == "-" || $0.isWhitespace }.map(String.init)
    guard parts.count == Limits.words + 1, parts[0].count == Limits.nameplateDigits,
      parts[0].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { throw .shape }
    for word in parts[1...] where !TransferCode.words.contains(word) {
      throw .unknownWord(FileName.printable(word.utf8.prefix(Limits.text)), closest: TransferCode.closest(to: word))
    }
    nameplate = parts[0]
    secret = Array(parts[1...])
  }

  private static func closest(to word: String) -> String {
    let letters = Array(word.utf8.prefix(16))
    return words.min { distance(letters, Array($0.utf8)) < distance(letters, Array($1.utf8)) } ?? ""
  }

  /// Letters to change, add or leave out.
  package static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for (i, left) in a.enumerated() {
      var previous = row[0]
      row[0] = i + 1
      for (j, right) in b.enumerated() {
        let above = row[j + 1]
        row[j + 1] = min(above + 1, row[j] + 1, previous + (left == right ? 0 : 1))
        previous = above
      }
    }
    return row[b.count]
  }

  /// The topic under which the sender is announced.
  package var topic: Bytes32 { Blake2b.hash32(Array("hyperswarm-files nameplate \(nameplate)".utf8)) }
}
