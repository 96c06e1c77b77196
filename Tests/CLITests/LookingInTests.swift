import Foundation
import XCTest

/// `ping` and `doctor`.
final class LookingInTests: SharedTestnetTestCase {
  func testD18_pingTakesNamesAndTellsMicroseconds() throws {
    let port = try XCTUnwrap(try bootstrap().split(separator: ":").last)
    let result = try runTool(["ping", "localhost:\(port)", "--count", "3", "--interval", "0.05", "--json"])
    XCTAssertEqual(result.status, 0, result.errors)
    let times = result.objects.filter { $0["event"] as? String == "pong" }.compactMap { $0["microseconds"] as? Int }
    XCTAssertEqual(times.count, 3)
    XCTAssertTrue(times.allSatisfy { $0 > 0 }, "\(times)")
    let statistics = try XCTUnwrap(result.object("statistics"))
    XCTAssertEqual(statistics["answered"] as? Int, 3)
    XCTAssertEqual(statistics["lowest"] as? Int, times.min())

    for target in ["localhost", "[::1]:5", "127.0.0.1:0", "nothing"] {
      let wrong = try runTool(["ping", target])
      XCTAssertEqual(wrong.status, 64, target)
      XCTAssertTrue(wrong.errors.contains(target), wrong.errors)
    }
    let unknown = try runTool(["ping", "nohost.invalid:5"])
    XCTAssertEqual(unknown.status, 1)
    XCTAssertTrue(unknown.errors.contains("cannot resolve 'nohost.invalid'"), unknown.errors)
    let useless = try runTool(["ping", "--bootstrap", try bootstrap(), try bootstrap()])
    XCTAssertEqual(useless.status, 64, "an option is not ignored")
  }

  func testPingOfAPeer() throws {
    let (listener, key) = try listen(["--many", "--exec", "cat"])
    let result = try runTool(
      ["ping", key, "--count", "2", "--interval", "0.05"], environment: try environment())
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertTrue(result.text.contains("connected with \(key) in "), result.text)
    XCTAssertTrue(result.text.contains("2 of 2 answered"), result.text)
    listener.interrupt()
    try assertEnds(listener, with: 130)
    let gone = try runTool(["ping", String(repeating: "ab", count: 32)], environment: try environment())
    XCTAssertEqual(gone.status, 1)
    XCTAssertTrue(gone.errors.contains("PEER_NOT_FOUND"), gone.errors)
  }

  func testTheDoctorLooksAtEverything() throws {
    let relay = try ToolProcess(["relay", "--port", "0", "--json"], environment: try environment())
    try relay.wait(for: "\n")
    let relayKey = String(try XCTUnwrap(relay.outputText.split { !$0.isHexDigit }.first { $0.count == 64 }))
    let result = try runTool(["doctor", "--relay", relayKey, "--json"], environment: try environment())
    XCTAssertEqual(result.status, 0, result.errors)
    let checks = result.objects.filter { $0["event"] as? String == "check" }
    let names = checks.compactMap { $0["name"] as? String }
    XCTAssertEqual(
      names,
      [
        "interfaces", "names", "route", "UDP out", "DHT", "public address", "inbound UDP", "relay", "kernel buffers",
      ])
    func check(_ name: String) -> [String: Any] { checks.first { $0["name"] as? String == name } ?? [:] }
    XCTAssertEqual(check("public address")["nat"] as? String, "none")
    XCTAssertEqual(check("public address")["host"] as? String, "127.0.0.1")
    XCTAssertGreaterThanOrEqual((check("public address")["samples"] as? [String] ?? []).count, 4)
    let nodes = try XCTUnwrap(check("DHT")["nodes"] as? [[String: Any]])
    XCTAssertGreaterThanOrEqual(nodes.count, 3)
    XCTAssertEqual((nodes.first?["microseconds"] as? [Int])?.count, 3)
    XCTAssertEqual(check("relay")["verdict"] as? String, "ok")
    XCTAssertTrue(checks.allSatisfy { ["ok", "info", "warning", "failed"].contains($0["verdict"] as? String) })
    relay.interrupt()
    _ = try relay.finish(seconds: 20)

    let screen = try runTool(["doctor"], environment: try environment())
    XCTAssertTrue(screen.text.contains("\nUDP out         ok       1 of 1 bootstrap nodes answer, in "), screen.text)
  }

  func testTheDoctorWorksWhenNothingWorks() throws {
    let result = try runTool(["doctor", "--bootstrap", "127.0.0.1:9,nohost.invalid:1"])
    XCTAssertEqual(result.status, 1)
    XCTAssertTrue(result.text.contains("cannot resolve 'nohost.invalid'"), result.text)
    XCTAssertTrue(result.text.contains("UDP out         failed   0 of 1 bootstrap nodes answer"), result.text)
    XCTAssertTrue(result.text.contains("kernel buffers"), "the rest is looked at all the same: \(result.text)")
    XCTAssertTrue(result.errors.contains("is a firewall in the way of UDP"), result.errors)
    XCTAssertEqual(result.errorLines.last, "hyperswarm: no node of the network answers")
  }
}
