import Foundation
import XCTest

/// The table of commands, descriptors and ways to end (`Tests/Endings/run`). `HYPERSWARM_ENDINGS=all` takes all of it.
final class EndingTableTests: XCTestCase {
  func testEveryCommandEndsAsTheTableSays() throws {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Endings/run").path
    let isWhole = ProcessInfo.processInfo.environment["HYPERSWARM_ENDINGS"] == "all"
    let process = try ToolProcess(
      ["python3", script, ToolProcess.binary.path] + (isWhole ? ["--all"] : []),
      program: URL(fileURLWithPath: "/usr/bin/env"))
    process.closeInput()
    let result = try process.finish(seconds: isWhole ? 1800 : 300)
    try XCTSkipIf(result.status == 127, "no python3")
    let wrong = result.text.split(separator: "\n").filter { $0.hasPrefix("WRONG") }
    XCTAssertEqual(result.status, 0, wrong.joined(separator: "\n") + result.errors)
    XCTAssertTrue(result.text.contains(" cases, 0 wrong"), result.text)
  }
}
