import Foundation
import HyperCrypto
import HyperEncoding
import XCTest

@testable import hyperswarm_cli

/// Which callers `listen` takes, what they get, and `beam`.
final class ServingTests: SharedTestnetTestCase {
  // MARK: Commands

  func testEveryCallerGetsACommandOfItsOwn() throws {
    let (listener, key) = try listen(["--many", "--exec", "tr a-z A-Z; echo \"for $HYPERSWARM_REMOTE_KEY\""])
    let callers = try (0..<3).map { number in
      let caller = try connect(key)
      caller.write("hello \(number)\n")
      caller.closeInput()
      return caller
    }
    var names: Set<String> = []
    for (number, caller) in callers.enumerated() {
      let result = try caller.finish(seconds: 30)
      XCTAssertEqual(result.status, 0, result.errors)
      let lines = result.text.split(separator: "\n").map(String.init)
      XCTAssertEqual(lines.first, "HELLO \(number)")
      names.insert(lines.last ?? "")
    }
    XCTAssertEqual(names.count, 3, "each command knows the key of its caller: \(names)")
    listener.interrupt()
    try assertEnds(listener, with: 130)
  }

  /// A command may hand its environment to whatever the caller makes it run.
  func testACommandDoesNotHaveTheSecretsOfTheTool() throws {
    let seed = String(repeating: "05", count: 32)
    let secrets = [
      "HYPERSWARM_SEED": seed, "HYPERSWARM_CODE": "a", "HYPERSWARM_PASSPHRASE": "b", "HYPERSWARM_SERVICE_KEY": "c",
    ]
    let listener = try ToolProcess(
      ["listen", "--exec", "env | grep -c HYPERSWARM_SEED=; env | grep ^HYPERSWARM_ | cut -d= -f1 | sort"],
      environment: try environment(secrets))
    try listener.wait(for: "listening as")
    try listener.wait(for: "\n")
    let caller = try connect(try XCTUnwrap(listener.announcedKey))
    caller.closeInput()
    let lines = try caller.finish(seconds: 20).text.split(separator: "\n")
    XCTAssertEqual(lines.first, "0")
    XCTAssertTrue(lines.contains("HYPERSWARM_REMOTE_KEY"), "\(lines)")
    XCTAssertTrue(lines.contains("HYPERSWARM_BOOTSTRAP"), "\(lines)")
    for name in secrets.keys { XCTAssertFalse(lines.contains(Substring(name)), "\(lines)") }
    try assertEnds(listener, with: 0)
  }

  func testCallersAboveTheLimitAreToldSo() throws {
    let (listener, key) = try listen(["--many", "--limit", "1", "--exec", "cat"])
    let first = try connect(key)
    try first.wait(for: "connected with")
    try listener.wait(for: "connected with")
    first.write("x")
    try first.wait(for: "x")
    try assertEnds(try connect(key), with: 1, saying: "the server is busy")
    first.closeInput()
    try assertEnds(first, with: 0)
    try listener.wait(for: "has ended")
    let second = try connect(key)
    second.write("served in turn")
    second.closeInput()
    XCTAssertEqual(try second.finish(seconds: 20).text, "served in turn")
    listener.terminate()
    try assertEnds(listener, with: 143)
  }

  func testACommandThatFailsIsNoCleanEnd() throws {
    let (listener, key) = try listen(["--exec", "echo partial; exit 3"])
    let caller = try connect(key)
    caller.closeInput()
    let result = try caller.finish(seconds: 20)
    XCTAssertEqual(result.status, 1)
    XCTAssertEqual(result.text, "partial\n")
    XCTAssertTrue(result.errors.contains("ECONNRESET"), result.errors)
    try assertEnds(listener, with: 1, saying: "the command ended with status 3")
  }

  func testASignalEndsTheCommand() throws {
    let folder = try makeFolder()
    let file = folder.appendingPathComponent("pid").path
    let (listener, key) = try listen(["--exec", "echo $$ > \(file); exec sleep 1000"])
    let caller = try connect(key)
    try caller.wait(for: "connected with")
    var number: Int32?
    for _ in 0..<500 where number == nil {
      number = (try? String(contentsOfFile: file, encoding: .utf8)).flatMap { Int32($0.dropLast()) }
      usleep(20_000)
    }
    let child = try XCTUnwrap(number)
    XCTAssertEqual(kill(child, 0), 0)
    listener.interrupt()
    try assertEnds(listener, with: 130)
    try assertEnds(caller, with: 1, saying: "ECONNRESET")
    for _ in 0..<200 where kill(child, 0) == 0 { usleep(20_000) }
    XCTAssertNotEqual(kill(child, 0), 0, "the command lives on")
  }

