import Foundation
import XCTest

@testable import hyperswarm_cli

/// What `send` shows, and what a name of `receive` promises.
final class FileMannersTests: SharedTestnetTestCase {
  private func send(_ arguments: [String]) throws -> (process: ToolProcess, source: String) {
    let process = try ToolProcess(["send"] + arguments, environment: try environment())
    return (process, try process.offeredSource())
  }

  /// The system calls of `receive` that matter here, in their order; `nil` where they cannot be traced.
  private func calls(_ options: [String], _ files: [String]) throws -> [String]? {
    let strace = URL(fileURLWithPath: "/usr/bin/strace")
    guard FileManager.default.isExecutableFile(atPath: strace.path) else { return nil }
    let test = try TestFolder()
    _ = try test.folder("in")
    for name in files { try test.file("in/\(name)", Array(name.utf8)) }
    let (sender, source) = try send(["--key", test.path + "/in"])
    let log = test.path + "/calls"
    let receiver = try ToolProcess(
      [
        "-f", "-o", log, "-e", "trace=fsync,linkat", ToolProcess.binary.path, "receive", "--output",
        try test.folder("out"), source,
      ] + options, environment: try environment(), program: strace)
    receiver.closeInput()
    let result = try receiver.finish()
    // Not everywhere may processes be traced.
    if result.errors.contains("ptrace") { return nil }
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertEqual(try sender.finish().status, 0)
    XCTAssertEqual(test.names("out").count, files.count + 1)
    let lines = String(decoding: test.content("calls") ?? [], as: UTF8.self).split(separator: "\n")
    return lines.compactMap { line in ["fsync(", "linkat("].first { line.contains(" \($0)") } }
  }

  func testReceive_filesAreOnTheDiskBeforeTheyHaveNames() throws {
    guard let calls = try calls([], ["a", "b", "c"]) else { throw XCTSkip("needs strace") }
    let first = try XCTUnwrap(calls.firstIndex(of: "linkat("))
    // Folder of the way and the record in it, three files, the record; the folder of the names at the end.
    XCTAssertGreaterThanOrEqual(calls[..<first].count { $0 == "fsync(" }, 6, "\(calls)")
    XCTAssertEqual(calls[first...].prefix(3).count { $0 == "linkat(" }, 3, "\(calls)")
    XCTAssertEqual(calls.last, "fsync(")
  }

  func testReceive_noSyncWaitsForNoDisk() throws {
    guard let calls = try calls(["--no-sync"], ["a", "b"]) else { throw XCTSkip("needs strace") }
    XCTAssertEqual(calls, ["linkat(", "linkat("])
  }

  func testSend_aPictureOfTheCode() throws {
    let test = try TestFolder()
    let path = try test.file("a", [1])
    let (plain, _) = try send([path])
    XCTAssertFalse(plain.outputText.contains("█"), "no terminal, no picture")
    let (shown, code) = try send(["--qr", path])
    try shown.wait(for: "▀▀▀\n")
    let expected = try XCTUnwrap(QRCode(code.uppercased())).lines(inColour: false).joined(separator: "\n")
    XCTAssertTrue(shown.outputText.contains(expected), shown.outputText)
    // What the picture says is taken.
    let receiver = try ToolProcess(
      ["receive", "--output", try test.folder("out"), code.uppercased()], environment: try environment())
    receiver.closeInput()
    let received = try receiver.finish()
    XCTAssertEqual(received.status, 0, received.errors)
    XCTAssertEqual(try shown.finish().status, 0)
    plain.interrupt()
    XCTAssertEqual(try plain.finish().status, 130)
  }
}
