import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime

extension HyperDHT {
  /// How to run a query.
  public struct QueryOptions: Sendable {
    /// Requests at a time, at least 1; `nil` is the node's value, 10.
    public var concurrency: Int?
    /// Transmissions after the first one, per node; `nil` is 5. Negative counts as 0.
    public var retries: Int?
    /// Asked first. With 20 of them the routing table is only a fallback.
    public var nodes: [Endpoint] = []
    /// Asks `nodes` and no others.
    public var onlyNodes = false
    /// What to do at the closest nodes once they are known.
    public var commit = Commit.none

    /// The usual query.
    public init() {}
  }

  /// What a query does at the closest nodes (at most 20, those with an id) once they are known. It succeeds when one of
  /// them has taken it.
  public enum Commit: Sendable {
    /// Nothing: the query only asks.
    case none
    /// Sends the query's own command and value again, with the token of the node's answer. A node that answers with an
    /// error has not taken it.
    case token
    /// Called once per node, with its answer, all at a time, as tasks on the node's loop. They run to their end also
    /// when the query is let go of. One that throws has not been taken.
    case custom(@Sendable (Response) async throws(DHTError) -> Void)
  }

  /// What a query has come to.
  public struct QueryResult: Hashable, Sendable {
    /// Answers of the closest nodes, closest first, at most 20.
    public var closest: [Response]
    /// Nodes that have answered without an error.
    public var successes: Int
    /// Nodes that have answered with an error, or not at all.
    public var failures: Int
  }

  /// Asks the nodes closest to `target`, coming closer with each answer (dht-rpc.md 20). Begins at once.
  /// - `command`: as of `Request.command`.
  /// - `value`: goes with every request; bounds as of `Request.value`.
  public func query(
    _ command: UInt64, target: Bytes32, value: [UInt8]? = nil, options: QueryOptions = QueryOptions()
  ) -> Query {
    Query(self, TracedCall("hyperdht.query", target), options) { rpc, settings in
      rpc.query(target: target, command: command, value: value, options: settings)
    }
  }

  /// The same with the network's own question for closer nodes: `Response.value` is `nil`.
  public func findNodes(_ target: Bytes32, options: QueryOptions = QueryOptions()) -> Query {
    Query(self, TracedCall("hyperdht.find_nodes", target), options) { rpc, settings in
      rpc.findNode(target: target, options: settings)
    }
  }

  /// A query under way: the successful answers as they come in, and with `finished` what it has come to. Up to 1024
  /// answers wait to be read, further ones are dropped (`QueryResult.closest` has all of the closest nodes). Letting go
  /// of it, and of what reads it, ends the query. May be used from any thread.
  public final class Query: AsyncSequence, Sendable {
    public typealias Element = Response
    public typealias Failure = DHTError

    private let queue = EventQueue<Response, DHTError>(capacity: Limits.queryResults)
    private let ending = ClosingFlag<DHTError>()
    private let result = Locked(QueryResult(closest: [], successes: 0, failures: 0))

    init(
      _ dht: HyperDHT, _ call: TracedCall, _ options: QueryOptions,
      _ make: @escaping @Sendable (RPCNode, HyperRPC.QueryOptions) -> HyperRPC.Query
    ) {
      let (node, loop, ending, result) = (dht.node, dht.loop, ending, result)
      let traced = TracedProcess(call)
      let isPosted = loop.post { [weak queue] in
        guard let queue else { return traced.end(.success(())) }
        let failures = CommitFailures()
        let query = make(node.value.rpc, HyperRPC.QueryOptions(options, loop: loop, failures: failures))
        query.onReply = { [weak queue] in
          traced.answered()
          queue?.push(Response($0))
        }
        query.onFinished = { [weak queue, unowned query] outcome in
          var outcome = query.outcome(outcome)
          if case .failure = outcome, let reason = failures.last { outcome = .failure(reason) }
          let reached = QueryResult(
            closest: query.closestReplies.map(Response.init), successes: query.successes, failures: query.errors)
          result.withLock { $0 = reached }
          traced.end(queue == nil ? .success(()) : outcome)
          queue?.finish(outcome)
          if case .failure(let error) = outcome { ending.record(error) }
          ending.close()
        }
        let bound = LoopBound(query)
        queue.whenReleased {
          loop.post {
            traced.end(.success(()))
            bound.value.destroy()
          }
        }
        query.start()
      }
      guard !isPosted else { return }
      traced.end(.failure(.nodeDestroyed))
      queue.finish(.failure(.nodeDestroyed))
      ending.record(.nodeDestroyed)
      ending.close()
    }

    /// A reader of the answers; several share them.
    public func makeAsyncIterator() -> Events<Response, DHTError>.Iterator { Events(queue).makeAsyncIterator() }

    /// Waits for the end of the query, the commits included.
    /// - Throws: `networkUnreachable` when no node has answered; `tooFewNodes` when there was none to commit to; the
    ///   last commit's error when all have failed; `ioSuspended` and `requestDestroyed` when the node was suspended or
    ///   destroyed meanwhile; `nodeDestroyed`; `cancelled` with the task, and the query goes on.
    public nonisolated(nonsending) func finished() async throws(DHTError) -> QueryResult {
      let failure: DHTError?
      do throws(CallFailure) {
        failure = try await ending.wait()
      } catch {
        throw .cancelled
      }
      if let failure { throw failure }
      return result.withLock { $0 }
    }
  }
}

/// The last error of a commit of one's own. Confined to the loop.
final class CommitFailures {
  var last: DHTError?
}

extension HyperRPC.QueryOptions {
  init(_ options: HyperDHT.QueryOptions, loop: UVEventLoop, failures: CommitFailures) {
    self.init(seeds: options.nodes, onlySeeds: options.onlyNodes)
    concurrency = options.concurrency.map { max($0, 1) }
    if let retries = options.retries { self.retries = max(retries, 0) }
    switch options.commit {
    case .none: break
    case .token: commitsWithToken = true
    case .custom(let body):
      let failures = LoopBound(failures)
      commit = { reply, done in
        let response = HyperDHT.Response(reply)
        let done = LoopBound(done)
        Task(executorPreference: loop) {
          var failure: DHTError?
          do throws(DHTError) { try await body(response) } catch { failure = error }
          let outcome = failure
          loop.post {
            if let outcome { failures.value.last = outcome }
            done.value(outcome == nil ? .success(()) : .failure(.tooFewNodes))
          }
        }
      }
    }
  }
}
