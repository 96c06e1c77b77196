import Foundation
import XCTest

/// `Scripts/install`: the tool, its manual pages, its completions.
final class InstallTests: XCTestCase {
  private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  private func run(_ program: String, _ arguments: [String]) throws -> (status: Int32, text: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardInput = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitForEnd()
    return (process.terminationStatus, text)
  }

  private func exists(_ program: String) -> Bool {
    (try? run("sh", ["-c", "command -v \(program)"]))?.status == 0
  }

  func testEverythingIsInstalledWorksAndIsRemoved() throws {
    try XCTSkipIf(!exists("python3"), "no python3 for the manual pages")
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hyperswarm-test-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let script = root.appendingPathComponent("Scripts/install").path
    let installed = try run(script, ["--binary", ToolProcess.binary.path, folder.path])
    XCTAssertEqual(installed.status, 0, installed.text)
    XCTAssertEqual(
      try run(folder.appendingPathComponent("bin/hyperswarm").path, ["--version"]).text, try runTool(["--version"]).text
    )

    let pages = folder.appendingPathComponent("share/man/man1")
    let commands = try runTool(["--help"]).text.components(separatedBy: "SUBCOMMANDS:\n").last ?? ""
    let names = commands.split(separator: "\n").filter {
      $0.hasPrefix("  ") && !$0.hasPrefix("   ") && !$0.contains("'")
    }
    .compactMap { $0.split(separator: " ").first.map(String.init) }
    XCTAssertGreaterThan(names.count, 12)
    for name in [""] + names.map({ "-" + $0 }) {
      let page = pages.appendingPathComponent("hyperswarm\(name).1").path
      let text = try String(contentsOfFile: page, encoding: .utf8)
      for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"] {
        XCTAssertTrue(text.contains("\n.SH \(section)\n"), "\(page): \(section)")
      }
      guard exists("groff") else { continue }
      let rendered = try run("groff", ["-man", "-Tutf8", "-ww", "-z", page])
      XCTAssertEqual(rendered.text, "", page)
    }
    try checkCompletions(folder)
    XCTAssertEqual(try run(script, ["--uninstall", folder.path]).status, 0)
    let left = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: [.isRegularFileKey])?
      .compactMap { $0 as? URL }.filter {
        (try? $0.resourceValues(forKeys: [.isRegularFileKey]))?.isRegularFile == true
      }
    XCTAssertEqual(left, [])
  }

  private func checkCompletions(_ folder: URL) throws {
    let bash = folder.appendingPathComponent("share/bash-completion/completions/hyperswarm").path
    let completed = try run(
      "bash",
      [
        "-c",
        """
        source '\(bash)'
        COMP_WORDS=(hyperswarm li) COMP_CWORD=1 COMP_LINE='hyperswarm li' COMP_POINT=13
        _hyperswarm hyperswarm li hyperswarm 2>/dev/null
        echo "${COMPREPLY[@]}"
        """,
      ])
    XCTAssertEqual(completed.text, "listen\n")
    for (shell, path) in [
      ("zsh", "share/zsh/site-functions/_hyperswarm"), ("fish", "share/fish/vendor_completions.d/hyperswarm.fish"),
    ] {
      let file = folder.appendingPathComponent(path).path
      XCTAssertGreaterThan(try String(contentsOfFile: file, encoding: .utf8).count, 1000)
      guard exists(shell) else { continue }
      XCTAssertEqual(try run(shell, ["-n", file]).status, 0, file)
    }
    guard exists("fish") else { return }
    let fish = folder.appendingPathComponent("share/fish/vendor_completions.d/hyperswarm.fish").path
    XCTAssertTrue(try run("fish", ["-c", "source '\(fish)'; complete -C 'hyperswarm li'"]).text.hasPrefix("listen"))
  }

  func testWrongUse() throws {
    let script = root.appendingPathComponent("Scripts/install").path
    for arguments in [[], ["--binary", "/nonexistent", "/tmp/x"], ["--frobnicate", "/tmp/x"], ["a", "b"]] {
      XCTAssertEqual(try run(script, arguments).status, 1, "\(arguments)")
    }
  }
}
