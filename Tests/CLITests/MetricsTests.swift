import Foundation
import XCTest

/// `--metrics` of node, relay and testnet, and `status`.
final class MetricsTests: SharedTestnetTestCase {
  /// A running command that serves counters, and where.
  private func serve(_ arguments: [String], at place: String = "0") throws -> (process: ToolProcess, port: UInt16) {
    let process = try ToolProcess(arguments + ["--metrics", place], environment: try environment())
    try process.wait(for: "counters at ")
    try process.wait(for: "/metrics\n")
    try process.wait(
      for: arguments[0] == "testnet" ? "bootstrap " : arguments[0] == "relay" ? "relaying as" : "listening on")
    let text = try XCTUnwrap(process.errorText.components(separatedBy: "counters at http://").last)
    let port = try XCTUnwrap(text.split { $0 == ":" || $0 == "/" }.dropFirst().first.flatMap { UInt16($0) })
    return (process, port)
  }

  private func get(_ port: UInt16, _ path: String = "/metrics") throws -> PlainResponse {
    try PlainResponse("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n", port: port)
  }

  private func end(_ process: ToolProcess) throws {
    process.interrupt()
    try assertEnds(process, with: 0)
  }

  /// `promtool check metrics`, where it is installed. It dislikes (3) some names that dashboards know.
  private func checkByPrometheus(_ text: String) throws {
    let check = try ToolProcess(
      ["-c", "command -v promtool >/dev/null || exit 77; exec promtool check metrics"],
      program: URL(fileURLWithPath: "/bin/sh"))
    check.write(text)
    check.closeInput()
    let result = try check.finish(seconds: 20)
    XCTAssertTrue([0, 3, 77].contains(result.status), result.text + result.errors)
  }

