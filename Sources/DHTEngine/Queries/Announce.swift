import HyperCrypto
import HyperEncoding
import HyperRPC

package struct AnnounceOptions {
  package var query = DHTQueryOptions()
  /// Milliseconds since the epoch, 0 for none: asks the peers that look the topic up to look again.
  package var bump: UInt64 = 0
  /// Removes older records of the key first; a changed record only replaces an old one that way.
  package var clear = false

  package init() {}
}

extension DHTNode {
  /// Announces a key under a topic at the closest nodes. Finishes well if any node stored it. Storing nodes keep the
  /// first three relay addresses.
  package func announce(
    _ target: Bytes32, keyPair: KeyPair, relayAddresses: [Endpoint] = [], options: AnnounceOptions = .init()
  ) -> DHTQuery<LookupResult> {
    let removal = options.clear ? Unannouncement(node: self, target: target, keyPair: keyPair) : nil
    removal?.removeOwn()
    let peer = PeerRecord(publicKey: keyPair.publicKey, relayAddresses: relayAddresses)
    let bump = options.bump
    var queryOptions = options.query.queryOptions
    queryOptions.commit = { [unowned self] response, done in
      let commit = {
        guard let token = response.token, let id = response.from.id else { return done(.failure(.missingToken)) }
        self.sendAnnounce(
          target: target, keyPair: keyPair, peer: peer, bump: bump, to: response.from.endpoint, id: id, token: token,
          done)
      }
      if let removal { removal.whenDone(commit) } else { commit() }
    }
    return DHTQuery(lookupQuery(target, queryOptions)) { response in
      removal?.consider(response)
      return LookupResult(response)
    }
  }

  /// One ANNOUNCE, signed for the node that issued the token.
  func sendAnnounce(
    target: Bytes32, keyPair: KeyPair, peer: PeerRecord, bump: UInt64 = 0, to node: Endpoint, id: Bytes32,
    token: Bytes32, session: RequestSession? = nil, _ done: @escaping (Result<Void, RPCError>) -> Void
  ) {
    let signable = Signables.announce(target: target, nodeID: id, token: token, peer: peer)
    let message = AnnounceMessage(peer: peer, signature: keyPair.sign(signable), bump: bump)
    withdrawals.announcing(target, keyPair.publicKey, at: node, id: id, token: token)
    sendCommit(.announce, target: target, token: token, value: message.encoded, to: node, session: session, done)
  }

  /// One UNANNOUNCE, signed for the node that issued the token.
  func sendUnannounce(
    target: Bytes32, keyPair: KeyPair, to node: Endpoint, id: Bytes32, token: Bytes32,
    session: RequestSession? = nil, _ done: @escaping (Result<Void, RPCError>) -> Void
  ) {
    let message = RequestMessage.unannounce(target: target, keyPair: keyPair, id: id, token: token)
    sendCommit(message, to: node, session: session, done)
  }

  /// A request with a token; an error code in the answer is a failure.
  func sendCommit(
    _ command: Command, target: Bytes32, token: Bytes32, value: [UInt8], to node: Endpoint,
    session: RequestSession? = nil, _ done: @escaping (Result<Void, RPCError>) -> Void
  ) {
    let message = RequestMessage(command: command.rawValue, target: target, token: token, value: value)
    sendCommit(message, to: node, session: session, done)
  }

  private func sendCommit(
    _ message: RequestMessage, to node: Endpoint, session: RequestSession?,
    _ done: @escaping (Result<Void, RPCError>) -> Void
  ) {
    rpc.request(message, to: node, options: RequestOptions(session: session)) { result in
      switch result {
      case .success(let response) where response.error == 0: done(.success(()))
      case .success(let response): done(.failure(.remote(response.error)))
      case .failure(let error): done(.failure(error))
      }
    }
  }
}

extension RequestMessage {
  /// UNANNOUNCE, signed for the node with this id that issued the token.
  static func unannounce(target: Bytes32, keyPair: KeyPair, id: Bytes32, token: Bytes32) -> RequestMessage {
    let peer = PeerRecord(publicKey: keyPair.publicKey)
    let signable = Signables.unannounce(target: target, nodeID: id, token: token, peer: peer)
    let value = AnnounceMessage(peer: peer, signature: keyPair.sign(signable)).encoded
    return RequestMessage(command: Command.unannounce.rawValue, target: target, token: token, value: value)
  }
}
