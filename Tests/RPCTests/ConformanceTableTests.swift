import Foundation
import XCTest

/// Tests/Conformance/RPC.md tells the truth about which tests exist.
final class ConformanceTableTests: XCTestCase {
  func testTableNamesEveryItemAndOnlyExistingTests() throws {
    let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let table = try String(
      contentsOf: here.deletingLastPathComponent().appendingPathComponent("Conformance/RPC.md"), encoding: .utf8)
    var sources = ""
    for name in try FileManager.default.contentsOfDirectory(atPath: here.path) where name.hasSuffix(".swift") {
      sources += try String(contentsOf: here.appendingPathComponent(name), encoding: .utf8)
    }
    for item in 1...115 {
      XCTAssertEqual(table.components(separatedBy: "\n| \(item) |").count, 2, "row of item \(item)")
    }
    var named: Set<String> = []
    for piece in table.components(separatedBy: "`") where piece.hasPrefix("testRPC_") || piece.hasPrefix("testFlood") {
      named.insert(piece)
    }
    XCTAssertGreaterThan(named.count, 100)
    for name in named { XCTAssertTrue(sources.contains("func \(name)()"), name) }
  }
}
