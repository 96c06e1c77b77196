import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm
import Synchronization

/// A server of the tool: which connections are taken, and how many at a time.
struct Listener: Sendable {
  /// For a caller to prove its key. Callers of this implementation do at once, others with their first message or after
  /// their keepalive interval of 5 seconds.
  private static let proof = Duration.seconds(10)

  let keyPair: KeyPair
  let options: HyperDHT.ServerOptions
  /// Connections at a time; further callers take the places of others (`Places`), or are told that the server is busy.
  var limit = 1
  /// Takes connections until the process ends, instead of `limit` in all.
  var isEndless = false

  /// Serves each connection by `body`. What goes wrong with one does not end an endless listener, unless it is that
  /// standard output cannot be written.
  func run(
    on dht: HyperDHT, announced: (HyperDHT.Server) -> Void,
    _ body: @escaping @Sendable (HyperDHT.Connection) async throws -> Void
  ) async throws {
    let server = try await dht.listen(keyPair: keyPair, options: options)
    announced(server)
    let (callers, continuation) = AsyncStream<HyperDHT.Connection>.makeStream()
    let taking = Task {
      await withDiscardingTaskGroup { group in
        for await connection in server.connections {
          group.addTask {
            if await Listener.isProven(connection) { continuation.yield(connection) } else { connection.destroy() }
          }
        }
      }
      continuation.finish()
    }
    defer { taking.cancel() }
    // The server stays while a connection lasts: the peer may need it to find a way back after a move.
    guard isEndless else { return try await serveOne(callers, server, body) }
    let failure = Mutex<OutputFailure?>(nil)
    await serveAll(callers, server) { connection in
      do {
        try await body(connection)
      } catch let error as OutputFailure {
        failure.withLock { $0 = error }
        continuation.finish()
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure }
  }

  private func serveOne(
    _ callers: AsyncStream<HyperDHT.Connection>, _ server: HyperDHT.Server,
    _ body: @Sendable (HyperDHT.Connection) async throws -> Void
  ) async throws {
    var iterator = callers.makeAsyncIterator()
    guard let first = await iterator.next() else { return }
    await server.setBusy(true)
    // Those that came in the same moment.
    let refusing = Task {
      for await connection in callers { connection.destroy() }
    }
    defer { refusing.cancel() }
    try await body(first)
  }

  private func serveAll(
    _ callers: AsyncStream<HyperDHT.Connection>, _ server: HyperDHT.Server,
    _ body: @escaping @Sendable (HyperDHT.Connection) async throws -> Void
  ) async {
    let (ends, ended) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let places = Places(limit)
    let (turns, turn) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    var turning = turns.makeAsyncIterator()
    // A caller that is sent away in the answer to its handshake cannot take another's place: only while all places
    // are firm.
    let watching = Task {
      for await _ in ends {
        await server.setBusy(!places.hasRoom())
        turn.yield()
      }
    }
    defer { watching.cancel() }
    await withDiscardingTaskGroup { group in
      for await connection in callers {
        var place = places.enter(connection)
        if place == nil, !places.hasRoom() {
          await server.setBusy(true)
          // Those that came in the same moment wait for their turn.
          while place == nil, !connection.isClosed {
            guard await turning.next() != nil else { break }
            place = places.enter(connection)
          }
        }
        guard let place else {
          connection.destroy()
          continue
        }
        group.addTask {
          await Listener.serve(connection, body)
          places.leave(place)
          ended.yield()
        }
        await server.setBusy(!places.hasRoom())
      }
    }
  }

  private static func serve(
    _ connection: HyperDHT.Connection, _ body: @Sendable (HyperDHT.Connection) async throws -> Void
  ) async {
    let key: (String, JSON) = ("remotePublicKey", .string(connection.remotePublicKey.hex))
    do {
      try await body(connection)
      Console.note("disconnected", ofOne: .ended, "\(connection.remotePublicKey.hex) has ended", [key])
    } catch {
      Console.note(
        "disconnected", ofOne: .failed, "\(connection.remotePublicKey.hex) failed: \(error)",
        [key, ("message", .string("\(error)"))])
    }
  }

  /// A replay of an old attempt never proves anything, and gets nothing.
  private static func isProven(_ connection: HyperDHT.Connection) async -> Bool {
    await withTaskGroup(of: Bool.self) { group in
      group.addTask { (try? await connection.waitUntilPeerProven()) != nil }
      group.addTask {
        try? await Task.sleep(for: proof)
        return false
      }
      let isProven = await group.next() ?? false
      group.cancelAll()
      return isProven
    }
  }
}