  func testEveryRoleServesCountersOfItsLayers() throws {
    let common = [
      "process_start_time_seconds", "dht_total_requests", "dht_ping_transmitted", "dht_consistent_punches",
      "dht_nr_nodes", "udx_total_bytes_received", "udx_total_bytes_transmitted", "udx_total_packets_transmitted",
      "udx_retransmits", "dht_is_online", "dht_handshakes_received",
    ]
    for (arguments, own) in [
      (["node", "--port", "0"], ["dht_server_socket_packets_received"]),
      (["relay", "--port", "0"], ["hyperswarm_relay_links", "hyperswarm_relay_bytes_total", "dht_servers"]),
      (["testnet", "--size", "3", "--port", "0"], ["hyperswarm_testnet_nodes"]),
    ] {
      let (process, port) = try serve(arguments)
      let response = try get(port)
      XCTAssertEqual(response.status, "HTTP/1.1 200 OK")
      XCTAssertEqual(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
      XCTAssertEqual(response.headers["content-length"], "\(response.body.utf8.count)")
      let counters = try StrictExposition(response.body)
      for name in common + own { XCTAssertNotNil(counters.values[name], "\(arguments[0]): \(name)") }
      // What a node has sent and received to enter the network.
      for name in ["dht_total_requests", "udx_total_bytes_transmitted", "udx_total_bytes_received"] {
        XCTAssertGreaterThan(counters.values[name] ?? 0, 0, "\(arguments[0]): \(name)")
      }
      XCTAssertNotNil(counters.values.keys.first { $0.hasPrefix("hyperswarm_build_info{version=\"") })
      try checkByPrometheus(response.body)
      try end(process)
    }
  }

  func testTheEndpointSpeaksHTTP() throws {
    let (process, port) = try serve(["node", "--port", "0"])
    for (request, status) in [
      ("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK"), ("GET /metrics?a=b HTTP/1.0\n\n", "200 OK"),
      ("GET http://a:1/metrics HTTP/1.1\r\nHost: a:1\r\n\r\n", "200 OK"), ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
      ("POST /metrics HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", "405 Method Not Allowed"),
      ("GET /metrics\r\n\r\n", "400 Bad Request"), ("\r\n\r\n", "400 Bad Request"),
      (String(repeating: "a", count: 9000), "431 Request Header Fields Too Large"),
    ] {
      let response = try PlainResponse(request, port: port)
      XCTAssertEqual(response.status, "HTTP/1.1 " + status, request)
      XCTAssertEqual(response.headers["connection"], "close")
      let isHead = request.hasPrefix("HEAD")
      XCTAssertEqual(response.body.isEmpty, isHead, request)
      if isHead { XCTAssertGreaterThan(Int(response.headers["content-length"] ?? "") ?? 0, 500) }
      if status.hasPrefix("405") { XCTAssertEqual(response.headers["allow"], "GET, HEAD") }
    }
    // Silent clients are let go of, and hold up others no longer than that.
    let silent = try (0..<20).map { _ in try PlainSocket(connectedTo: port) }
    silent[0].write("GET /metr")
    let start = Date()
    XCTAssertEqual(try get(port).status, "HTTP/1.1 200 OK")
    XCTAssertEqual(silent[0].read(), "")
    XCTAssertLessThan(Date().timeIntervalSince(start), 9)
    try end(process)
  }

  func testWhereTheEndpointIs() throws {
    let (process, port) = try serve(["node", "--port", "0"])
    XCTAssertFalse(process.errorText.contains("warning"), process.errorText)
    let second = try runTool(["node", "--port", "0", "--metrics", "\(port)", "--json"], environment: try environment())
    XCTAssertEqual(second.status, 1)
    XCTAssertEqual(second.object("error")?["code"] as? String, "METRICS")
    XCTAssertTrue(second.errors.contains("127.0.0.1:\(port)"), second.errors)
    try end(process)

    let open = try serve(["node", "--port", "0"], at: "0.0.0.0:0").process
    XCTAssertTrue(open.errorText.contains("other machines can read the counters at 0.0.0.0:"), open.errorText)
    try end(open)

    let path = try makeFolder().appendingPathComponent("counters").path
    let byPath = try ToolProcess(["testnet", "--size", "2", "--port", "0", "--metrics", path])
    try byPath.wait(for: "bootstrap ")
    let status = try runTool(["status", path, "--once"])
    XCTAssertTrue(status.text.contains("network      2 nodes here"), status.text + status.errors)
    try end(byPath)
    XCTAssertFalse(FileManager.default.fileExists(atPath: path), "the socket is left behind")

    for place in ["nothing", "127.0.0.1:99999", ""] {
      let wrong = try runTool(["node", "--metrics", place])
      XCTAssertEqual(wrong.status, 64, place)
      XCTAssertTrue(wrong.errors.contains("'\(place)' is no place"), wrong.errors)
    }
  }

  // MARK: status

  func testStatusOnce() throws {
    let (process, port) = try serve(["relay", "--port", "0"])
    for target in ["127.0.0.1:\(port)", "\(port)", "http://localhost:\(port)/metrics"] {
      let result = try runTool(["status", target, "--once"])
      XCTAssertEqual(result.status, 0, result.errors)
      let lines = result.text.split(separator: "\n")
      XCTAssertTrue(lines.first?.hasPrefix("hyperswarm relay ") ?? false, result.text)
      for name in ["received", "sent", "network", "requests", "connects", "punches", "relay"] {
        XCTAssertTrue(lines.contains { $0.hasPrefix(name + " ") }, "\(name): \(result.text)")
      }
      XCTAssertFalse(result.text.contains("\u{1b}"), "no terminal is steered")
    }
    let all = try runTool(["status", "\(port)", "--once", "--all"])
    XCTAssertTrue(all.text.contains("\nhyperswarm_relay_links 0\n"), all.text)

    let rounds = try runTool(["status", "\(port)", "--count", "3", "--interval", "0.1", "--json"])
    XCTAssertEqual(rounds.status, 0, rounds.errors)
    let objects = rounds.objects
    XCTAssertEqual(objects.compactMap { $0["event"] as? String }, ["status", "status", "status"])
    XCTAssertTrue(objects.first?["seconds"] is NSNull)
    XCTAssertGreaterThanOrEqual(objects.last?["seconds"] as? Double ?? 0, 0.1)
    XCTAssertGreaterThan((objects.last?["values"] as? [String: Double])?["dht_nr_nodes"] ?? 0, 0)
    XCTAssertNotNil((objects.last?["perSecond"] as? [String: Double])?["udx_total_bytes_received"])
    try end(process)
  }

  func testStatusGoesOnAndEnds() throws {
    let (process, port) = try serve(["node", "--port", "0"])
    let status = try ToolProcess(["status", "\(port)", "--interval", "0.2", "--json"])
    try status.wait(for: "\"event\":\"status\"")
    try end(process)
    try status.wait(for: "\"code\":\"UNREACHABLE\"")
    status.interrupt()
    let result = try status.finish(seconds: 10)
    XCTAssertEqual(result.status, 0, "Ctrl-C is the regular end: \(result.errors)")
    XCTAssertNotNil(result.object("failed"))
    // With an end of its own it is not.
    let silent = try PlainSocket.answering([])
    let bounded = try ToolProcess(["status", "\(silent.port)", "--once"])
    _ = try bounded.finish(seconds: 10)
  }

  func testStatusOfWhatIsNoNode() throws {
    let unreachable = try runTool(["status", "127.0.0.1:9", "--json"])
    XCTAssertEqual(unreachable.status, 1)
    XCTAssertEqual(unreachable.object("error")?["code"] as? String, "UNREACHABLE")
    for (answer, text) in [
      ("", "is no HTTP"), ("SSH-2.0-x\r\n", "is no HTTP"),
      ("HTTP/1.1 403 Go away\u{1b}\r\n\r\n", "answers 403 Go away"),
      ("HTTP/1.1 200 OK\r\n\r\nno number\n", "is no sample"), ("HTTP/1.1 200 OK\r\n\r\na{b=\"c} 1\n", "is no sample"),
      ("HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "a 1\n", count: 1_100_000), "too large"),
    ] {
      let server = try PlainSocket.answering(Array(answer.utf8))
      let result = try runTool(["status", "\(server.port)", "--once"])
      XCTAssertEqual(result.status, 1, text)
      XCTAssertTrue(result.errors.contains(text), result.errors)
      XCTAssertFalse(result.errors.contains("\u{1b}"), "a stranger steers the terminal")
    }
    // Another program's counters.
    let page = "HTTP/1.1 200 OK\r\n\r\n# TYPE x counter\nx{a=\"}\\\"\"} 5 1700000000\ny NaN\nhyperswarm_nr_peers 4\n"
    let server = try PlainSocket.answering(Array(page.utf8))
    let result = try runTool(["status", "\(server.port)", "--once", "--all"])
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertTrue(result.text.contains("swarm        4 peers"), result.text)
    XCTAssertTrue(result.text.contains("x{a=\"}\\\"\"} 5\n"), result.text)
    for arguments in [
      ["nothing"], ["9", "--interval", "0"], ["9", "--once", "--count", "2"], ["9", "--count", "0"], [],
    ] {
      XCTAssertEqual(try runTool(["status"] + arguments).status, 64, "\(arguments)")
    }
  }
}
