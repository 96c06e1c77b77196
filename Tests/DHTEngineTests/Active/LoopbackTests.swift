import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperRuntime
import HyperSecretStream
import HyperUDX
import XCTest

@testable import HyperDHTEngine

/// The whole stack on real sockets: 127.0.0.1, a loop of the test's own, one environment per node.
final class LoopbackTests: XCTestCase {
  private final class World {
    let loop: UVEventLoop
    var environments: [UVEnvironment] = []
    let testnet: Testnet

    init(_ size: Int) throws {
      loop = try UVEventLoop()
      for _ in 0..<size { environments.append(try UVEnvironment(loop: loop)) }
      testnet = Testnet(environments: environments, size: size)
    }

    func environment() -> UVEnvironment {
      let next = try! UVEnvironment(loop: loop)
      environments.append(next)
      return next
    }

    /// Runs the loop until `finish` or a deadline.
    func run(seconds: UInt64 = 60, file: StaticString = #filePath, line: UInt = #line) {
      let guardTimer = loop.schedule(after: seconds * 1000) { [self] in
        XCTFail("not finished in time", file: file, line: line)
        finish()
      }
      loop.run()
      guardTimer.cancel()
    }

    func makeNode(_ firewalled: Bool) -> DHTNode {
      var options = DHTOptions(bootstrap: nil, host: .loopback, port: 0)
      options.firewalled = firewalled
      options.quickFirewall = false
      options.ephemeral = true
      let node = testnet.createNode(environment: environment(), options: options)!
      node.start()
      return node
    }

    func finish() { loop.beginShutdown(nil) }
  }

  private func exchange(serverFirewalled: Bool, clientFirewalled: Bool, megabytes: Int) throws {
    let world = try World(5)
    var received = 0
    var echoed: [[UInt8]] = []
    var report = ""
    let chunk = [UInt8](repeating: 0x5a, count: 64 * 1024)
    let total = megabytes * 1024 * 1024
    var closes = 0
    world.testnet.start { result in
      guard isSuccess(result) else {
        XCTFail("\(result)")
        return world.finish()
      }
      let serverNode = world.makeNode(serverFirewalled)
      let clientNode = world.makeNode(clientFirewalled)
      let server = serverNode.makeServer()
      server.onConnection = { stream in
        stream.onMessage = { [unowned stream] bytes in
          received += bytes.count
          if received == total { stream.write(Array("got it".utf8)) }
        }
        stream.onEnd = { [unowned stream] in stream.end() }
        stream.onClose = { error in
          XCTAssertNil(error)
          closes += 1
        }
      }
      server.listen { result in
        XCTAssertTrue(isSuccess(result))
        let started = world.loop.now
        let stream = clientNode.connect(to: server.publicKey ?? Bytes32())
        var sent = 0
        var opened: UInt64 = 0
        let pump = { [unowned stream] in
          while sent < total {
            sent += chunk.count
            if !stream.write(chunk) { return }
          }
        }
        stream.onDrain = pump
        stream.onOpen = {
          opened = world.loop.now
          pump()
        }
        stream.onMessage = { [unowned stream] bytes in
          echoed.append(Array(bytes))
          let elapsed = Double(world.loop.now - opened) / 1_000_000
          report = "connect \(Double(opened - started) / 1000) ms, \(megabytes) MiB in \(elapsed) s"
          stream.end()
        }
        stream.onClose = { error in
          XCTAssertNil(error)
          closes += 1
          world.testnet.destroy { world.finish() }
        }
      }
    }
    world.run()
    XCTAssertEqual(received, total)
    XCTAssertEqual(echoed, [Array("got it".utf8)])
    XCTAssertEqual(closes, 2)
    print("loopback, server firewalled \(serverFirewalled), client firewalled \(clientFirewalled): \(report)")
  }

