import Foundation
import XCTest

/// `bench`, and `--trace` of `connect` and `join`.
final class BenchTests: SharedTestnetTestCase {
  private func serve(_ options: [String] = []) throws -> (process: ToolProcess, key: String) {
    let process = try ToolProcess(["bench", "--serve", "--json"] + options, environment: try environment())
    try process.wait(for: "\"publicKey\":\"")
    try process.wait(for: "\n")
    let key = process.outputText.split { !$0.isHexDigit }.first { $0.count == 64 }.map(String.init)
    return (process, try XCTUnwrap(key))
  }

  private func check(_ result: ToolProcess.Finished, bytes: Int? = nil) throws {
    XCTAssertEqual(result.status, 0, result.errors)
    let connects = try XCTUnwrap(result.object("connects"))
    XCTAssertEqual(connects["count"] as? Int, 3)
    XCTAssertGreaterThan(connects["perSecond"] as? Double ?? 0, 0)
    let latency = try XCTUnwrap(result.object("latency"))
    XCTAssertEqual(latency["count"] as? Int, 50)
    let times = ["p50", "p90", "p99", "max"].compactMap { latency[$0] as? Int }
    XCTAssertEqual(times.count, 4)
    XCTAssertEqual(times, times.sorted())
    let buckets = try XCTUnwrap(latency["histogram"] as? [[String: Int]])
    XCTAssertEqual(buckets.reduce(0) { $0 + ($1["count"] ?? 0) }, 50, "each round trip is in one bucket")
    XCTAssertGreaterThan(buckets.last?["below"] ?? 0, times[3])
    let throughput = result.objects.filter { $0["event"] as? String == "throughput" }
    XCTAssertEqual(throughput.compactMap { $0["direction"] as? String }, ["up", "down"])
    for direction in throughput {
      let count = direction["bytes"] as? Int ?? 0
      if let bytes { XCTAssertEqual(count, bytes) } else { XCTAssertGreaterThan(count, 0) }
      let seconds = direction["seconds"] as? Double ?? 0
      XCTAssertEqual(direction["bytesPerSecond"] as? Double ?? 0, Double(count) / seconds, accuracy: 1)
    }
  }

  func testLoopbackMeasuresEverything() throws {
    let result = try runTool(
      ["bench", "--loopback", "--time", "1.2", "--connects", "3", "--pings", "50", "--json"])
    try check(result)
    XCTAssertNotNil(result.object("interval"))
    let text = try runTool([
      "bench", "--loopback", "--time", "0.2", "--only", "up", "--only", "latency", "--pings", "5",
    ])
    XCTAssertEqual(text.text.split(separator: "\n").map { $0.prefix(3) }, ["up ", "lat"], text.text)
  }

  func testTwoProcesses() throws {
    let (server, key) = try serve()
    let options = ["--time", "30", "--connects", "3", "--pings", "50", "--json"]
    let result = try runTool(["bench", key, "-n", "3M", "--length", "1000"] + options, environment: try environment())
    try check(result, bytes: 3_000_000)
    server.interrupt()
    let served = try server.finish(seconds: 20)
    XCTAssertEqual(served.status, 0, "Ctrl-C is the regular end of a server")
    let measured = served.objects.filter { $0["event"] as? String == "served" }
    XCTAssertEqual(measured.compactMap { $0["bytes"] as? Int }, [3_000_000, 3_000_000])
    XCTAssertEqual(measured.compactMap { $0["sent"] as? Bool }, [true, false])
  }

  func testConnectsAtATime() throws {
    let (server, key) = try serve()
    for (options, parallel, count) in [
      (["--parallel", "8"], 8, 80), (["--parallel", "4", "--connects", "2"], 4, 2), (["--connects", "3"], 1, 3),
    ] {
      let result = try runTool(
        ["bench", key, "--only", "connects", "--json"] + options, environment: try environment())
      XCTAssertEqual(result.status, 0, result.errors)
      let connects = try XCTUnwrap(result.object("connects"))
      XCTAssertEqual(connects["parallel"] as? Int, parallel)
      // A busy machine may take more than the time of five seconds for all of them.
      let measured = try XCTUnwrap(connects["count"] as? Int)
      XCTAssertLessThanOrEqual(measured, count)
      XCTAssertGreaterThanOrEqual(measured, min(parallel, count))
      XCTAssertGreaterThan(connects["perSecond"] as? Double ?? 0, 0)
    }
    let text = try runTool(["bench", "--loopback", "--only", "connects", "--parallel", "2", "--connects", "4"]).text
    XCTAssertTrue(text.contains("/s 2 at a time ("), text)
    server.interrupt()
    XCTAssertEqual(try server.finish(seconds: 20).status, 0)
  }

