import Foundation
import XCTest

/// What a new user types by mistake is named, and nothing of it is taken for something else.
final class WrongInputTests: SharedTestnetTestCase {
  private let key = String(repeating: "ab", count: 32)

  func testWhatCannotBeMeantIsNamed() throws {
    for (arguments, said) in [
      (["liste"], "there is no command 'liste'; did you mean 'listen'?"),
      (["help", "recieve"], "there is no command 'recieve'; did you mean 'receive'?"),
      (["serve-this"], "there is no command 'serve-this'\n"),
      (["listen", "--limit", "3"], "--limit is for --many with --exec"),
      (["listen", "--exec", ""], "--exec has no command"),
      (["demo", "--file", "x", "--size", "1"], "--file and --size exclude each other"),
      (["bench", "--serve", "--time", "3"], "not for --serve"),
      (["bench", "--serve", "--parallel", "3"], "not for --serve"),
      (["bench", "--loopback", "--parallel", "65"], "--parallel is 1 to 64"),
      (["put", ""], "an empty value cannot be stored"),
      (["expose", "http://localhost:80"], "'http://localhost:80' is no port, host:port or path"),
      (["expose", "0"], "nothing listens on port 0"),
      (["expose"], "what is to be exposed?"),
      (["forward", "0", key, "80"], "there is no key behind '80'"),
      (["forward", key, "0"], "the local place goes before the key"),
      (["forward", "0", "x"], "what stands behind '0' is no key"),
      (["forward", "--ask", "0", key], "--ask asks for the keys: only local places are given"),
      (["forward", "--ask"], "a local place is wanted"),
      (["beam", "--ask", "-"], "an argument, --passphrase-file and --ask exclude each other"),
      (["status", "https://localhost:1/"], "'https://localhost:1/' is neither host:port nor a path"),
    ] {
      let result = try runTool(arguments)
      XCTAssertEqual(result.status, 64, "\(arguments)")
      XCTAssertTrue(result.errors.contains(said), "\(arguments): \(result.errors)")
      XCTAssertEqual(result.output, [], "\(arguments)")
    }
    let object = try runTool(["liste", "--json"]).object("error")
    XCTAssertEqual(object?["code"] as? String, "USAGE")
    let beam = try runTool(["beam"], environment: ["HYPERSWARM_PASSPHRASE": "x"])
    XCTAssertEqual(beam.status, 64)
    XCTAssertTrue(beam.errors.contains("HYPERSWARM_PASSPHRASE: a passphrase is"), beam.errors)
    let forward = try runTool(["forward", "0"], environment: ["HYPERSWARM_SERVICE_KEY": "hs://s000x"])
    XCTAssertEqual(forward.status, 64)
    XCTAssertTrue(forward.errors.contains("HYPERSWARM_SERVICE_KEY: this is no key"), forward.errors)
    XCTAssertFalse(forward.errors.contains("s000"), forward.errors)
  }

  func testWhatIsNamedForSendingIsNotLeftOut() throws {
    let folder = try makeFolder()
    for (path, said) in [("/dev/null", "/dev/null is neither a file nor a folder"), ("", "one of the paths is empty")] {
      let result = try runTool(["send", path], environment: try environment())
      XCTAssertEqual(result.status, 1)
      XCTAssertTrue(result.errors.contains(said), result.errors)
    }
    try FileManager.default.createSymbolicLink(
      atPath: folder.appendingPathComponent("link").path, withDestinationPath: "/etc/passwd")
    let sender = try ToolProcess(["send", folder.path, "--json"], environment: try environment())
    try sender.wait(for: "\"offer\"")
    sender.interrupt()
    let left = try sender.finish(seconds: 20).object("skipped")
    XCTAssertEqual(left?["reason"] as? String, "a link")
    XCTAssertTrue((left?["path"] as? String ?? "").hasSuffix("/link"))
  }

  // MARK: Records

