import Foundation
import HyperCrypto
import HyperEncoding
import XCTest

/// The tool as people run it: processes, real sockets on the loopback interface.
final class CommandTests: XCTestCase {
  nonisolated(unsafe) private static var network: LocalTestnet?

  override static func tearDown() {
    network = nil
    super.tearDown()
  }

  private func testnet() throws -> LocalTestnet {
    if let network = CommandTests.network { return network }
    let made = try LocalTestnet()
    CommandTests.network = made
    return made
  }

  /// Exit code 1 and exactly one line on standard error.
  private func assertFails(
    _ result: ToolProcess.Finished, _ text: String, after silence: String? = nil, file: StaticString = #filePath,
    line: UInt = #line
  ) {
    XCTAssertEqual(result.status, 1, result.errors, file: file, line: line)
    XCTAssertEqual(result.errorLines.count, silence == nil ? 1 : 2, result.errors, file: file, line: line)
    if let silence { XCTAssertEqual(result.errorLines.first.map(String.init), silence, file: file, line: line) }
    XCTAssertTrue(result.errorLines.last?.hasPrefix("hyperswarm: ") ?? false, result.errors, file: file, line: line)
    XCTAssertTrue(result.errors.contains(text), result.errors, file: file, line: line)
  }

  private func assertUsage(_ arguments: [String], file: StaticString = #filePath, line: UInt = #line) throws {
    let result = try runTool(arguments)
    XCTAssertEqual(result.status, 64, "\(arguments): \(result.errors)", file: file, line: line)
    XCTAssertTrue(result.errors.contains("Usage:"), result.errors, file: file, line: line)
    XCTAssertEqual(result.output, [], file: file, line: line)
  }

  // MARK: Usage

  func testCLI_helpAndVersion() throws {
    let help = try runTool(["--help"])
    XCTAssertEqual(help.status, 0)
    for command in [
      "demo", "testnet", "node", "keygen", "listen", "connect", "beam", "send", "receive", "expose", "forward", "join",
      "lookup", "announce", "put", "get", "ping", "doctor", "relay",
    ] {
      XCTAssertTrue(help.text.contains("\n  \(command) "), command)
      XCTAssertEqual(try runTool([command, "--help"]).status, 0, command)
    }
    XCTAssertEqual(try runTool(["--version"]).status, 0)
  }

  func testCLI_wrongUsageIs64() throws {
    try assertUsage(["frobnicate"])
    try assertUsage(["connect"])
    try assertUsage(["connect", "abcd"])
    try assertUsage(["connect", String(repeating: "g", count: 64)])
    try assertUsage(["connect", String(repeating: "ab", count: 33)])
    try assertUsage(["listen", "--seed", "1234"])
    try assertUsage(["ping", "127.0.0.1"])
    try assertUsage(["ping", "127.0.0.1:0"])
    try assertUsage(["ping", "127.0.0.1:70000"])
    try assertUsage(["lookup", "x", "--bootstrap", "nowhere"])
    try assertUsage(["lookup", "x", "--bootstrap", "127.0.0.1:1,,bad"])
    try assertUsage(["lookup", ""])
    try assertUsage(["testnet", "--size", "0"])
    try assertUsage(["testnet", "--port", "65536"])
    for bad in ["0.0.0.0:1", "127.0.0.1:0", "0.0.0.0@node.example:1", "x@node.example:1"] {
      try assertUsage(["lookup", "x", "--bootstrap", bad])
    }
    try assertUsage(["node", "--first"])
    try assertUsage(["node", "--first", "--host", "0.0.0.0"])
    try assertUsage(["node", "--first", "--host", "127.0.0.1", "--port", "0"])
    try assertUsage(["node", "--host", "example"])
    try assertUsage(["join", "x", "--client-only", "--server-only"])
    try assertUsage(["relay", "--links", "0"])
    try assertUsage(["relay", "--allow", "abcd"])
    try assertUsage(["connect", String(repeating: "ab", count: 32), "--relay", "x"])
    try assertUsage(["demo", "--size", "0"])
    try assertUsage(["demo", "--nodes", "1"])
  }

  // MARK: keygen

  func testCLI_keygen() throws {
    let seed = String(repeating: "01", count: 32)
    let result = try runTool(["keygen", "--seed", seed, "--json"])
    XCTAssertEqual(result.status, 0)
    let pair = KeyPair(seed: Bytes32(repeating: 1))
    let object = try XCTUnwrap(result.object("keypair"))
    XCTAssertEqual(object["publicKey"] as? String, pair.publicKey.hex)
    XCTAssertEqual(object["seed"] as? String, seed)
    XCTAssertEqual(object["secretKey"] as? String, seed + pair.publicKey.hex)
    XCTAssertEqual((object["publicKeyZ32"] as? String)?.count, 52)
    let first = try runTool(["keygen"])
    let second = try runTool(["keygen"])
    XCTAssertEqual(first.text.split(separator: "\n").count, 3)
    XCTAssertNotEqual(first.text, second.text)
  }

