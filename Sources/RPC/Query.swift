import CompactEncoding
import Environment

/// An iterative look-up of the nodes nearest to a target (dht-rpc.md section 20).
package final class Query {
  package let target: Bytes32
  /// Successful replies in the order of arrival, those of nodes without an id included.
  package var onReply: ((Response) -> Void)?
  /// Exactly once, last.
  package var onFinished: ((Result<Void, RPCError>) -> Void)?
  /// Up to 20 successful replies of nodes with an id, nearest first.
  package internal(set) var closestReplies: [Response] = []
  package var closestNodes: [Endpoint] { closestReplies.map(\.from.endpoint) }
  package internal(set) var successes = 0
  package internal(set) var errors = 0
  package internal(set) var inFlight = 0
  /// May be changed while running.
  package var concurrency: Int
  package internal(set) var isFinished = false

  let message: RequestMessage
  let options: QueryOptions
  weak var node: RPCNode?

  init(node: RPCNode, message: RequestMessage, target: Bytes32, options: QueryOptions) {
    self.node = node
    self.message = message
    self.target = target
    self.options = options
    concurrency = options.concurrency ?? RPCLimits.concurrency
  }

  /// Begins; idempotent. Nothing is sent before.
  package func start() {}

  /// No new visits until `resume`; answers of requests in flight still arrive.
  package func pause() {}
  package func resume() {}

  /// Ends the query now; `onFinished` gets `error` unless it has been called already.
  package func destroy(_ error: RPCError = .requestDestroyed) {}
}
