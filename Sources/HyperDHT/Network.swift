import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime

// What a node knows of the network around it.
extension HyperDHT {
  /// The nodes of the routing table, the one heard latest first; empty when the loop has ended. Kept by a program and
  /// given to `Options.nodes`, they let a later start do without the bootstrap nodes.
  /// - `limit`: nodes at most; negative counts as 0.
  public nonisolated(nonsending) func nodes(limit: Int = .max) async -> [Endpoint] {
    await read { $0.rpc.recentNodes(limit: max(limit, 0)) } ?? []
  }

  /// The nodes of the routing table that are closest to `target`, closest first, without asking any; empty when the
  /// loop has ended. `findNode` asks.
  /// - `limit`: nodes at most; negative counts as 0.
  public nonisolated(nonsending) func closestNodes(to target: Bytes32, limit: Int = 20) async -> [Node] {
    await read { $0.rpc.closestNodes(to: target, limit: max(limit, 0)).map(Node.init) } ?? []
  }

  /// Looks for nodes now, in the background: one look-up towards a random place. A node does so by itself after five
  /// minutes without a look-up. Nothing happens while the node is suspended.
  public func refresh() {
    let node = node
    loop.post { node.value.rpc.refresh() }
  }

  /// Averages over the answers of one look-up.
  public struct RoundTripStatistics: Hashable, Sendable {
    /// Of all nodes that have answered without an error.
    public var roundTripTime = Duration.zero
    /// Of the closest nodes, at most 20.
    public var closestRoundTripTime = Duration.zero
    /// Nodes that an answer names.
    public var closerNodes = 0.0
    /// The same of the closest nodes.
    public var closestCloserNodes = 0.0
    /// Nodes that have answered without an error.
    public var successes = 0
    /// Nodes that have answered with an error, or not at all.
    public var failures = 0

    /// All zero.
    public init() {}
  }

  /// Runs a look-up towards the node heard latest and says how long its answers took.
  /// - Throws: `networkUnreachable` when no node has answered; `cancelled` with the task; `ioSuspended`;
  ///   `requestDestroyed`; `nodeDestroyed`.
  public nonisolated(nonsending) func roundTripStatistics() async throws(DHTError) -> RoundTripStatistics {
    let latest = await read { node in
      node.rpc.recentNodes(limit: 1).first.map(NodeAddress.id) ?? node.rpc.tableID
    }
    guard let latest else { throw .nodeDestroyed }
    let query = findNodes(latest)
    var all: [Response] = []
    var iterator = query.makeAsyncIterator()
    while let reply = try await iterator.next(isolation: #isolation) { all.append(reply) }
    let result = try await query.finished()
    var statistics = RoundTripStatistics()
    (statistics.roundTripTime, statistics.closerNodes) = averages(all)
    (statistics.closestRoundTripTime, statistics.closestCloserNodes) = averages(result.closest)
    statistics.successes = result.successes
    statistics.failures = result.failures
    return statistics
  }

  /// Asks a node for an answer that comes only after `delay`: whether a NAT keeps a mapping open that long. Asked four
  /// times at most, each a second after the answer is due.
  /// - `delay`: 0 to 10 seconds, rounded up to milliseconds.
  /// - Throws: `other` for more than 10 seconds, with nothing sent; `remote(1)` of a node that is too old for it; as
  ///   `request`.
  public nonisolated(nonsending) func delayedPing(
    _ endpoint: Endpoint, delay: Duration
  ) async throws(DHTError) -> Pong {
    let node = node
    let milliseconds = delay.wholeMilliseconds
    return try await operation(TracedCall("hyperdht.delayed_ping")) { settle in
      let pending = node.value.rpc.delayedPing(endpoint, after: milliseconds) { result in
        switch result {
        case .success(let reply) where reply.error != 0: settle(.failure(.remote(reply.error)))
        case .success(let reply):
          let time = Duration(milliseconds: reply.roundTripTime)
          settle(.success(Pong(from: Node(reply.from), to: reply.to, roundTripTime: time)))
        case .failure(let error): settle(.failure(DHTError(error)))
        }
      }
      return { pending.cancel() }
    }
  }

  /// Which of these addresses of this machine can receive packets at all, in their order (hyperdht.md 14.5); ports do
  /// not count. A host is tested by packets to itself, for at most half a second, and remembered: one that has failed
  /// is tested again from time to time, in the background.
  /// - Throws: `nodeDestroyed`; `cancelled` with the task.
  public nonisolated(nonsending) func validateLocalAddresses(
    _ endpoints: [Endpoint]
  ) async throws(DHTError) -> [Endpoint] {
    let node = node
    return try await operation(TracedCall("hyperdht.validate_local_addresses")) { settle in
      guard !node.value.isDestroyed else {
        settle(.failure(.nodeDestroyed))
        return nil
      }
      node.value.validateLocalAddresses(endpoints) { settle(.success($0)) }
      return nil
    }
  }
}

private func averages(_ replies: [HyperDHT.Response]) -> (Duration, Double) {
  guard !replies.isEmpty else { return (.zero, 0) }
  let time = replies.reduce(Duration.zero) { $0 + $1.roundTripTime }
  return (time / replies.count, Double(replies.reduce(0) { $0 + $1.closerNodes.count }) / Double(replies.count))
}