  func testAPipeToACommandEndsAsInAShell() throws {
    // SIGPIPE has its usual effect on the command: yes ends when head has enough.
    let (listener, key) = try listen(["--exec", "yes | head -n 2"])
    let caller = try connect(key)
    let result = try caller.finish(seconds: 20)
    XCTAssertEqual(result.text, "y\ny\n", result.errors)
    XCTAssertEqual(result.status, 0)
    try assertEnds(listener, with: 0)
  }

  func testOutputsOfManyFollowEachOther() throws {
    let (listener, key) = try listen(["--many", "--recv-only"])
    for number in 0..<2 {
      let caller = try connect(key, ["--send-only"])
      caller.write("\(number)\n")
      caller.closeInput()
      try assertEnds(caller, with: 0)
    }
    try listener.wait(for: "0\n1\n")
    listener.interrupt()
    try assertEnds(listener, with: 130)
    XCTAssertEqual(try runTool(["listen", "--many"]).status, 64)

    let full = try XCTUnwrap(FileHandle(forWritingAtPath: "/dev/full"))
    let unable = try ToolProcess(
      ["listen", "--many", "--recv-only"], standardOutput: full, environment: try environment())
    try unable.wait(for: "listening as")
    try unable.wait(for: "\n")
    let sender = try connect(try XCTUnwrap(unable.announcedKey), ["--send-only"])
    sender.write("does not fit")
    try assertEnds(unable, with: 1, saying: "No space left on device")
    try assertEnds(sender, with: 1, saying: "ECONNRESET")
  }

  // MARK: Allowed callers

  func testOnlyAllowedCallersAreLetIn() throws {
    let folder = try makeFolder()
    let seeds = (1...3).map { String(repeating: "0\($0)", count: 32) }
    let keys = (1...3).map { KeyPair(seed: Bytes32(repeating: $0)).publicKey.hex }
    let list = folder.appendingPathComponent("allowed").path
    try "# friends\n\n\(keys[1])  # the second\n".write(toFile: list, atomically: true, encoding: .utf8)
    let (listener, key) = try listen(["--allow", keys[0], "--allow-file", list, "--many", "--exec", "echo in", "-v"])
    for (index, seed) in seeds.enumerated() {
      let caller = try ToolProcess(
        ["connect", key], environment: try environment(["HYPERSWARM_SEED": seed]))
      caller.closeInput()
      let result = try caller.finish(seconds: 60)
      XCTAssertEqual(result.status, index < 2 ? 0 : 1, result.errors)
      XCTAssertEqual(result.text, index < 2 ? "in\n" : "")
    }
    try listener.wait(for: "refused \(keys[2])")
    listener.interrupt()
    try assertEnds(listener, with: 130)

    try "\(keys[0])\nnonsense\n".write(toFile: list, atomically: true, encoding: .utf8)
    try assertEnds(
      try ToolProcess(["listen", "--allow-file", list], environment: try environment()), with: 1,
      saying: "allowed:2: 'nonsense' is no public key")
    try "".write(toFile: list, atomically: true, encoding: .utf8)
    try assertEnds(
      try ToolProcess(["listen", "--allow-file", list], environment: try environment()), with: 1, saying: "no key")
  }

  // MARK: beam

  func testPassphrasesAreThoseOfHyperbeam() throws {
    // RFC 4648, section 10, and the passphrase of hyperbeam's description decoded by another program.
    let known = "neznr3z3j44l7q7sgynbzpdrdlpausurbpcmqvwupmuoidolbopa"
    XCTAssertEqual(
      try Passphrase(known).seed.hex, "6932d8ef3b4f38bfc3f2361a1cbc711ade0a4a910bc4c856d47b28e40dcb0b9e")
    XCTAssertEqual(try Passphrase(known).text, known)
    XCTAssertEqual(try Passphrase(known.uppercased() + "====").text, known)
    for _ in 0..<100 {
      let made = Passphrase()
      XCTAssertEqual(try Passphrase(made.text).seed, made.seed)
    }
    for wrong in ["", "1" + known.dropFirst(), String(known.dropLast()), known + "a"] {
      XCTAssertThrowsError(try Passphrase(wrong), wrong)
    }
  }