  func testOpenServer() throws { try exchange(serverFirewalled: false, clientFirewalled: true, megabytes: 4) }
  func testOpenClient() throws { try exchange(serverFirewalled: true, clientFirewalled: false, megabytes: 4) }
  func testPunchedOrLocal() throws { try exchange(serverFirewalled: true, clientFirewalled: true, megabytes: 4) }
  func testBothOpen() throws { try exchange(serverFirewalled: false, clientFirewalled: false, megabytes: 4) }

  /// The server ends its half at once and goes on reading.
  func testDHT_34_halfOpen() throws {
    let world = try World(4)
    var received = 0
    var serverClose: EncryptedStreamError??
    var clientClose: EncryptedStreamError??
    let total = 500_000
    func done() {
      if serverClose != nil, clientClose != nil { world.testnet.destroy { world.finish() } }
    }
    world.testnet.start { _ in
      let client = world.testnet.createNode(environment: world.environment())!
      let server = world.testnet.createNode(environment: world.environment())!.makeServer()
      server.onConnection = { stream in
        stream.end()
        stream.onMessage = { received += $0.count }
        stream.onClose = {
          serverClose = .some($0)
          done()
        }
      }
      server.listen { _ in
        let stream = client.connect(to: server.publicKey ?? Bytes32())
        var sent = 0
        func pump() {
          while sent < total {
            let count = min(65_536, total - sent)
            sent += count
            if !stream.write([UInt8](repeating: 7, count: count)) { return }
          }
          stream.end()
        }
        stream.onDrain = pump
        stream.onClose = {
          clientClose = .some($0)
          done()
        }
        pump()
      }
    }
    world.run(seconds: 30)
    XCTAssertEqual(received, total)
    XCTAssertEqual(serverClose, .some(nil))
    XCTAssertEqual(clientClose, .some(nil))
  }

  /// 80 MiB echoed in 4 KiB writes with 10 in flight.
  func testDHT_33_eightyMebibytesEchoed() throws {
    let world = try World(4)
    let total = 20_480
    var received = 0
    var mismatches = 0
    world.testnet.start { _ in
      let client = world.testnet.createNode(environment: world.environment())!
      let server = world.testnet.createNode(environment: world.environment())!.makeServer()
      server.onConnection = { stream in stream.onMessage = { [unowned stream] in stream.write($0) } }
      server.listen { _ in
        let stream = client.connect(to: server.publicKey ?? Bytes32())
        var sent = 0
        func message(_ index: Int) -> [UInt8] { [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: 4096) }
        func send() {
          guard sent < total else { return }
          stream.write(message(sent))
          sent += 1
        }
        stream.onMessage = { bytes in
          if bytes.count != 4096 || bytes.first != UInt8(truncatingIfNeeded: received) { mismatches += 1 }
          received += 1
          send()
          if received == total { world.testnet.destroy { world.finish() } }
        }
        for _ in 0..<10 { send() }
      }
    }
    world.run(seconds: 120)
    XCTAssertEqual(received, total)
    XCTAssertEqual(mismatches, 0)
  }

  func testUnknownKeyAndRefusal() throws {
    let world = try World(4)
    var codes: [String] = []
    world.testnet.start { result in
      XCTAssertTrue(isSuccess(result))
      let client = world.testnet.createNode(environment: world.environment())!
      var options = ServerOptions()
      options.firewall = { _, _, _, verdict in verdict(.reject) }
      let server = world.testnet.nodes[1].makeServer(options: options)
      server.listen { result in
        XCTAssertTrue(isSuccess(result))
        let unknown = client.connect(to: KeyPair.random().publicKey)
        unknown.onClose = { error in
          codes.append(error?.code ?? "none")
          var connect = ConnectOptions()
          connect.deadline = 500
          let refused = client.connect(to: server.publicKey ?? Bytes32(), options: connect)
          refused.onClose = { error in
            codes.append(error?.code ?? "none")
            world.testnet.destroy { world.finish() }
          }
        }
      }
    }
    world.run(seconds: 30)
    XCTAssertEqual(codes, ["PEER_NOT_FOUND", "CONNECT_TIMEOUT"])
  }
}
