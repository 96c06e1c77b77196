import HyperRuntime

/// A node for the time of a scope: destroyed at its end, also when `body` throws or its task is cancelled. Servers
/// withdraw their announcements first, for a second at most.
/// - Throws: what `body` throws, or the `DHTError` of `HyperDHT.init` when the node cannot be made: `body` is not
///   called then.
public nonisolated(nonsending) func withHyperDHT<Result>(
  _ options: HyperDHT.Options = .init(),
  _ body: nonisolated(nonsending) (HyperDHT) async throws -> Result
) async throws -> Result {
  let dht = try await HyperDHT(options)
  do {
    let result = try await body(dht)
    await dht.destroy()
    return result
  } catch {
    await dht.destroy()
    throw error
  }
}

extension HyperDHT.Connection {
  /// The writing half, in a scope of `run`. Kept longer, its calls fail: the connection has closed with the scope.
  public struct Outbound: Sendable {
    let connection: HyperDHT.Connection

    /// As `Connection.write`.
    public nonisolated(nonsending) func write(_ message: [UInt8]) async throws(ConnectionError) {
      try await connection.write(message)
    }

    /// As `Connection.write`: the text in UTF-8.
    public nonisolated(nonsending) func write(_ text: String) async throws(ConnectionError) {
      try await connection.write(text)
    }

    /// As `Connection.writeWithoutWaiting`.
    @discardableResult
    public func writeWithoutWaiting(_ message: [UInt8]) throws(ConnectionError) -> Bool {
      try connection.writeWithoutWaiting(message)
    }

    /// As `Connection.flush`.
    public nonisolated(nonsending) func flush() async throws(ConnectionError) {
      try await connection.flush()
    }

    /// Ends the writing half before the scope does. Reading goes on.
    public func end() { connection.end() }
  }

  /// Uses the connection for the time of a scope, and closes it at its end.
  ///
  /// When `body` returns, the writing half ends after everything written so far, what still arrives is dropped, and the
  /// call waits until the peer has ended its half, for ten seconds at most. When `body` throws, or its task is
  /// cancelled by then, the connection is aborted: the peer sees a reset.
  /// - Throws: what `body` throws.
  public nonisolated(nonsending) func run<Result>(
    _ body: nonisolated(nonsending) (Inbound, Outbound) async throws -> Result
  ) async throws -> Result {
    do {
      let result = try await body(inbound, Outbound(connection: self))
      if Task.isCancelled { destroy() } else { await close() }
      return result
    } catch {
      destroy()
      throw error
    }
  }
}
