import Foundation
import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperRuntime
import HyperSecretStream
import HyperUDX
import XCTest

@testable import HyperDHTEngine

/// Against the JavaScript implementation, where `NODE_PATH` names a folder that has it; skipped otherwise.
final class InteropTests: XCTestCase {
  /// A JavaScript peer and the lines it prints, delivered on the loop.
  private final class JavaScriptPeer: @unchecked Sendable {
    private let process = Process()
    private let pipe = Pipe()
    private var buffer = Data()

    init(_ script: String, _ arguments: [String], loop: UVEventLoop, onLine: @escaping @Sendable (String) -> Void)
      throws
    {
      let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Interop")
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["node", folder.appendingPathComponent(script).path] + arguments
      process.standardOutput = pipe
      pipe.fileHandleForReading.readabilityHandler = { [self] handle in
        buffer.append(handle.availableData)
        while let end = buffer.firstIndex(of: 10) {
          let line = String(decoding: buffer[buffer.startIndex..<end], as: UTF8.self)
          buffer = Data(buffer[buffer.index(after: end)...])
          _ = loop.post { onLine(line) }
        }
      }
      try process.run()
    }

    func stop() {
      pipe.fileHandleForReading.readabilityHandler = nil
      process.terminate()
    }
  }

  private struct World {
    let loop: UVEventLoop
    let testnet: Testnet
    let spare: [UVEnvironment]

    func run(seconds: UInt64) {
      let guardTimer = loop.schedule(after: seconds * 1000) {
        XCTFail("not finished in time")
        loop.beginShutdown(nil)
      }
      loop.run()
      guardTimer.cancel()
    }

    func finish() { testnet.destroy { loop.beginShutdown(nil) } }

    var entry: String { testnet.bootstrap.first?.description ?? "" }

    /// A node that believes to be behind a NAT.
    func firewalledNode(host: IPv4Address = .any) -> DHTNode {
      var options = DHTOptions(bootstrap: nil, host: host, port: 0)
      options.ephemeral = true
      options.quickFirewall = false
      let node = testnet.createNode(environment: spare[0], options: options)!
      node.start()
      return node
    }
  }

  private func world() throws -> World {
    guard ProcessInfo.processInfo.environment["NODE_PATH"] != nil else {
      throw XCTSkip("no JavaScript implementation: NODE_PATH is not set")
    }
    let loop = try UVEventLoop()
    let environments = try (0..<5).map { _ in try UVEnvironment(loop: loop) }
    return World(
      loop: loop, testnet: Testnet(environments: environments, size: 5), spare: [try UVEnvironment(loop: loop)])
  }

  private final class Box<Value>: @unchecked Sendable {
    var value: Value
    init(_ value: Value) { self.value = value }
  }

  func testPunchingToAJavaScriptServer() throws {
    let world = try world()
    let peer = Box<JavaScriptPeer?>(nil)
    let lines = Box<[String]>([])
    let echo = Box<[UInt8]>([])
    let node = Box<DHTNode?>(nil)
    let start: (String) -> Void = { key in
      let client = world.firewalledNode()
      node.value = client
      var options = ConnectOptions()
      options.localConnection = false
      let stream = client.connect(to: Bytes32(hex: key) ?? Bytes32(), options: options)
      stream.write(Array("hello".utf8))
      stream.onMessage = { [unowned stream] in
        echo.value = Array($0)
        stream.end()
      }
      stream.onClose = { error in
        XCTAssertNil(error)
        peer.value?.stop()
        world.finish()
      }
    }
    let begin = Box(start)
    world.testnet.start { _ in
      peer.value = try? JavaScriptPeer(
        "firewalled.js", ["listen", world.entry, String(repeating: "44", count: 32)], loop: world.loop
      ) { line in
        lines.value.append(line)
        guard line.contains("ready"), let range = line.range(of: "\"publicKey\":\"") else { return }
        begin.value(String(line[range.upperBound...].prefix(64)))
      }
    }
    world.run(seconds: 60)
    XCTAssertEqual(echo.value, Array("hello".utf8), "\(lines.value)")
    XCTAssertEqual(node.value?.statistics.punches.consistent, 1)
    print("interop: punched to a JavaScript server")
  }

