import Foundation
import XCTest

@testable import hyperswarm_cli

/// `beam` with what hyperbeam does on the other side (Tests/Interop/beam.js), in both roles. Runs where NODE_PATH names
/// a folder with the package `hyperdht`.
final class BeamInteropTests: SharedTestnetTestCase {
  private func program(_ role: String, _ passphrase: String) throws -> ToolProcess {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Interop/beam.js").path
    return try ToolProcess(
      ["node", script, role, try bootstrap(), passphrase], program: URL(fileURLWithPath: "/usr/bin/env"))
  }

  private func skipWithoutPackages() throws {
    guard let folder = ProcessInfo.processInfo.environment["NODE_PATH"],
      FileManager.default.fileExists(atPath: folder + "/hyperdht")
    else { throw XCTSkip("NODE_PATH names no folder with hyperdht") }
  }

  private func exchange(_ first: ToolProcess, _ second: ToolProcess) throws {
    first.write("from the first")
    second.write("from the second")
    try first.wait(for: "from the second")
    try second.wait(for: "from the first")
    for side in [first, second] { side.closeInput() }
    for (side, text) in [(first, "from the second"), (second, "from the first")] {
      let result = try side.finish(seconds: 30)
      XCTAssertEqual(result.status, 0, result.errors)
      XCTAssertEqual(result.text, text)
    }
  }

  func testTheToolWaits() throws {
    try skipWithoutPackages()
    let passphrase = Passphrase().text
    let ours = try ToolProcess(
      ["beam", "--listen"], environment: try environment(["HYPERSWARM_PASSPHRASE": passphrase]))
    try ours.wait(for: "waiting for the other side")
    try exchange(ours, try program("connect", passphrase))
  }

  func testTheToolConnects() throws {
    try skipWithoutPackages()
    let passphrase = Passphrase().text
    let theirs = try program("listen", passphrase)
    try theirs.wait(for: "listening")
    let ours = try ToolProcess(["beam"], environment: try environment(["HYPERSWARM_PASSPHRASE": passphrase]))
    try exchange(ours, theirs)
  }
}
