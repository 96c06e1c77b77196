import HyperEncoding
import HyperEnvironment
import HyperRPC

/// Finds nodes through which a server may be reached, and offers them one by one (hyperdht.md 6.2).
///
/// Known relays are tried one after another while the network is asked; what the network names is tried two at a time.
final class CandidateSearch {
  /// Tries a node; the closure must be called once with whether it led to the server.
  var attempt: ((Endpoint, @escaping (Bool) -> Void) -> Void)?
  /// Nothing is left to try.
  var onExhausted: ((DHTError) -> Void)?

  private unowned let node: DHTNode
  private let target: Bytes32
  private let tokens: RelayTokens
  private let hints: [Endpoint]
  private var hintsLeft: ArraySlice<Endpoint>
  private var isTryingHint = false
  /// Seeds of the queries still to run; an empty list starts from the routing table.
  private var rounds: [[Endpoint]]
  private var query: DHTQuery<FindPeerResult>?
  private var isQuerying = false
  private var queue: [Endpoint] = []
  private var seen: Set<Endpoint>
  private var running = 0
  private var attempts = 0
  private var queryError: DHTError?
  /// A round met nodes: another one that did not says nothing about the network.
  private var isReachable = false
  private var isStopped = false

  init(node: DHTNode, target: Bytes32, hints: [Endpoint], tokens: RelayTokens) {
    self.node = node
    self.target = target
    self.tokens = tokens
    var unique: [Endpoint] = []
    for hint in hints.prefix(Limits.Connect.relayHints) where hint.port != 0 && !unique.contains(hint) {
      unique.append(hint)
    }
    self.hints = unique
    hintsLeft = unique[...]
    seen = Set(unique)
    rounds = unique.isEmpty ? [[]] : [unique, []]
  }

  func start() {
    tryNextHint()
    nextRound()
  }

  /// Offers nothing more and forgets its callbacks.
  func stop() {
    guard !isStopped else { return }
    isStopped = true
    attempt = nil
    onExhausted = nil
    let running = query
    query = nil
    running?.destroy()
  }

  private func tryNextHint() {
    guard !isStopped, let hint = hintsLeft.popFirst() else {
      isTryingHint = false
      return finishIfDone()
    }
    isTryingHint = true
    attempt?(hint) { [weak self] succeeded in
      if !succeeded { self?.tryNextHint() }
    }
  }

  private func nextRound() {
    guard !isStopped, !rounds.isEmpty else { return finishIfDone() }
    var options = DHTQueryOptions()
    options.seeds = rounds.removeFirst()
    options.retries = 3
    let query = node.findPeer(target: target, options: options)
    self.query = query
    isQuerying = true
    query.onReply = { [weak self] result in
      guard let self else { return }
      tokens.learn(result.token, of: result.from.endpoint)
      consider(result.from.endpoint)
    }
    query.onFinished = { [weak self] result in
      guard let self, !isStopped else { return }
      self.query = nil
      isQuerying = false
      switch result {
      case .success: isReachable = true
      case .failure(let error): queryError = error
      }
      // The attempts that this round started decide whether another one is needed.
      if running == 0 { nextRound() }
    }
    query.start()
  }

  /// The node itself is the way in, not the addresses in its record.
  private func consider(_ candidate: Endpoint) {
    guard !isStopped, seen.count < Limits.Connect.candidates, seen.insert(candidate).inserted else { return }
    queue.append(candidate)
    pump()
  }

  private func pump() {
    while !isStopped, running < Limits.Connect.attempts, !queue.isEmpty {
      let candidate = queue.removeFirst()
      running += 1
      attempts += 1
      attempt?(candidate) { [weak self] succeeded in
        guard let self, !isStopped else { return }
        running -= 1
        guard !succeeded else { return }
        pump()
        if running == 0, !isQuerying { nextRound() }
      }
    }
  }

  private func finishIfDone() {
    guard !isStopped, !isQuerying, !isTryingHint, running == 0, queue.isEmpty, rounds.isEmpty else { return }
    let report = onExhausted
    var error = queryError ?? (attempts == 0 ? .peerNotFound : .peerConnectionFailed)
    if error == .networkUnreachable, isReachable { error = attempts == 0 ? .peerNotFound : .peerConnectionFailed }
    stop()
    report?(error)
  }
}