  // MARK: testnet, node, ping

  func testCLI_testnetRunsUntilInterrupted() throws {
    let network = try LocalTestnet(size: 3)
    let taken = try runTool(["testnet", "--size", "2", "--port", network.port])
    assertFails(taken, "cannot open UDP port \(network.port)")
    network.process.interrupt()
    XCTAssertEqual(try network.process.finish(seconds: 20).status, 0)
  }

  func testCLI_ping() throws {
    let bootstrap = try testnet().bootstrap
    let result = try runTool(["ping", bootstrap, "--json"])
    XCTAssertEqual(result.status, 0, result.errors)
    let pong = try XCTUnwrap(result.object("pong"))
    XCTAssertEqual(pong["from"] as? String, bootstrap)
    XCTAssertTrue((pong["to"] as? String ?? "").hasPrefix("127.0.0.1:"))
    XCTAssertTrue(try runTool(["ping", bootstrap]).text.contains("answered in"))
    assertFails(try runTool(["ping", "127.0.0.1:1"]), "127.0.0.1:1 did not answer")
  }

  func testCLI_node() throws {
    let network = try testnet()
    let node = try ToolProcess(["node", "--bootstrap", network.bootstrap, "--port", "0", "--permanent", "--json"])
    try node.wait(for: "listening")
    try node.wait(for: "\n")
    let line = node.outputText
    let address = try XCTUnwrap(line.split { !$0.isNumber && $0 != "." && $0 != ":" }.first { $0.contains(".") })
    XCTAssertTrue(address.hasPrefix("127.0.0.1:"), "a local network is served from the loopback address: \(line)")
    XCTAssertEqual(try runTool(["ping", String(address)]).status, 0)
    let port = String(address.split(separator: ":")[1])
    let taken = try runTool(["node", "--bootstrap", network.bootstrap, "--port", port, "--host", "127.0.0.1"])
    assertFails(taken, "cannot open UDP port \(port)")
    node.interrupt()
    XCTAssertEqual(try node.finish(seconds: 20).status, 0)
  }

  func testCLI_firstNodeOfANetwork() throws {
    let network = try testnet()
    // A port that was free a moment ago.
    let probe = try ToolProcess(["node", "--bootstrap", network.bootstrap, "--port", "0", "--json"])
    try probe.wait(for: "\n")
    let address = try XCTUnwrap(
      probe.outputText.split { !$0.isNumber && $0 != "." && $0 != ":" }.first { $0.contains(".") })
    probe.interrupt()
    _ = try probe.finish(seconds: 20)
    let port = String(address.split(separator: ":")[1])
    // The environment is there for all commands, and does not stand against an option of one.
    let first = try ToolProcess(
      ["node", "--first", "--host", "127.0.0.1", "--port", port], environment: ["HYPERSWARM_BOOTSTRAP": "127.0.0.1:9"])
    try first.wait(for: "listening on 127.0.0.1:\(port)")
    let second = try ToolProcess(["node", "--bootstrap", "127.0.0.1:\(port)", "--port", "0", "--permanent"])
    try second.wait(for: "listening on")
    let lookup = try runTool(["lookup", "x", "--bootstrap", "127.0.0.1:\(port)"])
    XCTAssertEqual(lookup.status, 0, lookup.errors)
    for process in [second, first] {
      process.interrupt()
      XCTAssertEqual(try process.finish(seconds: 20).status, 0)
    }
  }

  func testCLI_noBootstrapReachable() throws {
    let key = String(repeating: "ab", count: 32)
    let commands = [["lookup", "x"], ["announce", "x"], ["connect", key], ["listen"], ["join", "x"], ["node"]]
    // All at once: each waits for several seconds.
    let processes = try commands.map { try ToolProcess($0 + ["--bootstrap", "127.0.0.1:1"]) }
    for process in processes {
      assertFails(
        try process.finish(), "no bootstrap node answered (127.0.0.1:1)",
        after: "entering the network: no answer from 127.0.0.1:1 yet")
    }
    let json = try runTool(["lookup", "x", "--bootstrap", "127.0.0.1:1", "--json"])
    XCTAssertEqual(json.status, 1)
    XCTAssertEqual(json.object("error")?["code"] as? String, "NO_BOOTSTRAP")
    XCTAssertEqual(
      json.object("waiting") as? [String: String], ["event": "waiting", "bootstrap": "127.0.0.1:1"],
      "on standard output, which carries no data of a peer")
  }

