import Foundation

/// Golden vectors of the JavaScript reference, see `Tests/Vectors/README.md`.
public enum Vectors {
  public struct Missing: Error, CustomStringConvertible {
    public let description: String
  }

  /// The `cases` of a vector file, each a JSON object. Reads the copy in `Tests/Vectors`; where the workspace also has
  /// the originals beside the repository, the two must be the same bytes.
  public static func cases(_ file: String) throws -> [[String: Any]] {
    guard let cases = try root(file)["cases"] as? [[String: Any]], !cases.isEmpty else {
      throw Missing(description: "\(file).json has no cases")
    }
    return cases
  }

  /// The whole file as a JSON object.
  public static func root(_ file: String) throws -> [String: Any] {
    let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let copy = here.appendingPathComponent("Vectors/\(file).json")
    guard let data = try? Data(contentsOf: copy) else {
      throw Missing(description: "no vector file \(copy.path)")
    }
    let original = here.deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("shared/vectors/\(file).json")
    if let theirs = try? Data(contentsOf: original), theirs != data {
      throw Missing(description: "\(copy.path) differs from \(original.path)")
    }
    guard let object = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
      throw Missing(description: "\(file).json is not an object")
    }
    return object
  }

  public static func bytes(_ hex: String) -> [UInt8] {
    var out: [UInt8] = []
    var digits = hex.utf8.makeIterator()
    while let high = digits.next(), let low = digits.next() {
      guard let byte = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16) else { return [] }
      out.append(byte)
    }
    return out
  }

  public static func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { String(format: "%02x", $0) }.joined()
  }
}
