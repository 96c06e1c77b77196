import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC

/// Withdraws announcements from the nodes that hold them (hyperdht.md 12.3), thousands at a time.
///
/// A node's token is bound to our address and not to a record (dht-rpc.md 9): a node is asked for one once in several
/// seconds, and each withdrawal is one request. A token that is refused is replaced once by the fresh one that comes
/// with the refusal. Callers wait for a bounded time only; the work goes on after it while the node lives.
final class Withdrawals {
  private struct Key: Hashable {
    let target: Bytes32
    let publicKey: Bytes32
  }

  /// One record at one node.
  private final class Job {
    let target: Bytes32
    let keyPair: KeyPair
    var waiters: [() -> Void] = []
    var request: PendingRequest?
    var isSettled = false
    var mayTryAgain = true

    init(target: Bytes32, keyPair: KeyPair) {
      self.target = target
      self.keyPair = keyPair
    }

    var key: Key { Key(target: target, publicKey: keyPair.publicKey) }
  }

  /// What an UNANNOUNCE to a node needs.
  private struct Credential {
    let id: Bytes32
    let token: Bytes32
    let receivedAt: UInt64
  }

  /// A node that holds records.
  private final class Place {
    let endpoint: Endpoint
    var jobs: [Key: Job] = [:]
    private var waiting: [Job] = []
    /// Before it all have been taken.
    private var head = 0
    var isAsked = false
    var isReady = false
    var underWay = 0

    init(endpoint: Endpoint) { self.endpoint = endpoint }

    func append(_ job: Job) { waiting.append(job) }

    /// The oldest that is not settled.
    func first() -> Job? {
      while head < waiting.count, waiting[head].isSettled { head += 1 }
      if head < waiting.count { return waiting[head] }
      waiting = []
      head = 0
      return nil
    }

    func removeFirst() { head += 1 }

    func removeAll() -> [Job] {
      defer {
        waiting = []
        head = 0
      }
      return Array(waiting[head...])
    }
  }

  private unowned let node: DHTNode
  private var places: [Endpoint: Place] = [:]
  /// Places that may send something, in turn.
  private var ready: [Place] = []
  private var underWay = 0
  private var credentials: TwoGenerationCache<Endpoint, Credential>
  private var idleWaiters: [() -> Void] = []
  /// When the last withdrawal was begun.
  private var begunAt: UInt64 = 0

  init(node: DHTNode) {
    self.node = node
    credentials = TwoGenerationCache(
      .init(maximumEntries: Limits.Withdrawal.tokens, maximumAge: 2 * Limits.Withdrawal.tokenAge),
      now: node.environment.nowMilliseconds)
  }

  private var now: UInt64 { node.environment.nowMilliseconds }
  /// Records that are still to be withdrawn, or whose withdrawal has not been answered.
  var pendingCount: Int { places.values.reduce(0) { $0 + $1.jobs.count } }

  // MARK: Control

  /// Withdraws a record from `endpoints`. `done` runs when all have answered or were given up, at the latest after
  /// ``Limits/Withdrawal/wait``.
  func withdraw(_ target: Bytes32, keyPair: KeyPair, from endpoints: [Endpoint], _ done: @escaping () -> Void) {
    begunAt = now
    bounded(done, after: Limits.Withdrawal.wait) { leave in
      let group = Countdown(leave)
      for endpoint in endpoints { add(Job(target: target, keyPair: keyPair), at: endpoint, group.enter()) }
      group.seal()
    }
    pump()
  }

  /// The record is announced at `endpoint` now, with this token: a withdrawal that is still to come would undo that.
  func announcing(_ target: Bytes32, _ publicKey: Bytes32, at endpoint: Endpoint, id: Bytes32, token: Bytes32) {
    remember(endpoint, id: id, token: token)
    cancel(target, publicKey, at: endpoint)
  }

  /// Gives up what has not been answered.
  func cancel(_ target: Bytes32, _ publicKey: Bytes32, at endpoint: Endpoint) {
    guard let place = places[endpoint], let job = place.jobs[Key(target: target, publicKey: publicKey)] else { return }
    settle(job, place)
  }

  /// `done` runs when nothing is left to withdraw, at the latest ``Limits/Withdrawal/wait`` after the last withdrawal
  /// was begun: callers may have waited for that one already.
  func whenIdle(_ done: @escaping () -> Void) {
    let waited = now - begunAt
    guard !places.isEmpty, waited < Limits.Withdrawal.wait else { return done() }
    bounded(done, after: Limits.Withdrawal.wait - waited) { idleWaiters.append($0) }
  }