  func testAServerLetsInOnlyThoseThatAreAllowed() throws {
    let seed = String(repeating: "7", count: 64)
    let pair = try runTool(["keygen", "--seed", seed, "--json"])
    let allowed = try XCTUnwrap(pair.object("keypair")?["publicKey"] as? String)
    let (server, key) = try serve(["--allow", allowed])
    let options = ["--only", "latency", "--pings", "3"]
    let welcome = try runTool(
      ["bench", key] + options, environment: try environment(["HYPERSWARM_SEED": seed]))
    XCTAssertEqual(welcome.status, 0, welcome.errors)
    let refused = try runTool(["bench", key] + options, environment: try environment())
    XCTAssertEqual(refused.status, 1, refused.text)
    server.interrupt()
    _ = try server.finish(seconds: 20)
  }

  func testOfWhatIsNoBench() throws {
    let (listener, key) = try listen(["--many", "--exec", "cat"])
    let result = try runTool(["bench", key, "--only", "up"], environment: try environment())
    XCTAssertEqual(result.status, 1)
    XCTAssertTrue(result.errors.contains("the peer does not serve bench"), result.errors)
    listener.interrupt()
    try assertEnds(listener, with: 130)
    // And a bench is served nothing else.
    let (server, benchKey) = try serve()
    let caller = try connect(benchKey)
    caller.write("GET / HTTP/1.0\r\n\r\n")
    let answer = try caller.finish(seconds: 30)
    XCTAssertEqual(answer.text, "no: hyperswarm-bench/1 is spoken here")
    server.interrupt()
    _ = try server.finish(seconds: 20)
    let gone = try runTool(["bench", benchKey], environment: try environment())
    XCTAssertEqual(gone.status, 1)
    XCTAssertTrue(gone.errors.contains("PEER_NOT_FOUND"), gone.errors)
  }

  func testAnInterruptedBenchAndAServerThatIsKilled() throws {
    let (server, key) = try serve()
    let interrupted = try ToolProcess(["bench", key, "--only", "down", "--time", "60"], environment: try environment())
    try interrupted.wait(for: "1 s ")
    interrupted.interrupt()
    try assertEnds(interrupted, with: 130, within: 5)
    let left = try ToolProcess(["bench", key, "--only", "up", "--time", "60"], environment: try environment())
    try left.wait(for: "1 s ")
    server.kill()
    try assertEnds(left, with: 1, within: 30, saying: "ETIMEDOUT")
  }

  func testWrongUse() throws {
    let key = String(repeating: "ab", count: 32)
    for (arguments, text) in [
      ([], "one of a key, --serve and --loopback"), ([key, "--serve"], "one of a key"),
      ([key, "--time", "0"], "--time"), ([key, "-n", "5X"], "'5X' is no size"), ([key, "--length", "1G"], "--length"),
      ([key, "-n", "9999999999G"], "is no size"), ([key, "--allow", key], "--serve"),
      ([key, "--only", "sideways"], "sideways"), (["--loopback", "--bootstrap", "a:1"], "--bootstrap"),
    ] {
      let result = try runTool(["bench"] + arguments)
      XCTAssertEqual(result.status, 64, "\(arguments)")
      XCTAssertTrue(result.errors.contains(text), result.errors)
    }
  }

  // MARK: --trace

  func testTheStepsOfADial() throws {
    let (listener, key) = try listen(["--many", "--exec", "cat"])
    let result = try runTool(["connect", key, "--trace", "--json"], input: [0x61], environment: try environment())
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertEqual(result.text, "a", "nothing of the trace is among the data")
    let lines = result.errorLines.compactMap {
      try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
    }.filter { $0["event"] as? String == "trace" }
    XCTAssertTrue(lines.allSatisfy { $0["publicKey"] as? String == key })
    let texts = lines.compactMap { $0["text"] as? String }
    XCTAssertTrue(texts.first?.hasPrefix("attempt started") ?? false, "\(texts)")
    XCTAssertTrue(texts.contains { $0.hasPrefix("handshake done") }, "\(texts)")
    XCTAssertTrue(texts.contains { $0.hasPrefix("open, direct, 127.0.0.1:") }, "\(texts)")
    let times = lines.filter { $0["step"] as? Bool == true }.compactMap { $0["milliseconds"] as? Int }
    XCTAssertEqual(times, times.sorted())
    XCTAssertEqual(times.first, 0)
    listener.interrupt()
    try assertEnds(listener, with: 130)

    let nobody = try runTool(
      ["connect", String(repeating: "ab", count: 32), "--trace"], environment: try environment())
    XCTAssertEqual(nobody.status, 1)
    XCTAssertTrue(nobody.errors.contains("given up  PEER_NOT_FOUND"), nobody.errors)
  }

  func testTheStepsOfASwarm() throws {
    let first = try ToolProcess(["join", "traced"], environment: try environment())
    try first.wait(for: "joined ")
    let second = try ToolProcess(["join", "traced", "--trace"], environment: try environment())
    try second.wait(for: "  open, direct, 127.0.0.1:")
    first.interrupt()
    try assertEnds(first, with: 0)
    try second.wait(for: "closed")
    second.interrupt()
    let result = try second.finish(seconds: 20)
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertTrue(result.errors.contains(" ms  "), result.errors)
  }
}
