import Foundation
import HyperCrypto
import HyperEncoding
import XCTest

/// `put`, `get`, and `lookup` and `announce` that go on.
final class RecordTests: SharedTestnetTestCase {
  func testAValueIsFoundByItsHash() throws {
    let value = Array("a value\nwith \u{0}zero".utf8)
    let hash = Blake2b.hash32(value).hex
    let put = try runTool(["put"], input: value, environment: try environment())
    XCTAssertEqual(put.status, 0, put.errors)
    XCTAssertEqual(put.text, hash + "\n")
    let got = try runTool(["get", hash], environment: try environment())
    XCTAssertEqual(got.output, value, "the bytes as they are")
    let object = try XCTUnwrap(
      try runTool(["get", hash, "--json"], environment: try environment()).object("value"))
    XCTAssertEqual(object["hex"] as? String, Hex.encode(value))
    XCTAssertEqual(object["text"] as? String, String(decoding: value, as: UTF8.self))
    XCTAssertEqual(object["bytes"] as? Int, value.count)

    XCTAssertEqual(
      try runTool(["put", "as argument"], environment: try environment()).text,
      Blake2b.hash32(Array("as argument".utf8)).hex + "\n")
    let none = try runTool(["get", String(repeating: "ab", count: 32)], environment: try environment())
    XCTAssertEqual(none.status, 1)
    XCTAssertTrue(none.errors.contains("no node has a value"), none.errors)
    let large = try runTool(["put"], input: [UInt8](repeating: 1, count: 1025), environment: try environment())
    XCTAssertEqual(large.status, 1)
    XCTAssertTrue(large.errors.contains("more than 1024 bytes"), large.errors)
    XCTAssertEqual(try runTool(["put", String(repeating: "x", count: 1025)]).status, 64)
    XCTAssertEqual(
      try runTool(["put"], input: [UInt8](repeating: 1, count: 1024), environment: try environment()).status, 0)
  }

  func testAValueOfAKeyIsReplaced() throws {
    let folder = try makeFolder()
    let file = folder.appendingPathComponent("seed").path
    let key = try runTool(["keygen", "--out", file]).text.trimmingCharacters(in: .newlines)
    let put = ["put", "--mutable", "--seed-file", file]
    for (number, value) in ["one", "two"].enumerated() {
      let result = try runTool(put + [value, "--json"], environment: try environment())
      XCTAssertEqual(result.object("stored")?["key"] as? String, key, result.errors)
      XCTAssertEqual(result.object("stored")?["seq"] as? Int, number)
    }
    XCTAssertEqual(try runTool(["get", "--mutable", key], environment: try environment()).text, "two")
    XCTAssertEqual(try runTool(put + ["ten", "--seq", "10"], environment: try environment()).status, 0)
    let old = try runTool(put + ["old", "--seq", "5"], environment: try environment())
    XCTAssertEqual(old.status, 1)
    XCTAssertTrue(old.errors.contains("SEQ_TOO_LOW"), old.errors)
    XCTAssertEqual(try runTool(["get", "--mutable", key, "--seq", "10"], environment: try environment()).text, "ten")
    XCTAssertEqual(try runTool(["get", "--mutable", key, "--seq", "11"], environment: try environment()).status, 1)

    let watching = try ToolProcess(
      ["get", "--mutable", key, "--watch", "--interval", "1"], environment: try environment())
    try watching.wait(for: "ten\n")
    XCTAssertEqual(try runTool(put + ["eleven"], environment: try environment()).status, 0)
    try watching.wait(for: "eleven\n")
    watching.interrupt()
    let result = try watching.finish(seconds: 20)
    XCTAssertEqual(result.text, "ten\neleven\n", "each value once")
    XCTAssertEqual(result.status, 0)
  }

  func testRecordsNeedWhatTheyNeed() throws {
    for arguments in [
      ["put", "--mutable", "x"], ["put", "--seq", "1", "x"], ["get", "--seq", "1", String(repeating: "ab", count: 32)],
      ["get", "--watch", String(repeating: "ab", count: 32)], ["get", "xx"], ["announce", "--remove", "x"],
      ["lookup", "--interval", "5", "x"], ["lookup", "--watch", "--interval", "0", "x"],
    ] {
      XCTAssertEqual(try runTool(arguments).status, 64, "\(arguments)")
    }
  }

  func testLookupAndAnnounceGoOn() throws {
    let seed = String(repeating: "0a", count: 32)
    let key = KeyPair(seed: Bytes32(repeating: 10)).publicKey.hex
    let looking = try ToolProcess(
      ["lookup", "a busy topic", "--watch", "--interval", "1"], environment: try environment())
    try looking.wait(for: "0 peers under")
    let announcing = try ToolProcess(
      ["announce", "a busy topic", "--watch"], environment: try environment(["HYPERSWARM_SEED": seed]))
    try announcing.wait(for: "is announced under")
    try looking.wait(for: key + "\n")
    announcing.interrupt()
    let announced = try announcing.finish(seconds: 20)
    XCTAssertEqual(announced.status, 0, announced.errors)
    XCTAssertTrue(announced.text.contains("is no longer announced"), announced.text)
    try looking.wait(for: "\(key) is gone")
    looking.terminate()
    XCTAssertEqual(try looking.finish(seconds: 20).status, 0)
  }
}