  func testBeamMeetsByItsPassphrase() throws {
    let folder = try makeFolder()
    let waiting = try ToolProcess(["beam"], environment: try environment())
    try waiting.wait(for: "on the other side: hyperswarm beam --ask\nand there the passphrase:\n    ")
    let said = try XCTUnwrap(waiting.errorText.split(separator: " ").last).trimmingCharacters(
      in: .whitespacesAndNewlines)
    let file = folder.appendingPathComponent("passphrase").path
    XCTAssertTrue(
      FileManager.default.createFile(
        atPath: file, contents: Data((said + "\n").utf8), attributes: [.posixPermissions: 0o600]))

    // A caller that knows the public key only does not get in.
    let key = KeyPair(seed: try Passphrase(said).seed).publicKey.hex
    try assertEnds(try connect(key), with: 1, within: 60)

    /// Both directions; the second of the two is the caller, whose input begins with `line`.
    func assertMeet(_ waiting: ToolProcess, _ other: ToolProcess, _ line: String = "") throws {
      other.write(line + "one way")
      other.closeInput()
      waiting.write("and back")
      waiting.closeInput()
      let there = try other.finish(seconds: 30)
      let here = try waiting.finish(seconds: 30)
      XCTAssertEqual(there.status, 0, there.errors)
      XCTAssertEqual(here.status, 0, here.errors)
      XCTAssertEqual(there.text, "and back")
      XCTAssertEqual(here.text, "one way")
      XCTAssertFalse((here.errors + there.errors).contains("warning"), here.errors + there.errors)
    }
    // What stands behind the line of the passphrase is data.
    try assertMeet(waiting, try ToolProcess(["beam", "-"], environment: try environment()), "\(said)\r\n")
    let again = try ToolProcess(["beam", "-r", "--passphrase-file", file], environment: try environment())
    try again.wait(for: "waiting for the other side")
    let variable = try environment(["HYPERSWARM_PASSPHRASE": said])
    try assertMeet(again, try ToolProcess(["beam"], environment: variable))
    let nothing = try runTool(["beam", "-"], environment: try environment())
    XCTAssertEqual(nothing.status, 1)
    XCTAssertTrue(nothing.errors.contains("standard input has no passphrase"), nothing.errors)
  }

  func testSecretsAreAskedForOnATerminal() throws {
    let program = """
      import os, pty, sys
      binary, typed, prompt, end, *words = sys.argv[1:]
      prompt, end = prompt.encode(), end.encode()
      child, terminal = pty.fork()
      if child == 0:
          os.execv(binary, [binary, *words])
      seen = b""
      try:
          while end not in seen:
              part = os.read(terminal, 4096)
              if not part:
                  break
              if prompt in seen + part and prompt not in seen:
                  os.write(terminal, typed.encode().decode("unicode_escape").encode() + b"\\n")
              seen += part
          os.kill(child, 2)
          while os.read(terminal, 4096):
              pass
      except OSError:
          pass
      print(seen.decode(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
      """
    let passphrase = Passphrase().text
    let beam = ["passphrase: ", "waiting for the other side", "beam", "--ask", "-r"]
    let receive = ["code: ", "looking for the sender", "receive", "--ask", "--output", "/tmp"]
    let forward = ["key for 0: ", "->", "forward", "--private", "--ask", "0"]
    let seed = Bytes32(repeating: 7)
    for (typed, said, status, words) in [
      (passphrase, "waiting for the other side", 130, beam),
      ("x\\x7f" + passphrase, "waiting for the other side", 130, beam),
      ("nonsense", "52 characters", 1, beam), ("abc\\x03", "passphrase", 130, beam),
      ("90817-acorn-acorn-acorn", "the code 90817", 130, receive), ("90817", "a code is a number", 1, receive),
      (seed.hex, "-> \(KeyPair(seed: seed).publicKey.hex)", 130, forward),
      (String(seed.hex.dropLast()), "what was typed for 0 is no key", 1, forward),
    ] {
      let process = try ToolProcess(
        ["python3", "-c", program, ToolProcess.binary.path, typed] + words, environment: try environment(),
        program: URL(fileURLWithPath: "/usr/bin/env"))
      let result = try process.finish(seconds: 30)
      try XCTSkipIf(result.status == 127, "no python3")
      XCTAssertTrue(result.text.contains(said), result.text + result.errors)
      XCTAssertTrue(result.text.hasSuffix(" \(status)\n"), result.text)
      XCTAssertFalse(result.text.contains(typed), "what is typed is not shown")
    }
  }

  func testAPassphraseIsNotRepeated() throws {
    let secret = "very-secret-but-no-passphrase"
    let argument = try runTool(["beam", secret])
    XCTAssertEqual(argument.status, 64)
    XCTAssertFalse(argument.errors.contains(secret), argument.errors)
    let variable = try runTool(["beam"], environment: ["HYPERSWARM_PASSPHRASE": secret])
    XCTAssertEqual(variable.status, 64)
    XCTAssertFalse(variable.errors.contains(secret), variable.errors)
    let warned = try ToolProcess(["beam", "-r", Passphrase().text], environment: try environment())
    try warned.wait(for: "waiting for the other side")
    warned.interrupt()
    try assertEnds(warned, with: 130, saying: "warning: other users of this machine can see a passphrase")
  }
}
