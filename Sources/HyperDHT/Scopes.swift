import HyperRuntime

/// A node for the time of a scope: destroyed at its end, also when `body` throws or its task is cancelled. Servers
/// withdraw their announcements first, for five seconds at most.
/// - Throws: what `body` throws, or `DHTError` when the node cannot be made.
public func withHyperDHT<Result>(
  _ options: HyperDHT.Options = .init(), isolation: isolated (any Actor)? = #isolation,
  _ body: (HyperDHT) async throws -> Result
) async throws -> Result {
  let dht = try await HyperDHT(options)
  do {
    let result = try await body(dht)
    await dht.destroy(isolation: isolation)
    return result
  } catch {
    await dht.destroy(isolation: isolation)
    throw error
  }
}

extension HyperDHT.Connection {
  /// The writing half, in a scope of `run`.
  public struct Outbound: Sendable {
    let connection: HyperDHT.Connection

    /// See `Connection.write`.
    public func write(
      _ message: [UInt8], isolation: isolated (any Actor)? = #isolation
    ) async throws(ConnectionError) {
      try await connection.write(message, isolation: isolation)
    }

    /// See `Connection.write`.
    public func write(_ text: String, isolation: isolated (any Actor)? = #isolation) async throws(ConnectionError) {
      try await connection.write(text, isolation: isolation)
    }

    /// See `Connection.writeWithoutWaiting`.
    @discardableResult
    public func writeWithoutWaiting(_ message: [UInt8]) throws(ConnectionError) -> Bool {
      try connection.writeWithoutWaiting(message)
    }

    /// See `Connection.flush`.
    public func flush(isolation: isolated (any Actor)? = #isolation) async throws(ConnectionError) {
      try await connection.flush(isolation: isolation)
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
  public func run<Result>(
    isolation: isolated (any Actor)? = #isolation, _ body: (Inbound, Outbound) async throws -> Result
  ) async throws -> Result {
    do {
      let result = try await body(inbound, Outbound(connection: self))
      if Task.isCancelled { destroy() } else { await close(isolation: isolation) }
      return result
    } catch {
      destroy()
      throw error
    }
  }
}
