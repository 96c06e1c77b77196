import Foundation
import XCTest

@testable import hyperswarm_cli

/// nginx behind a tunnel, and wrk in front of it: skipped where they are not installed.
final class TunnelLoadTests: TunnelTestCase {
  private static let body = String(repeating: "0123456789", count: 100)

  private func program(_ name: String) throws -> String {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    let folders = path.split(separator: ":").map(String.init) + ["/usr/sbin"]
    guard let folder = folders.first(where: { FileManager.default.isExecutableFile(atPath: "\($0)/\(name)") }) else {
      throw XCTSkip("needs \(name)")
    }
    return "\(folder)/\(name)"
  }

  /// A port that was free a moment ago.
  private func freePort() async throws -> Int {
    let (_, address) = try await XCTUnwrap(LocalAddress("0")).listen()
    return try XCTUnwrap(address.split(separator: ":").last.flatMap { Int($0) })
  }

  private func nginx(_ port: Int, in folder: URL) throws -> ToolProcess {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map { "\($0)_temp_path \(folder.path)/\($0);" }.joined(separator: "\n")
    let text = """
      daemon off; master_process off; pid \(folder.path)/pid; error_log \(folder.path)/errors;
      events { worker_connections 4096; }
      http {
        \(temporary)
        access_log \(folder.path)/requests; keepalive_requests 1000000;
        server { listen 127.0.0.1:\(port) backlog=2048; location / { return 200 "\(TunnelLoadTests.body)"; } }
      }
      """
    let file = folder.appendingPathComponent("nginx.conf")
    try Data(text.utf8).write(to: file)
    return try limited(["\(try program("nginx"))", "-e", "\(folder.path)/errors", "-c", file.path])
  }

  /// With room for descriptors.
  private func limited(_ command: [String]) throws -> ToolProcess {
    try ToolProcess(
      ["-c", "ulimit -n 8192 2>/dev/null; exec \"$0\" \"$@\""] + command, program: URL(fileURLWithPath: "/bin/sh"))
  }

  /// What came through for so many connections at a time.
  private func load(_ options: [String], connections: Int) async throws {
    let wrk = try program("wrk")
    let folder = try makeFolder()
    let port = try await freePort()
    let server = try nginx(port, in: folder)
    defer { server.terminate() }
    let place = try XCTUnwrap(LocalAddress("\(port)"))
    for _ in 0..<100 where (try? await place.connect()) == nil { try await Task.sleep(for: .milliseconds(50)) }
    let expose = try run(["expose", "\(port)"] + options, until: "PORT")
    let forward = try run(["forward", "0", try XCTUnwrap(keys(expose).first)] + options, until: "->")
    let entry = try self.port(forward)
    // A slow machine takes its time to make the connections.
    for seconds in [5, 20, 60] {
      let result = try limited([
        wrk, "-t", "1", "-c", "\(connections)", "-d", "\(seconds)s", "--timeout", "60s", "http://127.0.0.1:\(entry)/",
      ]).finish(seconds: 150)
      XCTAssertEqual(result.status, 0, result.errors)
      XCTAssertFalse(result.text.contains("Socket errors"), result.text)
      XCTAssertFalse(result.text.contains("Non-2xx"), result.text)
      let answered = result.text.split(separator: "\n").first { $0.contains("requests in") }?
        .split(separator: " ").first.flatMap { Int($0) }
      if answered ?? 0 > 0 { break }
      XCTAssertLessThan(seconds, 60, "no request was answered: \(result.text)")
    }
    // wrk has left in the middle of requests: others find everything as it was.
    let request = Array("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".utf8)
    for _ in 0..<10 {
      let answer = try await TunnelTestCase.ask(entry, request)
      XCTAssertTrue(String(decoding: answer, as: UTF8.self).hasSuffix(TunnelLoadTests.body))
    }
    try end(forward, expose)
  }

  func testLoad_oneConnectionEach() async throws { try await load([], connections: 64) }

  func testLoad_aThousandConnectionsOverOne() async throws { try await load(["--mux"], connections: 1_000) }
}
