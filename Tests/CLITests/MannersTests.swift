import Foundation
import HyperCrypto
import HyperEncoding
import XCTest

/// Secrets, wrong values, JSON, and what else is the same for all commands.
final class MannersTests: SharedTestnetTestCase {
  private let seed = String(repeating: "07", count: 32)
  private let key = KeyPair(seed: Bytes32(repeating: 7)).publicKey.hex

  // MARK: Secrets

  func testKeysAreKeptInFilesOfTheirOwner() throws {
    let folder = try makeFolder()
    let file = folder.appendingPathComponent("seed").path
    let made = try runTool(["keygen", "--out", file, "--json"])
    XCTAssertEqual(made.status, 0, made.errors)
    let object = try XCTUnwrap(made.object("keypair"))
    XCTAssertNil(object["seed"])
    XCTAssertNil(object["secretKey"])
    let attributes = try FileManager.default.attributesOfItem(atPath: file)
    XCTAssertEqual(attributes[.posixPermissions] as? Int, 0o600)
    let read = try runTool(["keygen", "--seed-file", file, "--json"])
    XCTAssertEqual(read.object("keypair")?["publicKey"] as? String, object["publicKey"] as? String)

    let again = try runTool(["keygen", "--out", file])
    XCTAssertEqual(again.status, 1)
    XCTAssertTrue(again.errors.contains("File exists"), again.errors)

    let store = ["XDG_DATA_HOME": folder.appendingPathComponent("data").path]
    let named = try runTool(["keygen", "--name", "me"], environment: store)
    XCTAssertEqual(named.status, 0, named.errors)
    let kept = folder.appendingPathComponent("data/hyperswarm/keys/me").path
    XCTAssertEqual(try FileManager.default.attributesOfItem(atPath: kept)[.posixPermissions] as? Int, 0o600)
    let found = try runTool(["keygen", "--identity", "me", "--json"], environment: store)
    XCTAssertEqual(found.object("keypair")?["publicKey"] as? String, named.text.trimmingCharacters(in: .newlines))
    XCTAssertEqual(try runTool(["keygen", "--identity", "you"], environment: store).status, 1)
    for name in ["../me", ".hidden", "a/b", ""] {
      let wrong = try runTool(["keygen", "--name", name], environment: store)
      XCTAssertEqual(wrong.status, 64, name)
    }
  }

  func testTheSeedComesFromTheEnvironmentOrAFile() throws {
    let folder = try makeFolder()
    let variable = try runTool(["keygen", "--json"], environment: ["HYPERSWARM_SEED": seed])
    XCTAssertEqual(variable.object("keypair")?["publicKey"] as? String, key)
    XCTAssertEqual(variable.errors, "")
    let argument = try runTool(["keygen", "--seed", seed])
    XCTAssertTrue(argument.text.contains(key))
    XCTAssertTrue(argument.errors.hasPrefix("warning: other users of this machine can see"), argument.errors)

    let file = folder.appendingPathComponent("seed").path
    XCTAssertTrue(
      FileManager.default.createFile(
        atPath: file, contents: Data((seed + "\n").utf8), attributes: [.posixPermissions: 0o644]))
    let open = try runTool(["keygen", "--seed-file", file])
    XCTAssertTrue(open.text.contains(key))
    XCTAssertTrue(open.errors.contains("other users of this machine may read"), open.errors)
    XCTAssertEqual(try runTool(["keygen", "--seed-file", file, "--identity", "x"]).status, 64)
    for (text, said) in [("", "holds nothing"), ("zz\n", "a seed is 64 hexadecimal digits")] {
      try text.write(toFile: file, atomically: true, encoding: .utf8)
      let wrong = try runTool(["keygen", "--seed-file", file])
      XCTAssertEqual(wrong.status, 1, text)
      XCTAssertTrue(wrong.errors.contains(said), wrong.errors)
    }
  }

  func testASecretIsNotRepeatedInErrors() throws {
    let wrong = String(repeating: "5", count: 63)
    for (arguments, environment) in [
      (["keygen", "--seed", wrong], [:]), (["keygen"], ["HYPERSWARM_SEED": wrong]),
    ] as [([String], [String: String])] {
      let result = try runTool(arguments, environment: environment)
      XCTAssertEqual(result.status, 64)
      XCTAssertFalse(result.errors.contains(wrong), result.errors)
      XCTAssertTrue(result.errors.contains("64 hexadecimal digits"), result.errors)
    }
  }

