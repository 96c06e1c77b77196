import Foundation
import XCTest

/// A process that may open few files fails with a sentence; it is never ended by a signal.
final class DescriptorLimitTests: XCTestCase {
  func testTheFirstLoopFailsCleanlyAtTheLimit() throws {
    // Below 7 the runtime of the language has too few for itself.
    for limit in 7...12 {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments = [
        "-c", "ulimit -n \(limit); exec \"$0\" ping 127.0.0.1:9", ToolProcess.binary.path,
      ]
      process.standardInput = FileHandle.nullDevice
      let errors = Pipe()
      process.standardError = errors
      try process.run()
      let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitForEnd()
      XCTAssertEqual(process.terminationReason, .exit, "limit \(limit): \(text)")
      XCTAssertEqual(process.terminationStatus, 1, "limit \(limit)")
      XCTAssertTrue(text.contains("too many open files"), "limit \(limit): \(text)")
    }
  }
}
