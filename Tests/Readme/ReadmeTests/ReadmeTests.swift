import Foundation
import XCTest

/// The programs of the README and the documents are the ones that the build compiles.
final class ReadmeTests: XCTestCase {
  private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private func text(_ path: String) throws -> String {
    try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
  }

  func testSwiftExampleIsCompiledAsItStands() throws {
    let example = try text("Tests/Readme/Example/main.swift")
    XCTAssertTrue(try text("README.md").contains("```swift\n\(example)```"))
  }

  func testCExampleIsCompiledAsItStands() throws {
    let example = try text("Tests/Readme/example.c")
    XCTAssertTrue(try text("docs/transport-for-c.md").contains("```c\n\(example)```"))
  }

  /// `Scripts/test` also links it from outside the package and lets two of them meet.
  func testCExampleOfTheWholeStackIsCompiledAsItStands() throws {
    let example = try text("Tests/Readme/CExample/swarm.c")
    XCTAssertTrue(try text("README.md").contains("```c\n\(example)```"))
  }

  /// Every path that the README names in code quotes exists.
  func testNamedPathsExist() throws {
    let readme = try text("README.md")
    let named = readme.split(separator: "`").map(String.init).filter {
      $0.wholeMatch(of: /(Sources|Tests|Benchmarks|Scripts|include)(\/[A-Za-z0-9_.+-]+)+\/?/) != nil
    }
    XCTAssertGreaterThan(named.count, 10)
    for path in named {
      XCTAssertTrue(FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path), path)
    }
  }
}
