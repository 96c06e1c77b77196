import Foundation
import XCTest

@testable import hyperswarm_cli

/// The command lines in the articles and tutorials of the Swift documentation.
final class ArticleCommandTests: XCTestCase {
  func testCommandLinesOfArticlesAreUnderstood() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let sources = root.appendingPathComponent("Sources")
    let all = FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil)?.allObjects as? [URL]
    var lines: Set<String> = []
    for file in all ?? [] where ["md", "tutorial"].contains(file.pathExtension) {
      // Behind a quotation mark, or behind the product's package for `swift run`.
      for match in try String(contentsOf: file, encoding: .utf8).matches(of: /(?:`|hyperswarm )hyperswarm ([^`\n]+)/) {
        lines.insert(String(match.1))
      }
    }
    XCTAssertGreaterThan(lines.count, 1)
    for line in lines {
      let words = line.split(separator: " ").map { $0 == "ADDRESS" ? "192.0.2.1" : String($0) }
      XCTAssertNoThrow(try Tool.parseAsRoot(words), line)
    }
  }
}
