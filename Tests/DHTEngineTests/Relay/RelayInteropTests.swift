import Foundation
import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperRuntime
import HyperSecretStream
import HyperUDX
import XCTest

@testable import HyperDHTEngine

/// Blind relays with the JavaScript implementation in every role, where `NODE_PATH` names a folder that has `hyperdht`
/// and `blind-relay`; skipped otherwise.
final class RelayInteropTests: XCTestCase {
  private enum Kind: String { case js, native }

  private struct Case {
    var relay: Kind
    var server: Kind
    var client: Kind
    /// The server names the relay, not the client.
    var byServer = false
    /// Both sides punch, so that the connection becomes direct.
    var punches = false
    /// The JavaScript side takes no part in it at first, so that the relay is first.
    var isLate = false
    /// Milliseconds that the client stays.
    var stay: UInt64 { isLate ? 6000 : 2000 }
    var punching: [String] { isLate ? ["late"] : punches ? ["punch"] : [] }
    var name: String {
      "relay \(relay), server \(server), client \(client), named by the \(byServer ? "server" : "client")"
        + (isLate ? ", punching late" : punches ? ", punching" : "")
    }
  }

  func testOverTheirRelayAndOurs() throws {
    try XCTSkipIf(
      ProcessInfo.processInfo.environment["NODE_PATH"] == nil, "no JavaScript implementation: NODE_PATH is not set")
    var cases: [Case] = []
    for relay in [Kind.js, .native] {
      for (server, client) in [(Kind.native, Kind.native), (.js, .js), (.js, .native), (.native, .js)] {
        for byServer in [false, true] {
          cases.append(Case(relay: relay, server: server, client: client, byServer: byServer))
        }
        cases.append(Case(relay: relay, server: server, client: client, punches: true))
        if server == .js || client == .js {
          cases.append(Case(relay: relay, server: server, client: client, punches: true, isLate: true))
        }
      }
    }
    for item in cases where item.relay == .js || item.server == .js || item.client == .js {
      let run = try Run(item)
      run.go()
      XCTAssertGreaterThan(run.echoes, 2, "\(item.name): \(run.log)")
      XCTAssertEqual(run.clientErrors, [], "\(item.name): \(run.log)")
      XCTAssertTrue(run.wasPaired || item.punches, "\(item.name): \(run.log)")
      if item.isLate { XCTAssertTrue(run.hasMoved, "\(item.name): \(run.log)") }
      XCTAssertFalse(run.hasMoved && !item.punches, "\(item.name): \(run.log)")
      XCTAssertFalse(run.isStillRelayed && item.isLate, "\(item.name): \(run.log)")
      XCTAssertEqual(run.sessionsLeft, 0, "control connections are given back, \(item.name)")
      print(
        "relay interop: \(item.name): \(run.echoes) echoes, paired \(run.wasPaired), "
          + "moved \(run.hasMoved), control connections left \(run.sessionsLeft.map(String.init) ?? "?")")
    }
  }

  /// One case on a loop of its own.
  private final class Run: @unchecked Sendable {
    let item: Case
    let loop: UVEventLoop
    let testnet: Testnet
    let environments: [UVEnvironment]
    var scripts: [Script] = []
    var nodes: [DHTNode] = []
    var service: RelayService?
    var server: DHTServer?
    var stream: EncryptedStream?
    var log: [String] = []
    var echoes = 0
    var clientErrors: [String] = []
    var wasPaired = false
    /// The client's stream has changed its path.
    var hasMoved = false
    var isStillRelayed = false
    private var first: Endpoint?
    var sessionsLeft: Int?
    private var relayKey = Bytes32()
    private var isOver = false

    init(_ item: Case) throws {
      self.item = item
      loop = try UVEventLoop()
      let loop = loop
      let made = try (0..<8).map { _ in try UVEnvironment(loop: loop) }
      testnet = Testnet(environments: Array(made.prefix(5)), size: 5)
      environments = Array(made.suffix(3))
    }

    func go() {
      let limit = loop.schedule(after: 60_000) { [self] in
        log.append("not finished in time")
        finish()
      }
      testnet.start { [self] _ in startRelay() }
      loop.run()
      limit.cancel()
    }

    private var entry: String { testnet.bootstrap.first?.description ?? "" }

    private func node(_ index: Int, firewalled: Bool) -> DHTNode {
      var options = DHTOptions(bootstrap: nil, host: .loopback, port: 0)
      options.ephemeral = true
      options.firewalled = firewalled
      options.quickFirewall = false
      let node = testnet.createNode(environment: environments[index], options: options)!
      node.start()
      nodes.append(node)
      return node
    }

    private func script(_ arguments: [String], onEvent: @escaping ([String: Any]) -> Void) {
      let loop = loop
      let handler = Handler(onEvent)
      do {
        scripts.append(
          try Script(arguments, stay: item.stay) { line in
            _ = loop.post { [self] in
              log.append(line)
              let object = try? JSONSerialization.jsonObject(with: Data(line.utf8))
              if let object = object as? [String: Any] { handler.body(object) }
            }
          })
      } catch {
        log.append("\(error)")
        finish()
      }
    }

