import Foundation
import XCTest

@testable import hyperswarm_cli

/// `join`: what members are called.
final class ChatTests: SharedTestnetTestCase {
  func testNamesStandBesideTheKeys() throws {
    let anna = try ToolProcess(["join", "a named room", "--name", " anna ß "], environment: try environment())
    try anna.wait(for: "joined ")
    let other = try ToolProcess(["join", "a named room", "--json"], environment: try environment())
    try other.wait(for: "peer-named")
    anna.write("hello\n")
    try other.wait(for: "\"text\":\"hello\"")
    other.write("hello back\n")
    try anna.wait(for: "hello back")
    for process in [anna, other] { process.interrupt() }
    let result = try other.finish(seconds: 20)
    let named = try XCTUnwrap(result.object("peer-named"))
    let message = try XCTUnwrap(result.object("message"))
    XCTAssertEqual(named["name"] as? String, "anna ß")
    XCTAssertEqual(message["name"] as? String, "anna ß")
    XCTAssertEqual(named["publicKey"] as? String, message["publicKey"] as? String)
    XCTAssertNil(result.object("peer-joined")?["name"], "no name has come yet")
    let lines = try anna.finish(seconds: 20).text
    XCTAssertFalse(lines.contains(" is "), "the other one has said none")
  }

  func testNamesOfStrangersDoNotSteerTheTerminal() throws {
    let mark = Array("hyperswarm-chat".utf8) + [1]
    func name(_ bytes: some Sequence<UInt8>) -> String? { ChatName(datagram: mark + bytes)?.text }
    XCTAssertEqual(name("bob".utf8), "bob")
    XCTAssertEqual(name("\u{1b}[2Jbob\n".utf8), "\u{fffd}[2Jbob\u{fffd}")
    XCTAssertEqual(name("  b o b ".utf8), "b o b")
    XCTAssertNil(name("   ".utf8))
    XCTAssertNil(name([]))
    XCTAssertNil(name([0xff, 0xfe]))
    XCTAssertNotNil(name([UInt8](repeating: 65, count: 64)))
    XCTAssertNil(name([UInt8](repeating: 65, count: 65)))
    XCTAssertNil(ChatName(datagram: Array("hyperswarm-chat".utf8) + [2, 65]), "another version")
    let long = try ToolProcess(
      ["join", "x", "--name", String(repeating: "a", count: 65)], environment: try environment())
    XCTAssertEqual(try long.finish(seconds: 20).status, 64)
  }
}
