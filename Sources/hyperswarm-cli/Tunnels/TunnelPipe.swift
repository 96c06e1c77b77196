import Foundation
import HyperDHT

/// A connection of this machine and an encrypted one, joined byte for byte. Each half ends when the other side's has
/// ended; a broken one breaks the other, after what it has delivered.
enum TunnelPipe {
  static func join(_ socket: Socket, _ connection: HyperDHT.Connection) async {
    await withDiscardingTaskGroup { group in
      group.addTask { await carryOut(socket, connection) }
      group.addTask { await carryIn(connection, socket) }
    }
    _ = try? await connection.waitUntilClosed()
  }

  private static func carryOut(_ socket: Socket, _ connection: HyperDHT.Connection) async {
    do {
      while let bytes = try await socket.read() { try await connection.write(bytes) }
      connection.end()
    } catch is SocketFailure {
      // What was read before has still to get there.
      let deadline = Task {
        try await Task.sleep(for: .seconds(TunnelLimits.lastWords))
        connection.destroy()
      }
      _ = try? await connection.flush()
      deadline.cancel()
      connection.destroy()
    } catch {
      // The other direction knows of a broken connection, and says so.
    }
  }

  private static func carryIn(_ connection: HyperDHT.Connection, _ socket: Socket) async {
    do {
      while let bytes = try await connection.read() { try await socket.write(bytes) }
      socket.end()
    } catch is SocketFailure {
      socket.shutDown()
      connection.destroy()
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
