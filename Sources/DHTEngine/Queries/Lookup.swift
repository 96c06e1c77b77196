import HyperCrypto
import HyperEncoding
import HyperRPC

/// One node's answer to LOOKUP.
package struct LookupResult {
  package var token: Bytes32?
  package var from: NodeAddress
  /// Our address as that node sees it.
  package var to: Endpoint
  package var peers: [PeerRecord]
  /// Milliseconds since the epoch at which an announcer last asked for attention; 0 is never.
  package var bump: UInt64

  init?(_ response: Response) {
    guard let value = response.value, let reply = try? CompactReader.decode(LookupReply.self, from: value) else {
      return nil
    }
    token = response.token
    from = response.from
    to = response.to
    peers = reply.peers
    bump = reply.bump
  }
}

extension DHTNode {
  /// Peers announced under a topic.
  package func lookup(_ target: Bytes32, options: DHTQueryOptions = .init()) -> DHTQuery<LookupResult> {
    DHTQuery(lookupQuery(target, options.queryOptions), map: LookupResult.init)
  }

  func lookupQuery(_ target: Bytes32, _ options: QueryOptions) -> Query {
    rpc.query(target: target, command: Command.lookup.rawValue, value: nil, options: options)
  }

  /// Looks a topic up and removes the key's record from every node that seems to hold it; finishes after the last
  /// removal. Failed removals are ignored: the records expire.
  package func lookupAndUnannounce(
    _ target: Bytes32, keyPair: KeyPair, options: DHTQueryOptions = .init()
  ) -> DHTQuery<LookupResult> {
    let removal = Unannouncement(node: self, target: target, keyPair: keyPair)
    removal.removeOwn()
    return DHTQuery(
      lookupQuery(target, options.queryOptions),
      beforeFinish: { removal.whenDone($0) },
      map: { response in
        removal.consider(response)
        return LookupResult(response)
      })
  }

  /// Withdraws a record from the nodes at which it was announced, without looking for others. `done` runs when all have
  /// answered or were given up, at the latest after ``Limits/Withdrawal/wait``; the rest goes on in the background.
  package func withdraw(_ target: Bytes32, keyPair: KeyPair, from nodes: [Endpoint], _ done: @escaping () -> Void) {
    storage?.forget(publicKey: keyPair.publicKey, target: target)
    withdrawals.withdraw(target, keyPair: keyPair, from: nodes, done)
  }

  /// Gives up what of a withdrawal is left to do.
  package func cancelWithdrawal(_ target: Bytes32, keyPair: KeyPair, from nodes: [Endpoint]) {
    for endpoint in nodes { withdrawals.cancel(target, keyPair.publicKey, at: endpoint) }
  }

  /// Records that are still to be withdrawn from a node.
  package var pendingWithdrawals: Int { withdrawals.pendingCount }

  /// As `lookupAndUnannounce`, for callers that only want to be gone.
  package func unannounce(
    _ target: Bytes32, keyPair: KeyPair, completion: ((Result<Void, DHTError>) -> Void)? = nil
  ) {
    let query = lookupAndUnannounce(target, keyPair: keyPair)
    query.onFinished = completion
    query.start()
  }
}

/// The removals that one lookup gives rise to.
final class Unannouncement {
  private unowned let node: DHTNode
  private let target: Bytes32
  private let keyPair: KeyPair
  private var pending = 0
  private var waiters: [() -> Void] = []

  init(node: DHTNode, target: Bytes32, keyPair: KeyPair) {
    self.node = node
    self.target = target
    self.keyPair = keyPair
  }

  /// Removes the record from this node's own stores.
  func removeOwn() {
    node.storage?.forget(publicKey: keyPair.publicKey, target: target)
  }

  /// Unannounces at the replying node if it may hold our record.
  func consider(_ response: Response) {
    guard let token = response.token, let id = response.from.id, let value = response.value,
      let reply = try? CompactReader.decode(LookupReply.self, from: value),
      reply.peers.count >= Limits.lookupReplyRecords
        || reply.peers.contains(where: { $0.publicKey == keyPair.publicKey })
    else { return }
    pending += 1
    node.sendUnannounce(target: target, keyPair: keyPair, to: response.from.endpoint, id: id, token: token) { _ in
      self.pending -= 1
      self.settle()
    }
  }

  func whenDone(_ body: @escaping () -> Void) {
    waiters.append(body)
    settle()
  }

  private func settle() {
    guard pending == 0 else { return }
    let ready = waiters
    waiters = []
    for waiter in ready { waiter() }
  }
}