  /// Both believe to be behind a NAT and are on one host: the JavaScript server has to repeat its handshake answer
  /// there.
  func testLocalPathToAJavaScriptServer() throws {
    let world = try world()
    let peer = Box<JavaScriptPeer?>(nil)
    let lines = Box<[String]>([])
    let echo = Box<[UInt8]>([])
    let port = Box<UInt16?>(nil)
    let node = Box<DHTNode?>(nil)
    let begin = Box<(String) -> Void>({ key in
      let client = world.firewalledNode(host: .loopback)
      node.value = client
      let stream = client.connect(to: Bytes32(hex: key) ?? Bytes32())
      stream.write(Array("hello".utf8))
      stream.onMessage = { [unowned stream] in
        echo.value = Array($0)
        port.value = stream.transport?.socket?.localEndpoint?.port
        stream.end()
      }
      stream.onClose = { error in
        XCTAssertNil(error)
        XCTAssertEqual(port.value, client.rpc.serverSocket?.localEndpoint?.port, "the server socket's path won")
        peer.value?.stop()
        world.finish()
      }
    })
    world.testnet.start { _ in
      peer.value = try? JavaScriptPeer(
        "firewalled.js", ["listen-local", world.entry, String(repeating: "55", count: 32)], loop: world.loop
      ) { line in
        lines.value.append(line)
        guard line.contains("ready"), let range = line.range(of: "\"publicKey\":\"") else { return }
        begin.value(String(line[range.upperBound...].prefix(64)))
      }
    }
    world.run(seconds: 60)
    XCTAssertEqual(echo.value, Array("hello".utf8), "\(lines.value)")
    print("interop: local path to a JavaScript server")
  }

  /// hyperdht.md 14.3: both sides have set the option, and the second and third connection use the hole of the first.
  func testDHT_69_aJavaScriptClientComesAgainThroughTheSameSocket() throws {
    let world = try world()
    let peer = Box<JavaScriptPeer?>(nil)
    let lines = Box<[String]>([])
    let ports = Box<[UInt16?]>([])
    let finish = Box<() -> Void>({ world.finish() })
    world.testnet.start { _ in
      var options = ServerOptions()
      options.shareLocalAddress = false
      options.reusableSocket = true
      let server = world.firewalledNode().makeServer(options: options)
      server.onConnection = { stream in
        ports.value.append(stream.transport?.socket?.localEndpoint?.port)
        stream.onMessage = { [unowned stream] in stream.write(Array($0)) }
        stream.onEnd = { [unowned stream] in stream.end() }
      }
      server.listen { _ in
        peer.value = try? JavaScriptPeer(
          "firewalled.js", ["reconnect", world.entry, server.publicKey?.hex ?? ""], loop: world.loop
        ) { line in
          lines.value.append(line)
          guard line.contains("\"close\"") || line.contains("fatal") else { return }
          peer.value?.stop()
          finish.value()
        }
      }
    }
    world.run(seconds: 60)
    let echoes = lines.value.filter { $0.contains("through the hole") }
    XCTAssertEqual(echoes.count, 3, "\(lines.value)")
    XCTAssertEqual(Set(echoes).count, 1, "the same port of the client: \(lines.value)")
    XCTAssertEqual(ports.value.count, 3)
    XCTAssertEqual(Set(ports.value).count, 1, "the same port of ours")
    print("interop: a JavaScript client came again through the same socket")
  }

  func testPunchingFromAJavaScriptClient() throws {
    let world = try world()
    let peer = Box<JavaScriptPeer?>(nil)
    let lines = Box<[String]>([])
    let node = Box<DHTNode?>(nil)
    let finish = Box<() -> Void>({ world.finish() })
    let isPunched = Box<Bool?>(nil)
    world.testnet.start { _ in
      let serverNode = world.firewalledNode()
      node.value = serverNode
      var options = ServerOptions()
      options.shareLocalAddress = false
      let server = serverNode.makeServer(options: options)
      server.onConnection = { stream in
        let port = stream.transport?.socket?.localEndpoint?.port
        isPunched.value =
          port != serverNode.rpc.serverSocket?.localEndpoint?.port
          && port != serverNode.rpc.clientSocket?.localEndpoint?.port
        stream.onMessage = { [unowned stream] in stream.write(Array($0)) }
        stream.onEnd = { [unowned stream] in stream.end() }
      }
      server.listen { _ in
        peer.value = try? JavaScriptPeer(
          "firewalled.js", ["connect", world.entry, server.publicKey?.hex ?? ""], loop: world.loop
        ) { line in
          lines.value.append(line)
          guard line.contains("close") || line.contains("fatal") else { return }
          peer.value?.stop()
          finish.value()
        }
      }
    }
    world.run(seconds: 60)
    XCTAssertTrue(lines.value.contains { $0.contains("through the hole") }, "\(lines.value)")
    // A JavaScript client takes our answer to its first probe for success, before its punch round: nothing is counted,
    // but the stream runs on a socket of its own.
    XCTAssertEqual(isPunched.value, true)
    print("interop: a JavaScript client punched to us")
  }
}
