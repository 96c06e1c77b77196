import HyperCrypto
import HyperEncoding
import HyperRPC

package struct MutablePutResult {
  package var publicKey: Bytes32
  package var sequence: UInt64
  package var signature: Bytes64
  package var closestNodes: [Endpoint]
  /// Nodes that confirmed the store (at least one), and nodes that hold another or a newer value.
  package var stored: Int
  package var refused: Int
}

package struct MutableGetResult {
  package var sequence: UInt64
  package var value: [UInt8]
  package var signature: Bytes64
  package var from: NodeAddress
  package var to: Endpoint
}

package struct MutableGetOptions {
  package var query = DHTQueryOptions()
  /// Least acceptable sequence number.
  package var sequence: UInt64 = 0
  /// `false` takes the first verified value instead of walking on for the newest.
  package var latest = true
  /// Store the result again at the closest nodes, which renews its life.
  package var refresh = false

  package init() {}
}

extension DHTNode {
  /// Stores a signed value under a key. Fails with `sequenceReused` or `sequenceTooLow` when no node took it.
  /// - Returns: how to give it up.
  @discardableResult
  package func mutablePut(
    keyPair: KeyPair, value: [UInt8], sequence: UInt64 = 0, options: DHTQueryOptions = .init(),
    completion: @escaping (Result<MutablePutResult, DHTError>) -> Void
  ) -> () -> Void {
    guard value.count <= Limits.Storage.value else {
      environment.defer { completion(.failure(.valueTooLarge(value.count, Limits.Storage.value))) }
      return {}
    }
    let target = Target.of(publicKey: keyPair.publicKey)
    let signature = keyPair.sign(Signables.mutable(seq: sequence, value: value))
    let put = MutablePutRequest(publicKey: keyPair.publicKey, seq: sequence, value: value, signature: signature)
    var stored = 0
    var refused = 0
    var queryOptions = options.queryOptions
    queryOptions.commit = { [unowned self] response, done in
      commit(put, target: target, at: response) { result in
        switch result {
        case .success: stored += 1
        case .failure(.remote): refused += 1
        case .failure: break
        }
        done(result)
      }
    }
    let query = DHTQuery<Void>(mutableQuery(target, sequence: 0, queryOptions)) { _ in nil }
    query.onFinished = { [unowned query] result in
      completion(
        result.map {
          MutablePutResult(
            publicKey: put.publicKey, sequence: sequence, signature: signature, closestNodes: query.closestNodes,
            stored: stored, refused: refused)
        })
    }
    query.start()
    return { query.destroy() }
  }

  /// The verified value of a key with the highest sequence number, or `nil` when no node has an acceptable one.
  /// - Returns: how to give it up.
  @discardableResult
  package func mutableGet(
    _ publicKey: Bytes32, options: MutableGetOptions = .init(),
    completion: @escaping (Result<MutableGetResult?, DHTError>) -> Void
  ) -> () -> Void {
    let target = Target.of(publicKey: publicKey)
    var best: MutableGetResult?
    var queryOptions = options.query.queryOptions
    if options.refresh {
      queryOptions.commit = { [unowned self] response, done in
        guard let best else { return done(.success(())) }
        let put = MutablePutRequest(
          publicKey: publicKey, seq: best.sequence, value: best.value, signature: best.signature)
        // Renewal is a favour: a node that refuses does not spoil the get.
        commit(put, target: target, at: response) { _ in done(.success(())) }
      }
    }
    let query = DHTQuery<MutableGetResult>(mutableQuery(target, sequence: options.sequence, queryOptions)) { response in
      guard let value = response.value,
        let reply = try? CompactReader.decode(MutableGetResponse.self, from: value), reply.seq >= options.sequence,
        Ed25519.verify(reply.signature, Signables.mutable(seq: reply.seq, value: reply.value), publicKey: publicKey)
      else { return nil }
      return MutableGetResult(
        sequence: reply.seq, value: reply.value, signature: reply.signature, from: response.from, to: response.to)
    }
    query.onReply = { [unowned query] item in
      if let current = best, current.sequence >= item.sequence { return }
      best = item
      if !options.latest { query.destroy() }
    }
    query.onFinished = { result in
      if let best { completion(.success(best)) } else { completion(result.map { nil }) }
    }
    query.start()
    return { query.destroy() }
  }

  private func commit(
    _ put: MutablePutRequest, target: Bytes32, at response: Response,
    _ done: @escaping (Result<Void, RPCError>) -> Void
  ) {
    guard let token = response.token else { return done(.failure(.missingToken)) }
    sendCommit(.mutablePut, target: target, token: token, value: put.encoded, to: response.from.endpoint, done)
  }

  private func mutableQuery(_ target: Bytes32, sequence: UInt64, _ options: QueryOptions) -> Query {
    rpc.query(
      target: target, command: Command.mutableGet.rawValue, value: MutableGetRequest(seq: sequence).encoded,
      options: options)
  }
}
