import Foundation
import XCTest

/// `send` and `receive` as people run them.
final class FileCommandTests: XCTestCase {
  nonisolated(unsafe) private static var network: LocalTestnet?

  override static func tearDown() {
    network = nil
    super.tearDown()
  }

  private func testnet() throws -> LocalTestnet {
    if let network = FileCommandTests.network { return network }
    let made = try LocalTestnet()
    FileCommandTests.network = made
    return made
  }

  /// A sender that waits, and what it tells to give to `receive`.
  private func send(_ arguments: [String]) throws -> (process: ToolProcess, source: String) {
    let process = try ToolProcess(["send", "--bootstrap", try testnet().bootstrap] + arguments)
    return (process, try process.offeredSource())
  }

  private func receive(_ source: String, _ folder: String, _ more: [String] = []) throws -> ToolProcess {
    let process = try ToolProcess(
      ["receive", "--bootstrap", try testnet().bootstrap, "--output", folder] + more + [source])
    process.closeInput()
    return process
  }

  func testSend_byCode() throws {
    let test = try TestFolder()
    _ = try test.folder("in/empty")
    try test.file("in/a", [1, 2, 3])
    let (sender, code) = try send([test.path + "/in"])
    let result = try receive(code, try test.folder("out")).finish()
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertTrue(result.text.contains("received 1 file, 3 B, verified"), result.text)
    XCTAssertEqual(try sender.finish().status, 0)
    XCTAssertEqual(test.names("out"), ["in", "in/a", "in/empty"])
    XCTAssertEqual(test.content("out/in/a"), [1, 2, 3])
  }

