import Foundation
import HyperDHT
import HyperEncoding
import HyperProtomux
import HyperRuntime
import XCTest

/// Channels on encrypted connections over loopback: of two nodes of this implementation, and with JavaScript on either
/// side where `NODE_PATH` names a folder that has it.
final class ProtomuxConnectionTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet) -> HyperDHT.Options {
    HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
  }

  func testConversationOfTwoNodes() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let (a, b) = (try await HyperDHT(options(testnet)), try await HyperDHT(options(testnet)))
    let server = try await a.listen()
    let answering = Task {
      for await connection in server.connections {
        let mux = Protomux(connection)
        try ProtomuxConversation.answer(mux)
        return try await mux.closed()
      }
      return nil
    }
    let mux = Protomux(try await b.connect(to: server.publicKey))
    try await ProtomuxConversation.ask(mux)
    await mux.close()
    let reason = try await answering.value
    XCTAssertNil(reason)
    for node in [b, a] { await node.destroy() }
    await testnet.destroy()
  }

  /// A destroyed connection is an error on the other side, on every channel.
  func testAConnectionThatIsDestroyed() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let (a, b) = (try await HyperDHT(options(testnet)), try await HyperDHT(options(testnet)))
    let server = try await a.listen()
    let connection = try await b.connect(to: server.publicKey)
    let mux = Protomux(connection)
    let channel = try mux.createChannel(protocol: "x")
    try channel.open()
    var accepted: Protomux?
    for await connection in server.connections {
      accepted = Protomux(connection)
      break
    }
    let other = try XCTUnwrap(accepted).createChannel(protocol: "x")
    try other.open()
    try await other.opened()
    try await channel.opened()
    mux.destroy()
    let reason = try await other.closed()
    XCTAssertEqual(reason, .connection(.reset))
    let own = try await channel.closed()
    XCTAssertNil(own)
    for node in [b, a] { await node.destroy() }
    await testnet.destroy()
  }

  // MARK: JavaScript

  func testJavaScriptAsks() async throws {
    let testnet = try await javaScriptNet()
    let node = try await HyperDHT(options(testnet))
    let server = try await node.listen()
    let answering = Task {
      for await connection in server.connections {
        let mux = Protomux(connection)
        try ProtomuxConversation.answer(mux)
        return try await mux.closed()
      }
      return nil
    }
    let peer = try JavaScript(["ask", try XCTUnwrap(testnet.bootstrap.first), server.publicKey.hex])
    let line = await peer.next()
    XCTAssertEqual(line, #"{"event":"done"}"#)
    let reason = try await answering.value
    XCTAssertNil(reason)
    peer.stop()
    await node.destroy()
    await testnet.destroy()
  }

  func testJavaScriptAnswers() async throws {
    let testnet = try await javaScriptNet()
    let seed = String(repeating: "07", count: 32)
    let peer = try JavaScript(["answer", try XCTUnwrap(testnet.bootstrap.first), seed])
    let listening = await peer.next()
    XCTAssertTrue(listening?.contains("listening") ?? false, listening ?? "ended")
    let key = HyperDHT.keyPair(seed: try XCTUnwrap(Bytes32(hex: seed))).publicKey
    let node = try await HyperDHT(options(testnet))
    let mux = Protomux(try await node.connect(to: key))
    try await ProtomuxConversation.ask(mux)
    await mux.close()
    let closed = await peer.next()
    XCTAssertEqual(closed, #"{"event":"closed"}"#)
    peer.stop()
    await node.destroy()
    await testnet.destroy()
  }

  private func javaScriptNet() async throws -> HyperDHT.Testnet {
    guard ProcessInfo.processInfo.environment["NODE_PATH"] != nil else {
      throw XCTSkip("no JavaScript implementation: NODE_PATH is not set")
    }
    guard try JavaScript.hasPackages() else {
      throw XCTSkip("no JavaScript implementation: node with hyperdht and protomux is not in NODE_PATH")
    }
    return try await HyperDHT.Testnet(size: 4)
  }

  /// A JavaScript peer and the lines it prints.
  private final class JavaScript: Sendable {
    private let process: LoopBound<Process>
    private let lines: AsyncStream<String>

    init(_ arguments: [String]) throws {
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Interop/protomux.js").path
      let process = Process()
      let pipe = Pipe()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["node", script] + arguments
      process.standardOutput = pipe
      let (lines, continuation) = AsyncStream.makeStream(of: String.self)
      let buffer = Locked(Data())
      pipe.fileHandleForReading.readabilityHandler = { handle in
        let data = handle.availableData
        guard !data.isEmpty else {
          handle.readabilityHandler = nil
          return continuation.finish()
        }
        buffer.withLock { buffer in
          buffer.append(data)
          while let end = buffer.firstIndex(of: 10) {
            continuation.yield(String(decoding: buffer[buffer.startIndex..<end], as: UTF8.self))
            buffer = Data(buffer[buffer.index(after: end)...])
          }
        }
      }
      self.lines = lines
      self.process = LoopBound(process)
      try process.run()
    }

    static func hasPackages() throws -> Bool {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["node", "-e", "require('hyperdht');require('protomux')"]
      process.standardError = FileHandle.nullDevice
      try process.run()
      process.waitUntilExit()
      return process.terminationStatus == 0
    }

    func next() async -> String? { await lines.first { _ in true } }

    func stop() { process.value.terminate() }
  }
}
