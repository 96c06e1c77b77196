import HyperCrypto
import HyperDHT
import HyperEncoding
import Synchronization

/// The side that is measured from afar.
struct BenchServer: Sendable {
  /// Callers at a time: more only measure each other.
  static let callers = 64

  let dht: HyperDHT
  let keyPair: KeyPair
  let options: HyperDHT.ServerOptions
  /// Says what callers have done.
  let isTalkative: Bool

  /// Serves until the server ends.
  func run(announced: @Sendable (Bytes32) -> Void) async throws {
    let server = try await dht.listen(keyPair: keyPair, options: options)
    announced(server.publicKey)
    let active = Count()
    await withDiscardingTaskGroup { group in
      for await connection in server.connections {
        guard active.value.add(1, ordering: .relaxed).newValue <= BenchServer.callers else {
          active.value.subtract(1, ordering: .relaxed)
          connection.destroy()
          continue
        }
        // On the loop: the change of a thread would be in the times.
        group.addTask(executorPreference: dht.loop) {
          await serve(connection)
          active.value.subtract(1, ordering: .relaxed)
        }
      }
    }
  }

  private final class Count: Sendable {
    let value = Atomic(0)
  }

  private func serve(_ connection: HyperDHT.Connection) async {
    do {
      let first = try await BenchProtocol.within(BenchProtocol.step, of: connection) { try await connection.read() }
      guard let first else { return await connection.close() }
      guard let request = BenchProtocol.Request(first) else {
        try await connection.write("no: \(BenchProtocol.greeting) is spoken here")
        return await connection.close()
      }
      try await connection.write("ok")
      try await BenchProtocol.within(BenchProtocol.longest + BenchProtocol.step, of: connection) {
        try await answer(request, connection)
      }
      await BenchServer.part(from: connection)
    } catch {
      connection.destroy()
    }
  }

  private func answer(_ request: BenchProtocol.Request, _ connection: HyperDHT.Connection) async throws {
    switch request {
    case .echo:
      while let message = try await connection.read() { try await connection.write(message) }
      connection.end()
    case .sink:
      let (bytes, time) = try await BenchProtocol.receive(from: connection)
      try await connection.write("\(bytes) \(time.microseconds)")
      connection.end()
      tell(connection, "sent", bytes, time)
    case .source(let milliseconds, let bytes, let length):
      var sent = 0
      let start = ContinuousClock.now
      try await BenchProtocol.send(
        over: connection, seconds: Double(milliseconds) / 1000, bytes: bytes, length: length
      ) { sent += $0 }
      tell(connection, "was sent", sent, ContinuousClock.now - start)
    }
  }

  private func tell(_ connection: HyperDHT.Connection, _ what: String, _ bytes: Int, _ time: Duration) {
    guard isTalkative else { return }
    let rate = time > .zero ? ", \(Chart.bytes(Double(bytes) / time.seconds))/s" : ""
    Console.event(
      "served", ofOne: .served,
      "\(connection.remotePublicKey.hex.prefix(8)) \(what) \(Chart.bytes(Double(bytes)))\(rate)",
      [
        ("remotePublicKey", .string(connection.remotePublicKey.hex)), ("sent", .bool(what == "sent")),
        ("bytes", .integer(bytes)), ("seconds", .number(time.seconds)),
      ])
  }

  /// Waits for the caller's end, so that it has everything.
  private static func part(from connection: HyperDHT.Connection) async {
    _ = try? await BenchProtocol.within(BenchProtocol.step, of: connection) { try await connection.waitUntilClosed() }
  }
}
