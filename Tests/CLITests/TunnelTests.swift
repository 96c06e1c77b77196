import Foundation
import HyperCrypto
import HyperEncoding
import XCTest

@testable import hyperswarm_cli

/// `expose` and `forward` with real sockets.
final class TunnelTests: TunnelTestCase {
  func testTunnel_bytesAndHalvesPass() async throws {
    let service = try await Service { socket in
      var bytes: [UInt8] = []
      while let more = try await socket.read() { bytes += more }
      // Only when the other half has ended.
      try await socket.write(bytes.reversed())
      socket.end()
    }
    let expose = try run(["expose", "\(service.port)"], until: "forward PORT")
    let forward = try run(["forward", "0", try XCTUnwrap(keys(expose).first)], until: "->")
    let port = try port(forward)
    let big = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let answer = try await TunnelTestCase.ask(port, big)
    XCTAssertTrue(answer == big.reversed())
    let empty = try await TunnelTestCase.ask(port, [])
    XCTAssertEqual(empty, [])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<40 {
        group.addTask {
          let answer = try await TunnelTestCase.ask(port, Array("\(index) and more".utf8))
          XCTAssertEqual(answer, Array("\(index) and more".utf8).reversed())
        }
      }
      try await group.waitForAll()
    }
    try end(forward, expose)
  }

  func testTunnel_whatWasSaidBeforeABreakArrives() async throws {
    let service = try await Service { socket in
      _ = try await socket.read()
      try await socket.write([UInt8](repeating: 5, count: 300_000))
      await socket.abort(within: 10)
    }
    let expose = try run(["expose", "\(service.port)"], until: "forward PORT")
    let forward = try run(["forward", "0", try XCTUnwrap(keys(expose).first)], until: "->")
    let socket = try await XCTUnwrap(LocalAddress("\(try port(forward))")).connect()
    try await socket.write([1])
    var count = 0
    do {
      while let more = try await socket.read() { count += more.count }
      XCTFail("a break is no end")
    } catch { XCTAssertTrue(error is SocketFailure, "\(error)") }
    XCTAssertEqual(count, 300_000)
    try end(forward, expose)
  }

  func testTunnel_privateAndAllowed() async throws {
    let service = try await Service { socket in
      try await socket.write([7])
      socket.end()
    }
    let seed = String(repeating: "09", count: 32)
    let closed = try run(
      ["expose", "--private", "--seed", seed, "\(service.port)"],
      until: "hyperswarm forward --ask PORT\nand there the key:\n")
    let secret = try XCTUnwrap(keys(closed).last)
    XCTAssertEqual(secret, "hs://s000brro1nejbrro1nejbrro1nejbrro1nejbrro1nejbrro1nejbrro")
    let publicKey = KeyPair(seed: Bytes32(repeating: 9)).publicKey.hex
    let stranger = try run(["forward", "0", publicKey], until: "->")
    let friend = try run(["forward", "0", secret], until: "->")
    let seeded = try run(["forward", "--private", "0", seed], until: "->")
    let told = try run(["forward", "0"], until: "->", environment: ["HYPERSWARM_SERVICE_KEY": secret])
    let typed = try ToolProcess(["forward", "0", "-", "0", "-"], environment: try environment())
    typed.write("\(secret)\n\(publicKey)\n")
    try typed.wait(for: "-> \(publicKey)\n127.0.0.1:")
    for process in [friend, seeded, told, typed] {
      let answer = try await TunnelTestCase.ask(try port(process), [])
      XCTAssertEqual(answer, [7])
    }
    let warning = "warning: other users of this machine can see a seed among the arguments"
    for process in [friend, seeded] { XCTAssertTrue(process.errorText.contains(warning), process.errorText) }
    for process in [told, typed, stranger] { XCTAssertFalse(process.errorText.contains("warning"), process.errorText) }
    do {
      let answer = try await TunnelTestCase.ask(try port(stranger), [])
      XCTFail("\(answer)")
    } catch { XCTAssertTrue(error is SocketFailure, "\(error)") }
    try stranger.wait(for: "PEER_CONNECTION_FAILED")
    try end(stranger, friend, seeded, told, typed, closed)
  }

  func testTunnel_severalTargetsAndUnixSockets() async throws {
    let test = try TestFolder()
    let service = try await Service(path: test.path + "/service") { socket in
      try await socket.write([1])
      socket.end()
    }
    let other = try await Service { socket in
      try await socket.write([2])
      socket.end()
    }
    let expose = try run(["expose", test.path + "/service", "127.0.0.1:\(other.port)"], until: "forward PORT")
    try expose.wait(for: "127.0.0.1:\(other.port)")
    let found = keys(expose)
    XCTAssertEqual(found.count, 2)
    XCTAssertNotEqual(found.first, found.last)
    let local = test.path + "/local"
    let forward = try run(["forward", local, found[0], "unix:\(local)2", found[1]], until: "\(local)2 ->")
    let first = try await TunnelTestCase.ask(try XCTUnwrap(LocalAddress(local)), [])
    let second = try await TunnelTestCase.ask(try XCTUnwrap(LocalAddress(local + "2")), [])
    XCTAssertEqual(first + second, [1, 2])
    // Another one in the same place: the first is alive.
    let taken = try runTool(["forward", local, found[0], "--bootstrap", try bootstrap()])
    XCTAssertEqual(taken.status, 1)
    XCTAssertTrue(taken.errors.contains("cannot listen on \(local)"), taken.errors)
    try end(forward, expose)
    XCTAssertEqual(test.names().filter { $0.hasPrefix("local") }, [], "sockets are removed")
    _ = service
  }

  func testTunnel_aServiceThatIsNotThere() async throws {
    let expose = try run(["expose", "1"], until: "forward PORT")
    let forward = try run(["forward", "0", try XCTUnwrap(keys(expose).first)], until: "->")
    do {
      let answer = try await TunnelTestCase.ask(try port(forward), [1])
      XCTFail("\(answer)")
    } catch { XCTAssertTrue(error is SocketFailure, "\(error)") }
    try expose.wait(for: "cannot connect to 127.0.0.1:1: Connection refused")
    try end(forward, expose)
  }

  func testTunnel_usage() throws {
    let key = String(repeating: "ab", count: 32)
    for arguments in [
      ["expose"], ["expose", "x"], ["expose", "70000"], ["expose", "host:"],
      ["expose", "--private", "--allow", key, "1"],
      ["forward"], ["forward", "8080"], ["forward", "8080", "abcd"], ["forward", "x", key],
      ["forward", "8080", "hs://x000" + key], ["forward", "1", key, "2"],
    ] {
      let result = try runTool(arguments)
      XCTAssertEqual(result.status, 64, "\(arguments): \(result.errors)")
    }
    XCTAssertEqual(LocalAddress("[::1]:80")?.description, "[::1]:80")
    XCTAssertEqual(LocalAddress("80")?.description, "127.0.0.1:80")
    XCTAssertNil(LocalAddress("/" + String(repeating: "n", count: 200)))
  }
}
