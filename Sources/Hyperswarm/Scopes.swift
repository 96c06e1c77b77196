import HyperDHT
import HyperRuntime

/// A swarm for the time of a scope: its topics are withdrawn and it is destroyed at the scope's end, also when `body`
/// throws or its task is cancelled. Withdrawing takes five seconds at most. `body` has to come back by itself: a loop
/// over `swarm.connections` ends when its task is cancelled.
///
/// ```swift
/// try await withHyperswarm { swarm in
///   try await swarm.join(.hash(of: "my chat room"))
///   for await connection in swarm.connections { print("met", connection.remotePublicKey) }
/// }
/// ```
/// - Parameters:
///   - options: how to make the swarm.
///   - body: runs once, where the caller runs; the swarm is of no use after it.
/// - Returns: what `body` returns.
/// - Throws: what `body` throws, or `HyperswarmError` when the swarm cannot be made.
public nonisolated(nonsending) func withHyperswarm<Result>(
  _ options: Hyperswarm.Options = .init(),
  _ body: nonisolated(nonsending) (Hyperswarm) async throws -> Result
) async throws -> Result {
  let swarm = try await Hyperswarm(options)
  do {
    let result = try await body(swarm)
    await swarm.destroy()
    return result
  } catch {
    await swarm.destroy()
    throw error
  }
}

extension Hyperswarm {
  /// The next new connection of either role: the next element of `connections`.
  /// - Returns: `nil` when the swarm is destroyed. Connections that wait come first.
  /// - Throws: `cancelled` with the task; no connection is lost by it.
  public nonisolated(nonsending) func accept() async throws(HyperswarmError) -> HyperDHT.Connection? {
    if let connection = await queue.next() { return connection }
    if Task.isCancelled { throw .cancelled }
    return nil
  }
}