  // MARK: lookup, announce

  func testCLI_announceLookupRemove() throws {
    let bootstrap = try testnet().bootstrap
    let seed = String(repeating: "07", count: 32)
    let key = KeyPair(seed: Bytes32(repeating: 7)).publicKey.hex
    let name = "a topic by text"
    let topic = Blake2b.hash32(Array(name.utf8)).hex

    let none = try runTool(["lookup", name, "--bootstrap", bootstrap])
    XCTAssertEqual(none.status, 0)
    XCTAssertEqual(none.output, [])

    let announced = try runTool(["announce", name, "--seed", seed, "--bootstrap", bootstrap, "--json"])
    XCTAssertEqual(announced.status, 0, announced.errors)
    XCTAssertEqual(announced.object("announced")?["publicKey"] as? String, key)
    XCTAssertEqual(announced.object("announced")?["topic"] as? String, topic)

    // By text and by its hash, as text and as JSON.
    XCTAssertEqual(try runTool(["lookup", name, "--bootstrap", bootstrap]).text, key + "\n")
    let found = try runTool(["lookup", topic, "--bootstrap", bootstrap, "--json"])
    XCTAssertEqual(found.objects.compactMap { $0["publicKey"] as? String }, [key])

    XCTAssertEqual(try runTool(["announce", name, "--seed", seed, "--remove", "--bootstrap", bootstrap]).status, 0)
    XCTAssertEqual(try runTool(["lookup", name, "--bootstrap", bootstrap]).output, [])
  }

  // MARK: listen, connect

  func testCLI_listenAndConnectCarryStandardInputAndOutput() throws {
    let bootstrap = try testnet().bootstrap
    var random = SystemRandomNumberGenerator()
    let big = (0..<375_000).flatMap { _ in withUnsafeBytes(of: random.next() as UInt64) { Array($0) } }
    let listener = try ToolProcess(["listen", "--bootstrap", bootstrap])
    try listener.wait(for: "listening as")
    let key = try XCTUnwrap(listener.announcedKey)
    let connector = try ToolProcess(["connect", key, "--bootstrap", bootstrap])
    DispatchQueue.global().async {
      listener.write(big)
      listener.closeInput()
    }
    connector.write("from the connecting side\n")
    connector.closeInput()
    let there = try connector.finish()
    let here = try listener.finish()
    XCTAssertEqual(there.status, 0, there.errors)
    XCTAssertEqual(here.status, 0, here.errors)
    XCTAssertEqual(here.text, "from the connecting side\n")
    XCTAssertTrue(there.output == big, "\(there.output.count) of \(big.count) bytes")
  }

  func testCLI_relayIsServedAndNamed() throws {
    let bootstrap = try testnet().bootstrap
    let relay = try ToolProcess(["relay", "--bootstrap", bootstrap, "--port", "0", "--json"])
    try relay.wait(for: "\n")
    let relayKey = try XCTUnwrap(relay.outputText.split { !$0.isHexDigit }.first { $0.count == 64 })
    let listener = try ToolProcess(["listen", "--bootstrap", bootstrap, "--relay", String(relayKey)])
    try listener.wait(for: "listening as")
    let key = try XCTUnwrap(listener.announcedKey)
    let connector = try ToolProcess(
      ["connect", key, "--bootstrap", bootstrap, "--relay", String(relayKey), "--no-punch"])
    connector.write("by whatever way")
    connector.closeInput()
    listener.closeInput()
    XCTAssertEqual(try connector.finish().status, 0)
    XCTAssertEqual(try listener.finish().text, "by whatever way")
    relay.interrupt()
    let result = try relay.finish(seconds: 20)
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertNotNil(result.object("relayed")?["connections"])
  }

  func testCLI_listenIsInterruptible() throws {
    let listener = try ToolProcess(["listen", "--bootstrap", try testnet().bootstrap, "--json"])
    try listener.wait(for: "\"event\":\"listening\"")
    listener.interrupt()
    XCTAssertEqual(try listener.finish(seconds: 20).status, 130)
  }

  func testCLI_connectToAnUnknownKey() throws {
    let bootstrap = try testnet().bootstrap
    assertFails(
      try runTool(["connect", String(repeating: "ab", count: 32), "--bootstrap", bootstrap]), "PEER_NOT_FOUND")
  }

