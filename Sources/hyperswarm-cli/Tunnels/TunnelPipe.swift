import Foundation
import HyperDHT

/// What a connection of this machine is carried over: an encrypted connection of its own, or a channel of one.
protocol TunnelStream: Sendable {
  /// What has come next; `nil` when the peer has ended its half.
  func read() async throws -> [UInt8]?
  func write(_ bytes: [UInt8]) async throws
  /// Ends the writing half after what has been written.
  func end()
  /// Returns when the peer has what has been written, or it need not be waited for.
  func settle() async
  func destroy()
  func untilClosed() async
}

/// An encrypted connection of its own.
struct PlainStream: TunnelStream {
  let connection: HyperDHT.Connection

  init(_ connection: HyperDHT.Connection) { self.connection = connection }

  func read() async throws -> [UInt8]? { try await connection.read() }
  func write(_ bytes: [UInt8]) async throws { try await connection.write(bytes) }
  func end() { connection.end() }
  func settle() async { _ = try? await connection.flush() }
  func destroy() { connection.destroy() }
  func untilClosed() async { _ = try? await connection.waitUntilClosed() }
}

/// A connection of this machine and a stream to the peer, joined byte for byte. Each half ends when the other side's
/// has ended; a broken one breaks the other, after what it has delivered.
enum TunnelPipe {
  /// - Parameters:
  ///   - first: of the stream, read already.
  ///   - places: that are used by what passes.
  static func join(
    _ socket: Socket, _ stream: any TunnelStream, first: [UInt8] = [], places: [Places.Place] = []
  ) async {
    await withDiscardingTaskGroup { group in
      group.addTask { await carryOut(socket, stream, places) }
      group.addTask { await carryIn(first, stream, socket, places) }
    }
    await stream.untilClosed()
  }

  private static func carryOut(_ socket: Socket, _ stream: any TunnelStream, _ places: [Places.Place]) async {
    do {
      while let bytes = try await socket.read() {
        try await stream.write(bytes)
        for place in places { place.touch() }
      }
      stream.end()
    } catch is SocketFailure {
      // What was read before has still to get there.
      let deadline = Task {
        try await Task.sleep(for: .seconds(TunnelLimits.lastWords))
        stream.destroy()
      }
      await stream.settle()
      deadline.cancel()
      stream.destroy()
    } catch {
      // The other direction knows of a broken connection, and says so.
    }
  }

  private static func carryIn(
    _ first: [UInt8], _ stream: any TunnelStream, _ socket: Socket, _ places: [Places.Place]
  ) async {
    do {
      if !first.isEmpty { try await socket.write(first) }
      while let bytes = try await stream.read() {
        try await socket.write(bytes)
        for place in places { place.touch() }
      }
      socket.end()
    } catch is SocketFailure {
      socket.shutDown()
      stream.destroy()
    } catch {
      await socket.abort(within: TunnelLimits.lastWords)
    }
  }
}

/// Lets so many tasks pass at a time.
actor Gate {
  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(_ count: Int) { free = count }

  func enter() async {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }

  func leave() {
    if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
  }
}
