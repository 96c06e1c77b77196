import Foundation
import HyperDHT
import HyperEncoding
import HyperRuntime
import Hyperswarm
import XCTest

/// The JavaScript implementation on the other side of the public interface, where `NODE_PATH` names a folder that has
/// `hyperswarm` and `hyperdht`; skipped otherwise.
final class FacadeInteropTests: XCTestCase {
  private struct Failure: Error {
    var text: String
  }

  /// `Tests/Interop/commands.js`.
  private final class Script: @unchecked Sendable {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private let lines: EventQueue<[UInt8], Never>
    private let unread = Locked<[UInt8]>([])

    init(_ arguments: [String]) throws {
      let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      lines = EventQueue(capacity: 1000)
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["node", folder.appendingPathComponent("Interop/commands.js").path] + arguments
      process.standardInput = input
      process.standardOutput = output
      output.fileHandleForReading.readabilityHandler = { [lines, unread] handle in
        let bytes = handle.availableData
        guard !bytes.isEmpty else { return lines.finish() }
        let complete = unread.withLock { unread in
          unread += bytes
          var parts = unread.split(separator: 10, omittingEmptySubsequences: false).map { Array($0) }
          unread = parts.removeLast()
          return parts
        }
        for line in complete { lines.push(line) }
      }
      try process.run()
    }

    func say(_ line: String) { input.fileHandleForWriting.write(Data((line + "\n").utf8)) }

    /// The next object with this event; those before it are dropped.
    func next(_ event: String) async throws -> [String: Any] {
      while let line = await lines.next() {
        let object = try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any] ?? [:]
        if object["event"] as? String == event { return object }
        if object["event"] as? String == "failed" { throw Failure(text: "\(object)") }
      }
      throw Failure(text: "the script has ended before \(event)")
    }

    func end() {
      output.fileHandleForReading.readabilityHandler = nil
      input.fileHandleForWriting.closeFile()
      process.terminate()
      process.waitUntilExit()
    }
  }

  private func node(_ testnet: HyperDHT.Testnet) async throws -> HyperDHT {
    var options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    options.isEphemeral = false
    options.isFirewalled = false
    return try await HyperDHT(options)
  }

  func testPaddedTopicsAndCommands() async throws {
    try XCTSkipIf(
      ProcessInfo.processInfo.environment["NODE_PATH"] == nil, "no JavaScript implementation: NODE_PATH is not set")
    let testnet = try await HyperDHT.Testnet(size: 4)
    let server = try await node(testnet)
    let asked = Locked<[[UInt8]?]>([])
    try await server.onRequest(77) { request in
      if request.token != nil { asked.withLock { $0.append(request.value) } }
      request.reply(request.value?.reversed())
    }
    while await server.status().isEphemeral { try await Task.sleep(for: .milliseconds(5)) }
    let address = await server.localAddress()
    let own = try XCTUnwrap(address)

    let text = "a topic, Größe 5"
    let script = try Script([testnet.bootstrap[0], text])
    let ready = try await script.next("ready")
    XCTAssertEqual(ready["topic"] as? String, Bytes32.padded(text).hex)
    let port = try XCTUnwrap(ready["port"] as? Int)
    let there = Endpoint(host: .loopback, port: UInt16(port))

    // Our requests to it, and its requests to us.
    let reply = try await server.request(.init(77, value: [1, 2, 3]), to: there)
    XCTAssertEqual(reply.value, [3, 2, 1])
    XCTAssertEqual(reply.error, 0)
    let refused = try await server.request(.init(78), to: there)
    XCTAssertEqual(refused.error, 16)
    let unknown = try await server.request(.init(79), to: there)
    XCTAssertEqual(unknown.error, 1)
    script.say("request \(own.port)")
    let answer = try await script.next("reply")
    XCTAssertEqual(answer["value"] as? String, "cba")
    XCTAssertEqual(answer["error"] as? Int, 0)
    XCTAssertEqual(answer["token"] as? Bool, true)
    let none = try await script.next("unknown")
    XCTAssertEqual(none["error"] as? Int, 1)

    // Its query commits to the node that serves the command.
    script.say("query")
    let queried = try await script.next("queried")
    XCTAssertGreaterThan(queried["successes"] as? Int ?? 0, 0)
    XCTAssertEqual(asked.withLock { $0 }, [Array("xyz".utf8)])

    // Both meet under the padded text.
    let key = try XCTUnwrap(Bytes32(hex: ready["key"] as? String ?? ""))
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
    options.dhtOptions.host = .loopback
    try await withHyperswarm(options) { swarm in
      try await swarm.join(.padded(text))
      let accepted = try await swarm.accept()
      let connection = try XCTUnwrap(accepted)
      XCTAssertEqual(connection.remotePublicKey, key)
      try await connection.write("from Swift")
      let greeting = try await connection.read()
      XCTAssertEqual(greeting.map { String(decoding: $0, as: UTF8.self) }, "from JavaScript")
      let heard = try await script.next("data")
      XCTAssertEqual(heard["text"] as? String, "from Swift")
    }
    script.end()
    await server.destroy()
    await testnet.destroy()
  }
}