  private func bounded(
    _ done: @escaping () -> Void, after milliseconds: UInt64, _ body: (@escaping () -> Void) -> Void
  ) {
    let once = Countdown(done)
    let leave = once.enter()
    once.seal()
    let timer = node.environment.schedule(after: milliseconds, leave)
    body {
      timer.cancel()
      leave()
    }
  }

  // MARK: Queue

  private func add(_ job: Job, at endpoint: Endpoint, _ waiter: @escaping () -> Void) {
    let place = places[endpoint] ?? Place(endpoint: endpoint)
    places[endpoint] = place
    if let same = place.jobs[job.key] {
      same.waiters.append(waiter)
      return
    }
    job.waiters = [waiter]
    place.jobs[job.key] = job
    place.append(job)
    makeReady(place)
  }

  private func makeReady(_ place: Place) {
    guard !place.isReady, !place.isAsked, place.underWay < Limits.Withdrawal.underWayPerNode, place.first() != nil
    else {
      return
    }
    place.isReady = true
    ready.append(place)
  }

  private func pump() {
    while underWay < Limits.Withdrawal.underWay, !ready.isEmpty {
      let place = ready.removeFirst()
      place.isReady = false
      guard let job = place.first() else { continue }
      if let credential = credential(of: place.endpoint) {
        place.removeFirst()
        send(job, place, credential)
      } else {
        ask(place, about: job.target)
      }
      makeReady(place)
    }
  }

  private func settle(_ job: Job, _ place: Place) {
    guard !job.isSettled else { return }
    job.isSettled = true
    place.jobs[job.key] = nil
    if place.jobs.isEmpty, places[place.endpoint] === place { places[place.endpoint] = nil }
    let request = job.request
    job.request = nil
    request?.cancel()
    let waiters = job.waiters
    job.waiters = []
    for waiter in waiters { waiter() }
    guard places.isEmpty else { return }
    let idle = idleWaiters
    idleWaiters = []
    for waiter in idle { waiter() }
  }

  /// The node does not answer: what waits for it is given up.
  private func abandon(_ place: Place) {
    for job in place.removeAll() { settle(job, place) }
  }

  // MARK: Tokens

  private func remember(_ endpoint: Endpoint, id: Bytes32, token: Bytes32) {
    credentials.set(endpoint, Credential(id: id, token: token, receivedAt: now), now: now)
  }

  /// One that the node still accepts, if its clock goes as ours.
  private func credential(of endpoint: Endpoint) -> Credential? {
    guard let known = credentials.peek(endpoint, now: now), now - known.receivedAt < Limits.Withdrawal.tokenAge else {
      return nil
    }
    return known
  }

  /// FIND_PEER, as its answer is the smallest with a token.
  private func ask(_ place: Place, about target: Bytes32) {
    place.isAsked = true
    underWay += 1
    let message = RequestMessage(command: Command.findPeer.rawValue, target: target)
    node.rpc.request(message, to: place.endpoint, options: .toTheNodeItself) { [weak self] result in
      guard let self else { return }
      underWay -= 1
      place.isAsked = false
      if case .success(let reply) = result, let token = reply.token, let id = reply.from.id {
        remember(place.endpoint, id: id, token: token)
        makeReady(place)
      } else {
        abandon(place)
      }
      pump()
    }
  }

  // MARK: Requests

  private func send(_ job: Job, _ place: Place, _ credential: Credential) {
    underWay += 1
    place.underWay += 1
    let message = RequestMessage.unannounce(
      target: job.target, keyPair: job.keyPair, id: credential.id, token: credential.token)
    job.request = node.rpc.request(message, to: place.endpoint, options: .toTheNodeItself) { [weak self] result in
      guard let self else { return }
      underWay -= 1
      place.underWay -= 1
      job.request = nil
      ended(job, place, credential, result)
      makeReady(place)
      pump()
    }
  }

  private func ended(_ job: Job, _ place: Place, _ credential: Credential, _ result: Result<Response, RPCError>) {
    guard !job.isSettled else { return }
    switch result {
    case .success(let reply) where reply.error == RPCErrorCode.invalidToken && job.mayTryAgain:
      guard let token = reply.token else { break }
      remember(place.endpoint, id: credential.id, token: token)
      job.mayTryAgain = false
      place.append(job)
      return
    case .success: break
    case .failure: abandon(place)
    }
    settle(job, place)
  }
}

extension RequestOptions {
  /// A request that the asked node answers by itself and at once: repeated as soon as the path suggests.
  static var toTheNodeItself: RequestOptions {
    var options = RequestOptions()
    options.isVisit = true
    return options
  }
}