  // MARK: The network

  func testTheNetworkComesFromTheEnvironment() throws {
    XCTAssertEqual(try runTool(["lookup", "x"], environment: try environment()).status, 0)
    let wrong = try runTool(["lookup", "x"], environment: ["HYPERSWARM_BOOTSTRAP": "nowhere"])
    XCTAssertEqual(wrong.status, 64)
    XCTAssertTrue(wrong.errors.contains("HYPERSWARM_BOOTSTRAP: 'nowhere' has no port"), wrong.errors)
    let argument = try runTool(
      ["lookup", "x", "--bootstrap", try bootstrap()], environment: ["HYPERSWARM_BOOTSTRAP": "nowhere"])
    XCTAssertEqual(argument.status, 0, "the argument comes first: \(argument.errors)")
  }

  func testD15_wrongAddressesAndNamesAreNamed() throws {
    for (text, said) in [
      ("[::1]:5000", "'[::1]:5000' is an IPv6 address"), ("::1", "'::1' is an IPv6 address"),
      ("127.0.0.1:5,bad name:5", "'bad name:5'"), ("127.0.0.256:5", "'127.0.0.256:5'"), ("a:0", "the port of 'a:0'"),
      ("10.0.0.1@[::1]:5", "'[::1]:5'"),
    ] {
      let result = try runTool(["lookup", "x", "--bootstrap", text])
      XCTAssertEqual(result.status, 64, text)
      XCTAssertTrue(result.errors.contains(said), result.errors)
    }
    let unknown = try runTool(["lookup", "x", "--bootstrap", "nohost.invalid:9"])
    XCTAssertEqual(unknown.status, 1)
    XCTAssertTrue(unknown.errors.contains("cannot resolve nohost.invalid"), unknown.errors)
  }

  func testD13_aDeadBootstrapNodeDoesNotHoldUpTheOthers() throws {
    let start = Date()
    let result = try runTool(["lookup", "x", "--bootstrap", "127.0.0.1:9,\(try bootstrap())"])
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertLessThan(Date().timeIntervalSince(start), 3)
  }

  func testD19_aTopicThatLooksLikeADamagedKeyIsSaidSo() throws {
    let damaged = String(key.dropLast())
    let result = try runTool(["lookup", damaged], environment: try environment())
    XCTAssertEqual(result.status, 0)
    XCTAssertTrue(result.errors.contains("'\(damaged)' looks like a damaged key"), result.errors)
    XCTAssertFalse(try runTool(["lookup", key], environment: try environment()).errors.contains("warning"))
  }

  func testD12_aNetworkOfOneNodeCanBeEntered() throws {
    let network = try LocalTestnet(size: 1)
    let announced = try runTool(["announce", "x", "--bootstrap", network.bootstrap])
    XCTAssertEqual(announced.status, 0, announced.errors)
    XCTAssertEqual(try runTool(["lookup", "x", "--bootstrap", network.bootstrap]).text.count, 65)
  }

  // MARK: JSON

  func testD8_whatHappensIsOnStandardOutputWhereThatIsNotData() throws {
    let nothing = try runTool(["lookup", "no such topic", "--json"], environment: try environment())
    XCTAssertEqual(nothing.object("done")?["peers"] as? Int, 0)
    XCTAssertEqual(nothing.errors, "")
    let chat = try ToolProcess(["join", "quiet room", "--json"], environment: try environment())
    try chat.wait(for: "joined")
    chat.interrupt()
    let left = try chat.finish(seconds: 20)
    XCTAssertNotNil(left.object("joined"), left.errors)
    XCTAssertEqual(left.errors, "")
  }

