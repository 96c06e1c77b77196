import Foundation
import XCTest

/// The code in the articles of the documentation, in the descriptions of symbols and in `docs` is code that the build
/// compiles: `Tests/Readme/Articles`. What needs traits is built by `Tests/Scripts/test_consumer`:
/// `Tests/Consumer/Sources/Operations`.
final class ArticleTests: XCTestCase {
  private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private func files(_ folder: String, _ suffix: String) -> [URL] {
    let all = FileManager.default.enumerator(at: root.appendingPathComponent(folder), includingPropertiesForKeys: nil)
    return (all?.allObjects as? [URL] ?? []).filter { $0.pathExtension == suffix }.sorted { $0.path < $1.path }
  }

  /// What stands between "// snippet: NAME" and "// end", without the indentation of a function's body.
  private func snippets() throws -> [String: String] {
    var found: [String: String] = [:]
    let folders = ["Tests/Readme/Articles", "Tests/Consumer/Sources/Operations"]
    for file in folders.flatMap({ files($0, "swift") }) {
      var name: String?
      let text = try String(contentsOf: file, encoding: .utf8)
      for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
        if let match = line.wholeMatch(of: /\s\s\/\/ snippet: (.+)/) {
          name = String(match.1)
        } else if line == "  // end" {
          name = nil
        } else if let name {
          found[name, default: ""] += (line.hasPrefix("  ") ? line.dropFirst(2) : line) + "\n"
        }
      }
    }
    return found
  }

  /// What stands in the comments of a source file, without the marks.
  private func comments(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      let line = line.drop { $0 == " " }
      return line.hasPrefix("///") ? String(line.dropFirst(line.hasPrefix("/// ") ? 4 : 3)) : ""
    }.joined(separator: "\n")
  }

  func testEveryBlockOfCodeIsCompiled() throws {
    let known = Set(try snippets().values)
    var used: Set<String> = []
    var inComments = 0
    for file in files("Sources", "md") + files("docs", "md") + files("Sources", "swift") {
      var text = try String(contentsOf: file, encoding: .utf8)
      guard text.contains("```swift") else { continue }
      if file.pathExtension == "swift" { text = comments(text) }
      let parts = text.components(separatedBy: "```swift\n").dropFirst()
      for block in parts.compactMap({ $0.components(separatedBy: "```").first }) where !block.contains("swift-tools") {
        XCTAssertTrue(known.contains(block), "\(file.lastPathComponent): no test compiles this:\n\(block)")
        used.insert(block)
        if file.pathExtension == "swift" { inComments += 1 }
      }
    }
    XCTAssertEqual(known.subtracting(used), [], "nowhere to be read")
    XCTAssertGreaterThan(used.count, 20)
    XCTAssertGreaterThan(inComments, 5)
  }

  /// `Scripts/docs` compiles them; here is that each step of a tutorial has its file and each file its step.
  func testTutorialsNameTheirCode() throws {
    var named: Set<String> = []
    for file in files("Sources", "tutorial") {
      for match in try String(contentsOf: file, encoding: .utf8).matches(of: /file: "([^"]+)"/) {
        named.insert(String(match.1))
      }
    }
    let code = files("Sources", "swift").filter { $0.path.contains("/Tutorials/Code/") }.map(\.lastPathComponent)
    XCTAssertEqual(named, Set(code))
    XCTAssertGreaterThan(code.count, 6)
  }
}