  /// The highest number is any peer's to use.
  func testTheHighestSequenceNumber() throws {
    let file = try makeFolder().appendingPathComponent("seed").path
    let key = try runTool(["keygen", "--out", file]).text.trimmingCharacters(in: .newlines)
    let put = ["put", "--mutable", "--seed-file", file]
    let highest = "18446744073709551615"
    let stored = try runTool(put + ["last", "--seq", highest, "--json"], environment: try environment())
    XCTAssertEqual(stored.status, 0, stored.errors)
    XCTAssertTrue(stored.text.contains("\"seq\":\(highest)"), stored.text)
    let found = try runTool(["get", "--mutable", key, "--json"], environment: try environment())
    XCTAssertEqual(found.status, 0, found.errors)
    XCTAssertTrue(found.text.contains("\"seq\":\(highest)"), found.text)
    let next = try runTool(put + ["next"], environment: try environment())
    XCTAssertEqual(next.status, 1)
    XCTAssertTrue(next.errors.contains("the highest sequence number"), next.errors)
    let watching = try ToolProcess(
      ["get", "--mutable", key, "--watch", "--interval", "1"], environment: try environment())
    try watching.wait(for: "last\n")
    sleep(2)
    watching.interrupt()
    let watched = try watching.finish(seconds: 20)
    XCTAssertEqual(watched.status, 0, watched.errors)
    XCTAssertEqual(watched.text, "last\n")
  }

  func testAHyphenIsStandardInput() throws {
    let put = try runTool(["put", "-"], input: Array("hallo".utf8), environment: try environment())
    XCTAssertEqual(put.status, 0, put.errors)
    let hash = put.text.trimmingCharacters(in: .newlines)
    XCTAssertEqual(try runTool(["get", hash], environment: try environment()).text, "hallo")
    let empty = try runTool(["put", "-", "--json"], environment: try environment())
    XCTAssertEqual(empty.status, 1)
    XCTAssertEqual(empty.object("error")?["code"] as? String, "NO_VALUE")
  }

  // MARK: Signals

  func testASignalBeforeTheNetworkIsThereLeavesNoSocket() throws {
    let folder = try makeFolder()
    let path = folder.appendingPathComponent("socket").path
    for arguments in [
      ["forward", path, key], ["node", "--metrics", path], ["relay", "--port", "0", "--metrics", path],
    ] {
      // Nothing answers there.
      let process = try ToolProcess(arguments, environment: ["HYPERSWARM_BOOTSTRAP": "127.0.0.1:9"])
      try process.wait(for: "no answer from")
      process.terminate()
      let result = try process.finish(seconds: 60)
      // On a very busy machine it has given up before.
      let hasGivenUp = result.errors.contains("no bootstrap node answered")
      XCTAssertEqual(result.status, hasGivenUp ? 1 : 143, "\(arguments)")
      XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), [], "\(arguments)")
    }
    // One of two places cannot be had: the other one is given back, a file of others is not.
    let other = folder.appendingPathComponent("file").path
    XCTAssertTrue(FileManager.default.createFile(atPath: other, contents: Data("mine".utf8)))
    let failed = try runTool(["forward", path, key, other, key], environment: try environment())
    XCTAssertEqual(failed.status, 1, failed.errors)
    XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), ["file"])
  }

  // MARK: Surroundings

  func testRelativeFoldersOfTheEnvironmentAreIgnored() throws {
    let home = try makeFolder().path
    let made = try runTool(["keygen", "--name", "me"], environment: ["HOME": home, "XDG_DATA_HOME": "relative"])
    XCTAssertEqual(made.status, 0, made.errors)
    XCTAssertTrue(FileManager.default.fileExists(atPath: home + "/.local/share/hyperswarm/keys/me"))
    XCTAssertTrue(FileManager.default.createFile(atPath: home + "/file", contents: nil))
    let none = try runTool(["keygen", "--name", "me"], environment: ["XDG_DATA_HOME": home + "/file"])
    XCTAssertEqual(none.status, 1)
    XCTAssertTrue(none.errors.contains("cannot make the folder '\(home)/file/hyperswarm': Not a dir"), none.errors)
  }

  func testWithoutANetworkTheDoctorIsNamed() throws {
    let result = try runTool(["lookup", "x", "--json"], environment: ["HYPERSWARM_BOOTSTRAP": "127.0.0.1:9"])
    XCTAssertEqual(result.status, 1)
    XCTAssertTrue(result.errors.contains("'hyperswarm doctor' looks for the reason"), result.errors)
    XCTAssertEqual(result.object("error")?["code"] as? String, "NO_BOOTSTRAP")
    // The code has a field of its own.
    let unknown = try runTool(["ping", key, "--json"], environment: try environment()).object("error")
    XCTAssertEqual(unknown?["code"] as? String, "PEER_NOT_FOUND")
    XCTAssertEqual((unknown?["message"] as? String)?.contains("PEER_NOT_FOUND"), false)
  }
}