    private func key(_ event: [String: Any]) -> Bytes32 {
      (event["publicKey"] as? String).flatMap(Bytes32.init(hex:)) ?? Bytes32()
    }

    private func startRelay() {
      switch item.relay {
      case .js:
        script(["relay", entry, String(repeating: "51", count: 32)]) { [self] event in
          switch event["event"] as? String {
          case "ready":
            relayKey = key(event)
            startServer()
          case "pair": wasPaired = true
          case "session-closed": sessionsLeft = event["left"] as? Int
          default: break
          }
        }
      case .native:
        let service = RelayService(node: node(0, firewalled: false))
        self.service = service
        service.listen { [self] _ in
          relayKey = service.server.publicKey ?? Bytes32()
          startServer()
        }
      }
    }

    private func startServer() {
      let through = item.byServer ? relayKey.hex : "-"
      switch item.server {
      case .js:
        script(
          ["listen", entry, String(repeating: "52", count: 32), through] + item.punching
        ) { [self] event in if event["event"] as? String == "ready" { startClient(key(event)) } }
      case .native:
        var options = ServerOptions()
        options.shareLocalAddress = false
        if item.byServer { options.relayThrough = .keys([relayKey]) }
        if !item.punches { options.holepunch = { _, _, _, _ in false } }
        let server = node(1, firewalled: true).makeServer(options: options)
        self.server = server
        server.onConnection = { stream in
          stream.onMessage = { [unowned stream] in stream.write(Array($0)) }
          stream.onEnd = { [unowned stream] in stream.end() }
        }
        server.listen { [self] _ in startClient(server.publicKey ?? Bytes32()) }
      }
    }

    private func startClient(_ serverKey: Bytes32) {
      switch item.client {
      case .js:
        var ports: [Int] = []
        script(
          ["connect", entry, serverKey.hex, item.byServer ? "-" : relayKey.hex] + item.punching
        ) { [self] event in
          switch event["event"] as? String {
          case "echo":
            echoes += 1
            if let port = event["remotePort"] as? Int { ports.append(port) }
          case "error": clientErrors.append(event["code"] as? String ?? "?")
          case "close":
            hasMoved = Set(ports).count > 1
            wind()
          default: break
          }
        }
      case .native:
        var options = ConnectOptions()
        options.localConnection = false
        if !item.byServer { options.relayThrough = .keys([relayKey]) }
        if !item.punches { options.holepunch = { _, _, _, _ in false } }
        let client = node(2, firewalled: true)
        let stream = client.connect(to: serverKey, options: options)
        self.stream = stream
        stream.onOpen = { [self] in first = stream.transport?.remote }
        stream.onMessage = { [self] _ in echoes += 1 }
        stream.onClose = { [self] error in
          if let error { clientErrors.append(error.code) }
          wind()
        }
        for turn in UInt64(0)..<(item.stay / 200) {
          _ = loop.schedule(after: turn * 200) { stream.write(Array("over the relay \(turn)".utf8)) }
        }
        _ = loop.schedule(after: item.stay) { [self] in
          hasMoved = first != nil && stream.transport?.remote != first
          isStillRelayed = client.relays.pathCount > 0
          stream.end()
        }
      }
    }

    /// Some time for control connections to close.
    private func wind() {
      if let service { wasPaired = service.relay.statistics.pairingsMatched > 0 }
      _ = loop.schedule(after: 3500) { [self] in
        if let service { sessionsLeft = service.relay.sessionCount }
        finish()
      }
    }

    private func finish() {
      guard !isOver else { return }
      isOver = true
      for script in scripts { script.stop() }
      service?.relay.close()
      testnet.destroy { [self] in loop.beginShutdown(nil) }
    }
  }

  private final class Handler: @unchecked Sendable {
    let body: ([String: Any]) -> Void
    init(_ body: @escaping ([String: Any]) -> Void) { self.body = body }
  }

  /// A JavaScript peer and the lines that it prints.
  private final class Script: @unchecked Sendable {
    private let process = Process()
    private let pipe = Pipe()
    private var buffer = Data()

    init(_ arguments: [String], stay: UInt64, onLine: @escaping @Sendable (String) -> Void) throws {
      let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Interop")
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["node", folder.appendingPathComponent("relay.js").path] + arguments
      var variables = ProcessInfo.processInfo.environment
      variables["STAY"] = String(stay)
      process.environment = variables
      process.standardOutput = pipe
      pipe.fileHandleForReading.readabilityHandler = { [self] handle in
        buffer.append(handle.availableData)
        while let end = buffer.firstIndex(of: 10) {
          let line = String(decoding: buffer[buffer.startIndex..<end], as: UTF8.self)
          buffer = Data(buffer[buffer.index(after: end)...])
          onLine(line)
        }
      }
      try process.run()
    }

    func stop() {
      pipe.fileHandleForReading.readabilityHandler = nil
      process.terminate()
      process.waitUntilExit()
    }
  }
}
