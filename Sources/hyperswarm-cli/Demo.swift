import ArgumentParser
import Foundation
import HyperDHT
import Hyperswarm

struct Demo: Command {
  static let configuration = CommandConfiguration(
    abstract: "Send a file between two swarms over a private DHT in this process.",
    discussion: """
      Starts DHT nodes on 127.0.0.1, one swarm that announces a random topic, and one that looks it up; they find each \
      other through the DHT, connect by the announced key, and move a file through the encrypted connection. The far \
      side checks its BLAKE2b hash. Real sockets, real encryption; nothing leaves this machine.
      """)

  @Option(help: "DHT nodes, at least 2.")
  var nodes = 5
  @Option(help: ArgumentHelp("Size of the generated file; 128 if not given.", valueName: "MiB"))
  var size: Int?
  @Option(help: ArgumentHelp("Send this file instead of a generated one.", valueName: "path"))
  var file: String?
  @Option(help: ArgumentHelp("Write the sender's transport events to this file, in qlog form.", valueName: "path"))
  var qlog: String?
  @Flag(help: "Print one JSON object per line.")
  var json = false

  /// Mebibytes.
  private static let usualSize = 128

  func validate() throws {
    guard (2...1_000).contains(nodes) else { throw ValidationError("--nodes is 2 to 1000") }
    if file != nil, size != nil { throw ValidationError("--file and --size exclude each other") }
    guard (1...1_048_576).contains(size ?? Demo.usualSize) else { throw ValidationError("--size is 1 to 1048576 MiB") }
  }

  func execute() async throws {
    Console.isJSON = json
    let folder = try Demo.makeFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let interrupt = Interrupt()
    let work = Task { try await show(in: folder) }
    // What it has open ends with the process; the folder does not.
    let watching = Task {
      guard let number = await interrupt.wait() else { return }
      // A file may be made in the folder while it is being emptied.
      while FileManager.default.fileExists(atPath: folder.path) { try? FileManager.default.removeItem(at: folder) }
      Foundation.exit(128 + number)
    }
    defer { watching.cancel() }
    try await work.value
  }

  private func show(in folder: URL) async throws {
    let source: SourceFile
    if let file {
      source = try SourceFile(hashing: file)
    } else {
      let size = size ?? Demo.usualSize
      source = try await telling("making a file of \(size) MiB", [("mebibytes", .integer(size))]) {
        try SourceFile(generating: size << 20, at: folder.appendingPathComponent("sent").path)
      }
    }
    Console.event(
      "file", "file      \(source.count) bytes, BLAKE2b \(source.hash.hex)",
      [("bytes", .integer(source.count)), ("hash", .string(source.hash.hex))])

    let testnet = try await HyperDHT.Testnet(size: nodes)
    Console.event(
      "testnet", "dht       \(nodes) nodes, bootstrap \(testnet.bootstrap.joined(separator: ","))",
      [("nodes", .integer(nodes)), ("bootstrap", .array(testnet.bootstrap.map { .string($0) }))])
    do {
      try await run(source, bootstrap: testnet.bootstrap, target: folder.appendingPathComponent("received").path)
    } catch {
      await testnet.destroy()
      throw error
    }
    await testnet.destroy()
  }

  /// With a name that cannot be guessed, for this user only: what is made inside is not a link of another user.
  private static func makeFolder() throws -> URL {
    let pattern = FileManager.default.temporaryDirectory.appendingPathComponent("hyperswarm-demo-XXXXXX").path
    var name = Array(pattern.utf8CString)
    guard mkdtemp(&name) != nil else {
      throw Failure("cannot make a folder like \(pattern): \(String(cString: strerror(errno)))", code: "FILE")
    }
    return URL(fileURLWithPath: String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
  }

  private func run(_ source: SourceFile, bootstrap: [String], target: String) async throws {
    let server = try await swarm(bootstrap, qlog: qlog)
    let client = try await swarm(bootstrap)
    do {
      let topic = HyperDHT.keyPair().publicKey
      let announcing = try await server.join(topic, client: false)
      guard try await announcing.flushed() else { throw Failure("the topic could not be announced", code: "ANNOUNCE") }
      Console.event(
        "announced", "server    \(server.keyPair.publicKey.hex), topic \(topic.hex)",
        [("server", .string(server.keyPair.publicKey.hex)), ("topic", .string(topic.hex))])

      let clock = ContinuousClock()
      let start = clock.now
      try await client.join(topic, server: false)
      let (atServer, atClient) = try await connections(server, client)
      let connectTime = clock.now - start
      Console.event(
        "connected",
        "client    \(client.keyPair.publicKey.hex), connected after \(connectTime.milliseconds) ms "
          + "(look-up, handshake through the DHT, stream)",
        [
          ("client", .string(client.keyPair.publicKey.hex)),
          ("connectMilliseconds", .number(connectTime.seconds * 1e3)),
        ])

      let sending = Task(executorPreference: server.loop) { try await DemoTransfer.send(source, over: atServer) }
      let received = try await Task(executorPreference: client.loop) {
        try await DemoTransfer.receive(from: atClient, into: target)
      }.value
      try await sending.value
      guard received.hash == source.hash, received.count == source.count else {
        throw Failure("the received file differs from the sent one", code: "HASH_MISMATCH")
      }
      let rate = Double(received.count) / received.time.seconds / 1e6
      let rateText = String(format: "%.1f", rate)
      Console.event(
        "verified",
        "received  \(received.count) bytes in \(received.time.milliseconds) ms: \(rateText) MB/s, "
          + "BLAKE2b of the received file is the same",
        [
          ("bytes", .integer(received.count)), ("seconds", .number(received.time.seconds)),
          ("megabytesPerSecond", .number(rate)), ("hash", .string(received.hash.hex)), ("verified", true),
        ])
    } catch {
      await client.destroy(force: true)
      await server.destroy(force: true)
      throw error
    }
    await client.destroy()
    await server.destroy()
  }

  private func swarm(_ bootstrap: [String], qlog: String? = nil) async throws -> Hyperswarm {
    var options = Hyperswarm.Options(bootstrap: bootstrap)
    options.dhtOptions.host = .loopback
    options.dhtOptions.qlogPath = qlog
    return try await Hyperswarm(options)
  }

  /// Both ends of the connection, or a failure after 30 seconds.
  private func connections(
    _ server: Hyperswarm, _ client: Hyperswarm
  ) async throws -> (HyperDHT.Connection, HyperDHT.Connection) {
    try await withThrowingTaskGroup(of: (HyperDHT.Connection, HyperDHT.Connection)?.self) { group in
      group.addTask {
        async let atServer = server.connections.first { _ in true }
        async let atClient = client.connections.first { _ in true }
        guard let first = await atServer, let second = await atClient else { return nil }
        return (first, second)
      }
      group.addTask {
        try await Task.sleep(for: .seconds(30))
        return nil
      }
      let pair = try await group.next() ?? nil
      group.cancelAll()
      guard let pair else { throw Failure("the swarms did not find each other within 30 s", code: "TIMEOUT") }
      return pair
    }
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
  var milliseconds: Int { Int((seconds * 1e3).rounded()) }
}
