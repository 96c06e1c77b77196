import Foundation
import XCTest

@testable import hyperswarm_cli

/// The file with defaults.
final class ConfigurationTests: TunnelTestCase {
  private func read(_ text: String) throws -> Configuration { try Configuration(path: "file", text: text) }

  private func added(_ text: String, _ arguments: [String]) throws -> [String] {
    try read(text).additions(to: arguments).flatMap(\.words)
  }

  /// A file, and what names it.
  private func file(_ text: String) throws -> [String: String] {
    let path = try makeFolder().appendingPathComponent("config").path
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return [Configuration.variable: path]
  }

  func testConfig_linesOfAllCommandsAndOfOne() throws {
    let text = """
      # a comment
      json = yes
      relay = aa
      relay = bb
        verbose=2

      [receive]
      output = /tmp/with = signs
      json = no
      force = on
      """
    XCTAssertEqual(
      Set(try added(text, ["receive", "code"])),
      ["--relay=aa", "--relay=bb", "--verbose", "--output=/tmp/with = signs", "--force"])
    XCTAssertEqual(try added(text, ["put", "x"]), ["--json", "--verbose", "--verbose"])
    XCTAssertEqual(try added(text, ["send", "x", "--relay", "cc", "-v"]), ["--json"], "arguments win")
    XCTAssertEqual(try added(text, ["unknown"]), [])
    XCTAssertEqual(try added("seed-file = a", ["connect", "key", "--identity=b"]), [], "one names the key pair")
  }

  func testConfig_flawsNameTheirLine() throws {
    for (text, flaw) in [
      ("json = yes\n\nbogus = 1", "file:3: no command has an option 'bogus'"),
      ("json", "file:1: no '=' in 'json'"), ("output =", "file:1: 'output' has no value"),
      ("json = maybe", "file:1: 'json' is yes or no, not 'maybe'"),
      ("[receive]\nmany = yes", "file:2: receive has no option 'many'"),
      ("[recieve]", "file:1: there is no command 'recieve'"), ("[send", "file:1: '[send' has no ]"),
      ("seed = abcd", "file:1: a secret does not belong here"),
      ("target = 80", "file:1: 'target' belongs below"), ("[expose]\ntarget = 1 2", "file:2: 'target' is a port"),
      ("[forward]\ntarget = 80", "file:2: 'target' is a port"),
      ("[forward]\ntarget = 80 abcd", "file:2: the key for 80 is none"), ("config = x", "file:1: no command has"),
    ] {
      XCTAssertThrowsError(try read(text), text) { XCTAssertTrue("\($0)".contains(flaw), "\($0)") }
    }
  }

  func testConfig_flagsWinOverEnvironmentOverFile() throws {
    let dead = "127.0.0.1:1"
    let good = try file("bootstrap = \(try bootstrap())\n")
    let bad = try file("bootstrap = \(dead)\n")
    XCTAssertEqual(try runTool(["lookup", "a"], environment: good).status, 0)
    let variable = [CommonOptions.bootstrapVariable: try bootstrap()]
    XCTAssertEqual(try runTool(["lookup", "a"], environment: bad.merging(variable) { $1 }).status, 0)
    let wrong = bad.merging([CommonOptions.bootstrapVariable: dead]) { $1 }
    XCTAssertEqual(try runTool(["lookup", "a", "--bootstrap", try bootstrap()], environment: wrong).status, 0)
    let path = try XCTUnwrap(good[Configuration.variable])
    XCTAssertEqual(try runTool(["lookup", "a", "--config", path], environment: bad).status, 0)
  }

  func testConfig_theUsersOwnFileIsFound() throws {
    let home = try makeFolder()
    let folder = home.appendingPathComponent("hyperswarm")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    try Data("bootstrap = nonsense".utf8).write(to: folder.appendingPathComponent("config"))
    // An empty variable counts as none.
    let environment = ["XDG_CONFIG_HOME": home.path, Configuration.variable: ""]
    let result = try runTool(["lookup", "a"], environment: environment)
    XCTAssertEqual(result.status, 64)
    XCTAssertTrue(result.errors.contains("hyperswarm/config:1:"), result.errors)
    XCTAssertTrue(result.errors.contains("'nonsense' has no port"), result.errors)
    XCTAssertEqual(try runTool(["lookup", "--help"], environment: environment).status, 0)
    XCTAssertEqual(try runTool(["--version"], environment: environment).status, 0)
  }

  func testConfig_errorsOfArgumentsAreNotTheFiles() throws {
    let environment = try file("bootstrap = 127.0.0.1:1\n")
    let result = try runTool(["lookup"], environment: environment)
    XCTAssertEqual(result.status, 64)
    XCTAssertTrue(result.errors.contains("Missing expected argument"), result.errors)
    let flaw = try runTool(["lookup", "a", "--json"], environment: try file("nothing here"))
    XCTAssertEqual(flaw.status, 64)
    XCTAssertEqual(flaw.object("error")?["code"] as? String, "USAGE")
    let missing = try runTool(["lookup", "a"], environment: [Configuration.variable: "/nowhere/config"])
    XCTAssertEqual(missing.status, 1)
    XCTAssertTrue(missing.errors.contains("/nowhere/config"), missing.errors)
  }

  func testConfig_targetsOfTunnels() async throws {
    let service = try await Service { socket in
      try await socket.write([5])
      socket.end()
    }
    let text = "[expose]\ntarget = \(service.port)\ntarget = 127.0.0.1:\(service.port)\n"
    let expose = try run(["expose"], until: "\(service.port): hyperswarm", environment: try file(text))
    try expose.wait(for: "forward PORT")
    for _ in 0..<50 where keys(expose).count < 2 { try await Task.sleep(for: .milliseconds(100)) }
    let found = keys(expose)
    XCTAssertEqual(Set(found).count, 2)
    let lines = "[forward]\n" + found.map { "target = 0 \($0)\n" }.joined()
    let forward = try run(["forward"], until: "->", environment: try file(lines))
    let answer = try await TunnelTestCase.ask(try port(forward), [])
    XCTAssertEqual(answer, [5])
    try end(forward, expose)
    let none = try runTool(["expose"], environment: try file("[forward]\ntarget = 1 \(found[0])"))
    XCTAssertEqual(none.status, 64)
  }
}
