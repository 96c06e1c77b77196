import Foundation
import XCTest

@testable import hyperswarm_cli

/// A process that may open few files fails with a sentence, or takes fewer connections; it is never ended by a signal.
final class DescriptorLimitTests: TunnelTestCase {
  func testTheFirstLoopFailsCleanlyAtTheLimit() throws {
    // Below 7 the runtime of the language has too few for itself.
    for limit in 7...12 {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments = [
        "-c", "ulimit -n \(limit); exec \"$0\" ping 127.0.0.1:9", ToolProcess.binary.path,
      ]
      process.standardInput = FileHandle.nullDevice
      let errors = Foundation.Pipe()
      process.standardError = errors
      try process.run()
      let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitForEnd()
      XCTAssertEqual(process.terminationReason, .exit, "limit \(limit): \(text)")
      XCTAssertEqual(process.terminationStatus, 1, "limit \(limit)")
      XCTAssertTrue(text.contains("too many open files"), "limit \(limit): \(text)")
    }
  }

  func testATunnelTakesAsManyConnectionsAsThereAreFiles() async throws {
    let service = try await Service { socket in
      while let more = try await socket.read() { try await socket.write(more) }
      socket.end()
    }
    let expose = try run(["expose", "\(service.port)"], until: "forward PORT")
    let key = try XCTUnwrap(keys(expose).first)
    let forward = try ToolProcess(
      ["-c", "ulimit -n 84; exec \"$0\" forward 0 \(key)", ToolProcess.binary.path],
      environment: try environment(), program: URL(fileURLWithPath: "/bin/sh"))
    try forward.wait(for: "-> ")
    try forward.wait(for: "\n")
    // Standard error is read by another thread.
    try forward.wait(for: "(ulimit -n)")
    XCTAssertTrue(forward.errorText.contains("at most 20 connections at a time instead of 1024"), forward.errorText)
    XCTAssertTrue(forward.errorText.contains("84 files (ulimit -n)"), forward.errorText)
    let port = try port(forward)
    // Those that are not taken wait in the system's queue until others have ended.
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<40 {
        group.addTask {
          let answer = try await TunnelTestCase.ask(port, Array("\(index)".utf8))
          XCTAssertEqual(String(decoding: answer, as: UTF8.self), "\(index)")
        }
      }
      try await group.waitForAll()
    }
    try end(forward, expose)
  }

  func testCommandsForCallersAreAsManyAsThereAreFiles() throws {
    let listener = try ToolProcess(
      ["-c", "ulimit -n 84; exec \"$0\" listen --many --exec cat --limit 100", ToolProcess.binary.path],
      environment: try environment(), program: URL(fileURLWithPath: "/bin/sh"))
    try listener.wait(for: "listening as")
    XCTAssertTrue(listener.errorText.contains("at most 5 connections at a time instead of 100"), listener.errorText)
    listener.interrupt()
    try assertEnds(listener, with: 130)
  }
}
