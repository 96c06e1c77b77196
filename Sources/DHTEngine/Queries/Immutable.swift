import HyperEncoding
import HyperRPC

package struct ImmutablePutResult {
  /// Where to get the value: its BLAKE2b hash.
  package var target: Bytes32
  package var closestNodes: [Endpoint]
  /// Nodes that confirmed the store; at least one.
  package var stored: Int
}

package struct ImmutableGetResult {
  package var value: [UInt8]
  package var from: NodeAddress
  package var to: Endpoint
}

extension DHTNode {
  /// Stores a value of at most `Limits.Storage.value` bytes at the closest nodes for about two days.
  /// - Returns: how to give it up.
  @discardableResult
  package func immutablePut(
    _ value: [UInt8], options: DHTQueryOptions = .init(),
    completion: @escaping (Result<ImmutablePutResult, DHTError>) -> Void
  ) -> () -> Void {
    guard value.count <= Limits.Storage.value else {
      environment.defer { completion(.failure(.valueTooLarge(value.count, Limits.Storage.value))) }
      return {}
    }
    let target = Target.of(value: value)
    var stored = 0
    var queryOptions = options.queryOptions
    queryOptions.commit = { [unowned self] response, done in
      guard let token = response.token else { return done(.failure(.missingToken)) }
      sendCommit(.immutablePut, target: target, token: token, value: value, to: response.from.endpoint) { result in
        if case .success = result { stored += 1 }
        done(result)
      }
    }
    let query = DHTQuery<Void>(immutableQuery(target, queryOptions)) { _ in nil }
    query.onFinished = { [unowned query] result in
      completion(
        result.map { ImmutablePutResult(target: target, closestNodes: query.closestNodes, stored: stored) })
    }
    query.start()
    return { query.destroy() }
  }

  /// The value with this hash, or `nil` when no node has it. Answers with a wrong hash are skipped.
  /// - Returns: how to give it up.
  @discardableResult
  package func immutableGet(
    _ target: Bytes32, options: DHTQueryOptions = .init(),
    completion: @escaping (Result<ImmutableGetResult?, DHTError>) -> Void
  ) -> () -> Void {
    let query = DHTQuery<ImmutableGetResult>(immutableQuery(target, options.queryOptions)) { response in
      guard let value = response.value, Target.of(value: value) == target else { return nil }
      return ImmutableGetResult(value: value, from: response.from, to: response.to)
    }
    var found: ImmutableGetResult?
    query.onReply = { [unowned query] item in
      found = item
      query.destroy()
    }
    query.onFinished = { result in
      if let found { completion(.success(found)) } else { completion(result.map { nil }) }
    }
    query.start()
    return { query.destroy() }
  }

  private func immutableQuery(_ target: Bytes32, _ options: QueryOptions) -> Query {
    rpc.query(target: target, command: Command.immutableGet.rawValue, value: nil, options: options)
  }
}