  func testWrongUsageIsAnObjectToo() throws {
    for arguments in [["lookup", "--json"], ["lookup", "x", "--bootstrap", "nowhere", "--json"], ["--json", "what"]] {
      let result = try runTool(arguments)
      XCTAssertEqual(result.status, 64)
      let error = try XCTUnwrap(result.object("error"), result.text)
      XCTAssertEqual(error["code"] as? String, "USAGE")
      XCTAssertNotNil(error["message"] as? String)
      XCTAssertTrue((error["usage"] as? String ?? "").contains("Usage:"))
      XCTAssertTrue(result.errors.contains("Usage:"), "people see it as well")
    }
    // Standard output would be data.
    let data = try runTool(["connect", "abcd", "--json"])
    XCTAssertEqual(data.status, 64)
    XCTAssertEqual(data.output, [])
    let line = try XCTUnwrap(data.errorLines.first)
    let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    XCTAssertEqual(object?["code"] as? String, "USAGE")
    XCTAssertEqual(data.errorLines.count, 1, data.errors)
  }

  func testWhatIsPrintedForHelpCanBeLost() throws {
    let full = try XCTUnwrap(FileHandle(forWritingAtPath: "/dev/full"))
    for arguments in [["--help"], ["--version"], ["listen", "--help"]] {
      let process = try ToolProcess(arguments, standardOutput: full)
      try assertEnds(process, with: 1, saying: "No space left on device")
    }
  }

  // MARK: The way

  func testD20_theWayIsShownAndCanBeForcedOverARelay() throws {
    let relay = try ToolProcess(["relay", "--port", "0", "--json"], environment: try environment())
    try relay.wait(for: "\n")
    let relayKey = String(try XCTUnwrap(relay.outputText.split { !$0.isHexDigit }.first { $0.count == 64 }))
    for options in [["--relay-only", "--relay", relayKey], []] {
      let (listener, key) = try listen(options.isEmpty ? ["--relay-only", "--relay", relayKey] : [])
      let connector = try connect(key, options + ["--json"])
      connector.write("over the relay")
      connector.closeInput()
      listener.closeInput()
      let result = try connector.finish(seconds: 30)
      XCTAssertEqual(result.status, 0, result.errors)
      XCTAssertTrue(result.errors.contains("\"path\":\"relayed\""), result.errors)
      let heard = try listener.finish(seconds: 30)
      XCTAssertTrue(heard.errors.contains(", relayed, 127.0.0.1:"), heard.errors)
      XCTAssertEqual(heard.text, "over the relay")
    }
    let (listener, key) = try listen()
    try assertEnds(try connect(key, ["--relay-only"]), with: 1, saying: "neither --relay nor the peer names a relay")
    let nowhere = String(repeating: "ab", count: 32)
    try assertEnds(try connect(key, ["--relay-only", "--relay", nowhere]), with: 1, saying: "RELAY")
    let direct = try connect(key, ["-vv"])
    direct.closeInput()
    listener.closeInput()
    let result = try direct.finish(seconds: 30)
    XCTAssertTrue(result.errors.contains(", direct, 127.0.0.1:"), result.errors)
    XCTAssertTrue(result.errors.contains("ms  attempt started"), result.errors)
    try assertEnds(listener, with: 0)
    relay.interrupt()
    XCTAssertEqual(try relay.finish(seconds: 20).object("relayed")?["connections"] as? Int, 2)
  }

  // MARK: Terminals

  func testColoursAreForTerminalsThatHaveThem() throws {
    func errors(_ environment: [String: String]) throws -> String {
      var master: Int32 = -1
      var slave: Int32 = -1
      try XCTSkipIf(openpty(&master, &slave, nil, nil, nil) != 0, "no pseudo terminal")
      let process = Process()
      process.executableURL = ToolProcess.binary
      process.arguments = ["keygen", "--seed-file", "/nonexistent"]
      process.environment = environment
      process.standardInput = FileHandle.nullDevice
      process.standardError = FileHandle(fileDescriptor: slave, closeOnDealloc: true)
      try process.run()
      process.waitForEnd()
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = read(master, &bytes, bytes.count)
      close(master)
      return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
    }
    XCTAssertTrue(try errors(["TERM": "xterm"]).hasPrefix("\u{1b}[31mhyperswarm:\u{1b}[0m cannot open"))
    for environment in [["TERM": "xterm", "NO_COLOR": "1"], ["TERM": "dumb"], [:]] {
      XCTAssertTrue(try errors(environment).hasPrefix("hyperswarm: cannot open"), "\(environment)")
    }
    XCTAssertTrue(
      try runTool(["keygen", "--seed-file", "/nonexistent"], environment: ["TERM": "xterm"]).errors
        .hasPrefix("hyperswarm: cannot open"), "no terminal")
  }
}