  func testSend_aWrongCodeEndsIt() throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let (sender, code) = try send([try test.file("in/a", [1])])
    let parts = code.split(separator: "-")
    let wrong = (parts.dropLast() + [parts.last == "acorn" ? "cactus" : "acorn"]).joined(separator: "-")
    let result = try receive(wrong, try test.folder("out")).finish()
    XCTAssertEqual(result.status, 1)
    XCTAssertTrue(result.errors.contains("the code is wrong"), result.errors)
    let end = try sender.finish()
    XCTAssertEqual(end.status, 1)
    XCTAssertTrue(end.errors.contains("a wrong code was tried"), end.errors)
    XCTAssertEqual(test.names("out"), [])
  }

  func testSend_byKeyToThoseAllowed() throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let seed = String(repeating: "05", count: 32)
    let allowed = try XCTUnwrap(
      try runTool(["keygen", "--seed", seed, "--json"]).object("keypair")?["publicKey"] as? String)
    let (sender, key) = try send(["--key", "--many", "--allow", allowed, try test.file("in/a", [1])])
    XCTAssertEqual(key.count, 64)
    let stranger = try receive(key, try test.folder("out")).finish()
    XCTAssertEqual(stranger.status, 1)
    XCTAssertEqual(test.names("out"), [])
    for folder in ["out2", "out3"] {
      let result = try receive(key, try test.folder(folder), ["--seed", seed, "--json"]).finish()
      XCTAssertEqual(result.status, 0, result.errors)
      XCTAssertEqual(result.object("received")?["bytes"] as? Int, 1)
      XCTAssertEqual(test.names(folder), ["a"])
    }
    sender.interrupt()
    XCTAssertEqual(try sender.finish().status, 130)
  }

  func testReceive_goesOnAfterCtrlCAndAfterKill() throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    // Large enough that it is not complete before the signal, whatever else the machine does.
    let block = (0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let big = (0..<30).flatMap { _ in block }
    let (sender, code) = try send([try test.file("in/big", big)])
    let output = try test.folder("out")
    func part() -> Int {
      guard let name = test.names("out").first(where: { $0.hasSuffix(".part") }) else { return 0 }
      return (try? FileManager.default.attributesOfItem(atPath: output + "/" + name)[.size] as? Int) ?? 0
    }
    var seen = 0
    for isKilled in [false, true] {
      let process = try receive(code, output)
      let deadline = Date(timeIntervalSinceNow: 30)
      while part() < seen + 300_000, Date() < deadline { usleep(2_000) }
      if isKilled { process.kill() } else { process.interrupt() }
      let result = try process.finish()
      XCTAssertNotEqual(result.status, 0, "complete before the signal")
      if !isKilled {
        XCTAssertEqual(result.status, 130, result.errors)
        XCTAssertTrue(result.errors.contains("the same command goes on with it"), result.errors)
      }
      XCTAssertGreaterThan(part(), seen)
      XCTAssertFalse(test.names("out").contains("big"))
      seen = part()
    }
    let result = try receive(code, output).finish()
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertEqual(try sender.finish().status, 0)
    XCTAssertEqual(test.names("out"), ["big"])
    XCTAssertTrue(test.content("out/big") == big)
  }

  func testReceive_findsTheSenderAgain() throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let path = try test.file("in/big", (0..<6_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    let identity = ["--key", "--seed", String(repeating: "06", count: 32), path]
    let (first, key) = try send(identity)
    let receiver = try receive(key, try test.folder("out"))
    let deadline = Date(timeIntervalSinceNow: 30)
    while !test.names("out").contains(where: { $0.hasSuffix(".part") }), Date() < deadline { usleep(2_000) }
    first.kill()
    _ = try first.finish()
    let (second, _) = try send(identity)
    let result = try receiver.finish(seconds: 90)
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertEqual(try second.finish().status, 0)
    XCTAssertEqual(test.names("out"), ["big"])
  }

  /// A code among the arguments is warned of; the other ways show it to no other user.
  func testReceive_theCodeNeedNotBeAnArgument() throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let path = try test.file("in/a", [1])
    let warning = "warning: other users of this machine can see a code among the arguments"
    for (number, way) in ["argument", "input", "variable"].enumerated() {
      let (sender, code) = try send([path])
      let words = way == "argument" ? [code] : way == "input" ? ["-"] : []
      let process = try ToolProcess(
        ["receive", "--bootstrap", try testnet().bootstrap, "--output", try test.folder("out\(number)")] + words,
        environment: way == "variable" ? ["HYPERSWARM_CODE": code] : [:])
      if way == "input" { process.write(code.replacingOccurrences(of: "-", with: " ") + "\n") }
      process.closeInput()
      let result = try process.finish()
      XCTAssertEqual(result.status, 0, result.errors)
      XCTAssertEqual(result.errors.contains(warning), way == "argument", "\(way): \(result.errors)")
      XCTAssertEqual(test.names("out\(number)"), ["a"], way)
      XCTAssertEqual(try sender.finish().status, 0)
    }
    let bootstrap = ["--bootstrap", try testnet().bootstrap]
    let nothing = try runTool(["receive", "-"] + bootstrap)
    XCTAssertEqual(nothing.status, 1)
    XCTAssertTrue(nothing.errors.contains("standard input has no code"), nothing.errors)
    XCTAssertEqual(try runTool(["receive", "--ask", "12345-acorn-acorn-acorn"] + bootstrap).status, 64)
    let wrong = try runTool(["receive"] + bootstrap, environment: ["HYPERSWARM_CODE": "12345"])
    XCTAssertEqual(wrong.status, 64)
    XCTAssertTrue(wrong.errors.contains("HYPERSWARM_CODE: a code is a number"), wrong.errors)
    // A public key is none.
    let key = try runTool(["receive", "-o", "/nonexistent", String(repeating: "05", count: 32)] + bootstrap)
    XCTAssertEqual(key.status, 1)
    XCTAssertFalse(key.errors.contains("warning"), key.errors)
  }

  func testFiles_usage() throws {
    for arguments in [
      ["send"], ["receive"], ["receive", "nonsense"], ["receive", "12345-acorn-acorn-acorq"],
      ["send", "--allow", "x", "/"],
    ] {
      XCTAssertEqual(try runTool(arguments).status, 64, "\(arguments)")
    }
    let slip = try runTool(["receive", "12345-acorn-acorn-acorq"])
    XCTAssertTrue(slip.errors.contains("did you mean 'acorn'?"), slip.errors)
    let bootstrap = try testnet().bootstrap
    for (arguments, text) in [
      (["send", "/nonexistent/x"], "cannot open"), (["send", "/"], "under its name"),
      (["receive", "-o", "/nonexistent", "12345-acorn-acorn-acorn"], "there is no folder"),
    ] {
      let result = try runTool(arguments + ["--bootstrap", bootstrap])
      XCTAssertEqual(result.status, 1, "\(arguments)")
      XCTAssertTrue(result.errors.contains(text), result.errors)
    }
  }
}