  func testCLI_connectWithoutANetwork() throws {
    // Port 9 (discard) of this machine: nothing answers.
    assertFails(
      try runTool(["connect", String(repeating: "ab", count: 32), "--bootstrap", "127.0.0.1:9"]),
      "no bootstrap node answered", after: "entering the network: no answer from 127.0.0.1:9 yet")
  }

  func testCLI_peerThatGoesAwayIsAnError() throws {
    let bootstrap = try testnet().bootstrap
    let listener = try ToolProcess(["listen", "--bootstrap", bootstrap])
    try listener.wait(for: "listening as")
    let key = try XCTUnwrap(listener.announcedKey)
    let connector = try ToolProcess(["connect", key, "--bootstrap", bootstrap])
    try connector.wait(for: "connected with")
    try listener.wait(for: "connected with")
    connector.write("x")
    try listener.wait(for: "x")
    // Its standard output is gone: it cannot go on and aborts the connection.
    listener.kill()
    _ = try listener.finish()
    connector.closeInput()
    let result = try connector.finish(seconds: 120)
    XCTAssertEqual(result.status, 1, result.errors)
    XCTAssertEqual(result.errorLines.count, 2, result.errors)
  }

  // MARK: join

  func testCLI_joinIsAChat() throws {
    let bootstrap = try testnet().bootstrap
    let a = try ToolProcess(["join", "a room", "--bootstrap", bootstrap])
    try a.wait(for: "joined ")
    let b = try ToolProcess(["join", "a room", "--bootstrap", bootstrap, "--json"])
    try a.wait(for: "* ")
    try b.wait(for: "peer-joined")
    a.write("hello b\n")
    try b.wait(for: "\"text\":\"hello b\"")
    b.write("hello a \u{1b}[31m\n")
    try a.wait(for: "hello a \u{fffd}[31m")
    b.interrupt()
    XCTAssertEqual(try b.finish(seconds: 20).status, 0)
    try a.wait(for: "left")
    a.interrupt()
    let result = try a.finish(seconds: 20)
    XCTAssertEqual(result.status, 0)
    XCTAssertTrue(result.text.contains("> hello a"))
  }

  // MARK: demo

  func testCLI_demo() throws {
    let result = try runTool(["demo", "--size", "8", "--json"], seconds: 120)
    XCTAssertEqual(result.status, 0, result.errors)
    let file = try XCTUnwrap(result.object("file"))
    let verified = try XCTUnwrap(result.object("verified"))
    XCTAssertEqual(verified["bytes"] as? Int, 8 << 20)
    XCTAssertEqual(verified["hash"] as? String, file["hash"] as? String)
    XCTAssertEqual(verified["verified"] as? Bool, true)
    XCTAssertGreaterThan(try XCTUnwrap(verified["megabytesPerSecond"] as? Double), 0)
    XCTAssertGreaterThan(try XCTUnwrap(result.object("connected")?["connectMilliseconds"] as? Double), 0)
    XCTAssertEqual(result.objects.last { $0["event"] as? String == "progress" }?["bytes"] as? Int, 8 << 20)
  }

  func testCLI_demoWithATrace() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("hyperswarm-test-\(getpid()).qlog").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let result = try runTool(["demo", "--size", "1", "--qlog", path], seconds: 120)
    XCTAssertEqual(result.status, 0, result.errors)
    let records = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\u{1e}")
    let names = try records.map { record in
      try XCTUnwrap(JSONSerialization.jsonObject(with: Data(record.utf8)) as? [String: Any])["name"] as? String
    }
    XCTAssertNil(names.first ?? "no header")
    XCTAssertEqual(names.last, "udx:trace_closed")
    // A mebibyte in packets of at most 1452 bytes.
    XCTAssertGreaterThan(names.filter { $0 == "transport:packet_sent" }.count, 700)
    assertFails(try runTool(["demo", "--size", "1", "--qlog", "/nonexistent/x"]), "cannot open the trace")
  }

  func testCLI_demoWithAFile() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("hyperswarm-test-\(getpid())").path
    let content = Array("a small file".utf8)
    XCTAssertTrue(FileManager.default.createFile(atPath: path, contents: Data(content)))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let result = try runTool(["demo", "--file", path], seconds: 120)
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertTrue(result.text.contains(Blake2b.hash32(content).hex))
    XCTAssertTrue(result.text.contains("MB/s"))
    XCTAssertTrue(result.errors.contains("transfer  [#########################] 100 %"), result.errors)
    assertFails(try runTool(["demo", "--file", path + ".missing"]), "cannot open")
  }
}
