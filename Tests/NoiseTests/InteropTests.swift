import Foundation
import HyperCrypto
import HyperEncoding
import HyperNoise
import HyperRuntime
import HyperUDX
import XCTest

/// Secret streams with `@hyperswarm/secret-stream` on the other side (Tests/Interop/secret-stream.js).
final class SecretStreamInteropTests: XCTestCase {
  private let theirs = KeyPair(seed: Bytes32([UInt8](repeating: 9, count: 32))!)

  func testOverTCP() async throws {
    try JavaScript.require()
    for pattern in [SecretStream.Pattern.xx, .ik] {
      for isInitiator in [true, false] {
        let listener = try System.listen()
        let mine = KeyPair.random()
        let peer = try JavaScript(["tcp", "\(listener.port)"] + role(isInitiator, pattern, mine))
        let descriptor = try await System.accept(listener.descriptor)
        close(listener.descriptor)
        let stream = try SecretStream(isInitiator: isInitiator, reading: descriptor, options(pattern, mine))
        try await converse(stream, peer)
      }
    }
  }

  func testOverUDXWithDatagrams() async throws {
    try JavaScript.require()
    for isInitiator in [true, false] {
      let transport = try await UDXTransport()
      let port = try await transport.bind(host: .loopback)
      let mine = KeyPair.random()
      let peer = try JavaScript(["udx", "\(port.address.port)"] + role(isInitiator, .xx, mine))
      let bound = await peer.next("bound")
      let remote = try XCTUnwrap(bound?["port"] as? Int)
      let connection = try await port.connect(
        localID: 1, remoteID: 2, to: Endpoint(host: .loopback, port: UInt16(remote)))
      let stream = try SecretStream(isInitiator: isInitiator, over: connection, options(.xx, mine))
      try await stream.opened()
      let echo = Task { await stream.nextDatagram() }
      let sending = Task {
        while !Task.isCancelled {
          await stream.sendDatagram(Array("unordered".utf8))
          try? await Task.sleep(for: .milliseconds(50))
        }
      }
      let datagram = await echo.value
      sending.cancel()
      XCTAssertEqual(text(datagram), "unordered")
      try await converse(stream, peer)
      await transport.close()
    }
  }

  private func options(_ pattern: SecretStream.Pattern, _ mine: KeyPair) -> SecretStream.Options {
    SecretStream.Options(pattern: pattern, keyPair: mine, remotePublicKey: theirs.publicKey)
  }

  private func role(_ isInitiator: Bool, _ pattern: SecretStream.Pattern, _ mine: KeyPair) -> [String] {
    [isInitiator ? "responder" : "initiator", pattern == .ik ? "IK" : "XX", mine.publicKey.hex]
  }

  private func converse(_ stream: SecretStream, _ peer: JavaScript) async throws {
    let greeting = try await stream.read()
    XCTAssertEqual(text(greeting), "greetings")
    let open = await peer.next("open")
    XCTAssertEqual(open?["key"] as? String, stream.publicKey.hex)
    XCTAssertEqual(open?["hash"] as? String, stream.handshakeHash?.hex)
    XCTAssertEqual(stream.remotePublicKey, theirs.publicKey)
    // An empty message at the very end is lost inside JavaScript's streams.
    let sizes = (0..<60).map { $0 * 5000 } + [1, 65_536]
    let writing = Task {
      for size in sizes { try await stream.write([UInt8](repeating: UInt8(size & 255), count: size)) }
      stream.end()
    }
    for size in sizes {
      let message = try await stream.read()
      XCTAssertEqual(message, [UInt8](repeating: UInt8(size & 255), count: size))
    }
    let end = try await stream.read()
    XCTAssertNil(end)
    try await writing.value
    let reason = try await stream.waitUntilClosed()
    XCTAssertNil(reason)
    let statistics = await stream.statistics()
    let closed = await peer.next("closed")
    // Both sides count alike: with prefixes what is written, without what is read.
    XCTAssertEqual(closed?["written"] as? Int, Int(statistics.rawBytesRead + 3 * statistics.messagesReceived))
    XCTAssertEqual(closed?["read"] as? Int, Int(statistics.rawBytesWritten - 3 * statistics.messagesSent))
    peer.stop()
  }

  /// A JavaScript peer and the lines it prints.
  private final class JavaScript: Sendable {
    private let process: LoopBound<Process>
    private let lines: AsyncStream<String>

    static func require() throws {
      guard ProcessInfo.processInfo.environment["NODE_PATH"] != nil else {
        throw XCTSkip("no JavaScript implementation: NODE_PATH is not set")
      }
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["node", "-e", "require('@hyperswarm/secret-stream');require('udx-native')"]
      process.standardError = FileHandle.nullDevice
      try process.run()
      process.waitUntilExit()
      guard process.terminationStatus == 0 else {
        throw XCTSkip("no JavaScript implementation: @hyperswarm/secret-stream is not in NODE_PATH")
      }
    }

    init(_ arguments: [String]) throws {
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Interop/secret-stream.js").path
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

    /// The next line, if it is of this event.
    func next(_ event: String, file: StaticString = #filePath, line: UInt = #line) async -> [String: Any]? {
      let text = await lines.first { _ in true } ?? "{}"
      let object = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
      XCTAssertEqual(object?["event"] as? String, event, text, file: file, line: line)
      return object
    }

    func stop() { process.value.terminate() }
  }
}
