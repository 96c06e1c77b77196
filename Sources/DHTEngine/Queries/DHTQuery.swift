import HyperEncoding
import HyperRPC

/// A running walk through the DHT that turns replies into items (hyperdht.md 13).
///
/// Nothing is sent before `start`. Items come in arrival order; `onFinished` comes exactly once, also after `destroy`.
/// The query keeps itself alive from `start` until then.
package final class DHTQuery<Item> {
  package var onReply: ((Item) -> Void)?
  package var onFinished: ((Result<Void, DHTError>) -> Void)?

  private let query: Query
  private let map: (Response) -> Item?
  private var isStarted = false
  private(set) package var isFinished = false
  /// Runs before `onFinished` on success: lets a caller wait for side effects of the replies.
  private let beforeFinish: ((@escaping () -> Void) -> Void)?

  init(
    _ query: Query, beforeFinish: ((@escaping () -> Void) -> Void)? = nil, map: @escaping (Response) -> Item?
  ) {
    self.query = query
    self.beforeFinish = beforeFinish
    self.map = map
  }

  /// Idempotent.
  package func start() {
    guard !isStarted else { return }
    isStarted = true
    query.onReply = { response in
      guard !self.isFinished, let item = self.map(response) else { return }
      self.onReply?(item)
    }
    query.onFinished = { result in
      let result = self.query.outcome(result)
      guard case .success = result, let beforeFinish = self.beforeFinish else {
        self.finish(result)
        return
      }
      beforeFinish { self.finish(.success(())) }
    }
    query.start()
  }

  /// Stops early; `onFinished` reports `requestDestroyed`.
  package func destroy() {
    guard !isFinished else { return }
    query.destroy()
    if !isStarted { isStarted = true }
    finish(.failure(.requestDestroyed))
  }

  /// The closest nodes that answered, closest first; complete once finished.
  package var closestNodes: [Endpoint] { query.closestNodes }
  package var closestReplies: [Response] { query.closestReplies }
  package var successes: Int { query.successes }
  package var errors: Int { query.errors }

  private func finish(_ result: Result<Void, DHTError>) {
    guard !isFinished else { return }
    isFinished = true
    query.onReply = nil
    query.onFinished = nil
    let report = onFinished
    onReply = nil
    onFinished = nil
    report?(result)
  }
}

/// Options that every query takes.
package struct DHTQueryOptions {
  /// Nodes to ask first.
  package var seeds: [Endpoint] = []
  /// Contacts only the seeds.
  package var onlySeeds = false
  /// Retransmissions per visit; `nil` is the default of a query.
  package var retries: Int?
  package var concurrency: Int?
  package var session: RequestSession?

  package init() {}

  var queryOptions: QueryOptions {
    var options = QueryOptions()
    options.seeds = seeds
    options.onlySeeds = onlySeeds
    if let retries { options.retries = retries }
    options.concurrency = concurrency
    options.session = session
    return options
  }
}

extension Query {
  /// The result for callers of the DHT: a walk that met no node is a failure, with or without something to commit.
  package func outcome(_ result: Result<Void, RPCError>) -> Result<Void, DHTError> {
    switch result {
    case .success, .failure(.tooFewNodes): if isUnreachable { return .failure(.networkUnreachable) }
    default: break
    }
    return result.mapError(DHTError.init)
  }
}

extension DHTError {
  package init(_ error: RPCError) {
    switch error {
    case .requestTimeout: self = .requestTimeout
    case .requestDestroyed: self = .requestDestroyed
    case .suspended: self = .ioSuspended
    case .nodeDestroyed: self = .nodeDestroyed
    case .tooFewNodes: self = .tooFewNodes
    case .invalidAddress: self = .invalidAddress
    case .bind(let error): self = .bindFailed(code: error.code, error.description)
    case .remote(StorageErrorCode.seqReused): self = .sequenceReused
    case .remote(StorageErrorCode.seqTooLow): self = .sequenceTooLow
    case .remote(let code): self = .remote(code)
    case .missingToken, .delayTooLong, .queueFull, .messageTooLarge: self = .other(error.description)
    }
  }
}
