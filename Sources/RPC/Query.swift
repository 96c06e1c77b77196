import HyperEncoding
import HyperEnvironment

/// An iterative look-up of the nodes nearest to a target (dht-rpc.md 20).
///
/// Lazy: nothing is sent before `start`. Visits the nearest unvisited candidate first. Ends when the nearest 20 nodes
/// that answer have answered and no nearer one is known, then commits to them if asked to. Nodes that stay silent hold
/// it up for a bounded time only (`QueryTimeout.swift`).
package final class Query {
  package let target: Bytes32
  /// Successful replies in the order of arrival, those of nodes without an id included.
  package var onReply: ((Response) -> Void)?
  /// Exactly once, last, never inside `start`.
  package var onFinished: ((Result<Void, RPCError>) -> Void)?
  /// Up to 20 successful replies of nodes with an id, nearest first, not too many of one subnet while there are others.
  package var closestReplies: [Response] { closest.replies }
  package var closestNodes: [Endpoint] { closestReplies.map(\.from.endpoint) }
  package private(set) var successes = 0
  package private(set) var errors = 0
  /// Nodes that have answered, with an error or not.
  package private(set) var answers = 0
  package private(set) var inFlight = 0
  /// May be changed while running.
  package var concurrency: Int
  package private(set) var isFinished = false
  /// Nodes this query has ever heard of, bounded by ``Limits/maximumQueryCandidates``.
  package var knownNodeCount: Int { frontier.knownCount }
  /// No node has answered, although one was asked or should have been: there is no way into the network. Not so for a
  /// node that has no bootstrap nodes and knows no other, it is a network of its own.
  package var isUnreachable: Bool {
    answers == 0 && (frontier.knownCount > 0 || node?.configuration.bootstrap.isEmpty == false)
  }

  private enum State {
    case idle
    case opening
    case running
    case committing
    case finished
  }

  /// Order of creation.
  let serial: UInt64
  private let message: RequestMessage
  private let options: QueryOptions
  private(set) weak var node: RPCNode?
  private let environment: any Environment
  let session: RequestSession
  private let ownsSession: Bool

  private var state = State.idle
  /// Ends the time in which the known addresses of bootstrap nodes may answer before their names are looked up.
  var headStart: (any ScheduledAction)?
  /// Look-ups of names under way.
  var lookUps = 0
  /// Microseconds: when the last of these began.
  var youngestLookUp: UInt64 = 0
  var bootstrapSeeds: Set<Endpoint> = []
  /// Microseconds.
  private(set) var firstAnswerAt: UInt64?
  private var isPaused = false
  private var isInStart = false
  var frontier = QueryFrontier()
  /// Requests in flight to nodes, by their order.
  private(set) var visits: [UInt64: PendingRequest] = [:]
  /// Ends the wait for silent nodes.
  private var visitTimer: (any ScheduledAction)?
  private var slowCount = 0
  private(set) var closest: ClosestSet
  private var candidateQuota = SubnetQuota(.ofQuery)
  private var isFromTable = false
  private var isSlowedDown = false
  private var commitsLeft = 0
  private var commitSuccesses = 0
  private var lastCommitError = RPCError.tooFewNodes

  init(node: RPCNode, serial: UInt64, message: RequestMessage, target: Bytes32, options: QueryOptions) {
    self.node = node
    self.serial = serial
    self.message = message
    self.target = target
    self.options = options
    environment = node.environment
    session = options.session ?? RequestSession()
    ownsSession = options.session == nil
    closest = ClosestSet(isDiverse: node.configuration.limitsSubnets)
    concurrency = options.concurrency ?? node.configuration.concurrency
    if options.isBackground { concurrency = node.backgroundConcurrency }
    for seed in options.seeds { add(seed, referrer: nil) }
  }

  deinit {
    if !isFinished { node?.statistics.queriesActive -= 1 }
  }

  // MARK: Control

  /// Begins; idempotent.
  package func start() {
    guard state == .idle else { return }
    guard let node, !node.isDestroyed, !node.isSuspended else {
      let error: RPCError = node?.isSuspended == true && node?.isDestroyed == false ? .suspended : .nodeDestroyed
      state = .opening
      environment.defer { self.finish(.failure(error)) }
      return
    }
    node.queries[ObjectIdentifier(self)] = self
    state = .opening
    isInStart = true
    open()
    isInStart = false
  }

  /// No new visits until `resume`; answers of requests in flight still arrive.
  package func pause() { isPaused = true }

  package func resume() {
    guard isPaused else { return }
    isPaused = false
    advance()
  }

  /// Ends the query now; `onFinished` gets `error` unless it has been called already.
  package func destroy(_ error: RPCError = .requestDestroyed) { finish(.failure(error)) }

  // MARK: Seeding

  /// Fills the frontier from the routing table, and from the bootstrap nodes when that has few.
  private func open() {
    let missing = Limits.k - frontier.pendingCount
    guard missing > 0, !options.onlySeeds, let node else {
      run()
      return
    }
    isFromTable = true
    for known in node.table.closest(to: target, limit: missing) { add(known.endpoint, referrer: nil) }
    if frontier.pendingCount < Limits.k { addBootstrap(node) }
    run()
  }

  var isRunning: Bool { state == .running }

  private func run() {
    state = .running
    advance()
  }

  // MARK: Candidates

  func add(_ endpoint: Endpoint, referrer: Endpoint?) {
    switch frontier.states[endpoint] {
    case .done: return
    case .down:
      if let referrer { node?.sendDownHint(about: endpoint, to: referrer, session: session) }
    case .open:
      if let referrer { frontier.addReferrer(referrer, to: endpoint) }
    case nil:
      guard frontier.knownCount < Limits.maximumQueryCandidates, endpoint.isUsable else { return }
      let id = NodeAddress.id(of: endpoint)
      let distance = target.distance(to: id)
      guard closest.isCloser(distance), id != node?.tableID, node?.configuration.filterNode?(endpoint) != false else {
        return
      }
      // Only what others name is bounded: seeds are the caller's word or out of the table.
      guard let node, referrer == nil || !node.configuration.limitsSubnets || candidateQuota.hasRoom(for: endpoint.host)
      else { return }
      candidateQuota.add(endpoint.host)
      frontier.insert(.init(distance: distance, id: id, endpoint: endpoint), referrer: referrer)
    }
  }

  // MARK: Loop

  func advance() {
    guard state == .running, !isPaused, let node else { return }
    if successes + errors >= concurrency { isSlowedDown = false }
    let limit = isSlowedDown ? min(Limits.slowdownConcurrency, concurrency) : concurrency
    while inFlight < limit + slowCount, let candidate = frontier.popNearest() {
      guard closest.isCloser(candidate.distance) else {
        // The frontier is sorted: none of the others is nearer.
        frontier.removePending()
        break
      }
      visit(candidate, node)
    }
    // After the first burst from a cache, a slow start until that much has come back.
    if !isFromTable, successes + errors == 0 { isSlowedDown = true }
    guard frontier.isEmpty, !isWaiting() else { return }
    if !isFromTable, !options.onlySeeds, successes < Limits.minimumCachedSuccesses {
      state = .opening
      open()
      return
    }
    exhausted()
  }

  /// Whether an answer under way is still worth waiting for; comes back when that ends without an event.
  private func isWaiting() -> Bool {
    visitTimer?.cancel()
    visitTimer = nil
    switch visitTimeout(now: environment.now) {
    case .expired: return false
    case .none: return true
    case .milliseconds(let time):
      visitTimer = environment.schedule(after: time) { [weak self] in
        self?.visitTimer = nil
        self?.advance()
      }
      return true
    }
  }

  private func visit(_ candidate: QueryFrontier.Candidate, _ node: RPCNode) {
    inFlight += 1
    var requestOptions = RequestOptions(
      retries: options.isForced ? 0 : options.retries, session: session)
    requestOptions.isForced = options.isForced
    requestOptions.destinationID = candidate.id
    requestOptions.isVisit = true
    let request = node.visit(message, options: requestOptions, QueryVisit(query: self, candidate: candidate))
    visits[request.serial] = request
  }

  /// A visit is over.
  func ended(_ request: PendingRequest, _ result: Result<Response, RPCError>) {
    guard visits.removeValue(forKey: request.serial) != nil, let visit = request.visit else { return }
    inFlight -= 1
    if visit.isSlow { slowCount -= 1 }
    switch result {
    case .success(let response): answered(response, visit.candidate)
    case .failure(let error): failed(error, visit.candidate)
    }
  }

  /// A visit makes room for another one.
  func turnedSlow(_ request: PendingRequest) {
    guard visits[request.serial] != nil else { return }
    slowCount += 1
    advance()
  }

  private func answered(_ response: Response, _ candidate: QueryFrontier.Candidate) {
    frontier.markDone(candidate.endpoint)
    guard state == .running || state == .opening else { return }
    answers += 1
    if firstAnswerAt == nil { firstAnswerAt = environment.now }
    headStart?.cancel()
    headStart = nil
    let isSuccess = response.error == RPCErrorCode.ok
    if isSuccess { successes += 1 } else { errors += 1 }
    if isSuccess, let id = response.from.id { closest.insert(response, distance: target.distance(to: id)) }
    if !options.onlySeeds {
      for endpoint in response.closerNodes { add(endpoint, referrer: response.from.endpoint) }
    }
    if options.isBackground, let node { concurrency = node.backgroundConcurrency }
    if isSuccess { onReply?(response) }
    if !isFinished { advance() }
  }

  private func failed(_ error: RPCError, _ candidate: QueryFrontier.Candidate) {
    switch error {
    case .suspended, .nodeDestroyed:
      finish(.failure(error))
      return
    case .requestTimeout:
      node?.roundTripTimes.markSilent(candidate.endpoint, now: environment.nowMilliseconds)
      for referrer in frontier.markDown(candidate.endpoint) {
        node?.sendDownHint(about: candidate.endpoint, to: referrer, session: session)
      }
    default: frontier.markDone(candidate.endpoint)
    }
    errors += 1
    advance()
  }

  // MARK: Commit

  private func exhausted() {
    suspectSilentNodes()
    guard options.commit != nil || options.commitsWithToken else {
      finish(.success(()))
      return
    }
    guard !closestReplies.isEmpty else {
      finish(.failure(.tooFewNodes))
      return
    }
    state = .committing
    let replies = closestReplies
    commitsLeft = replies.count
    for reply in replies {
      guard state == .committing else { return }
      var isSettled = false
      let settle: (Result<Void, RPCError>) -> Void = { [weak self] result in
        guard !isSettled else { return }
        isSettled = true
        self?.committed(result)
      }
      if let commit = options.commit { commit(reply, settle) } else { commitToken(reply, settle) }
    }
  }

  private func committed(_ result: Result<Void, RPCError>) {
    guard state == .committing else { return }
    switch result {
    case .success: commitSuccesses += 1
    case .failure(let error): lastCommitError = error
    }
    commitsLeft -= 1
    guard commitsLeft == 0 else { return }
    finish(commitSuccesses > 0 ? .success(()) : .failure(lastCommitError))
  }

  /// The query's own command with the token of the reply. A refused token is replaced once by the fresh one that comes
  /// with the refusal (dht-rpc.md C-2).
  private func commitToken(
    _ reply: Response, mayRetry: Bool = true, _ done: @escaping (Result<Void, RPCError>) -> Void
  ) {
    guard let token = reply.token, let node else {
      done(.failure(.missingToken))
      return
    }
    var commit = message
    commit.token = token
    let requestOptions = RequestOptions(session: session)
    node.request(commit, to: reply.from.endpoint, options: requestOptions) { [weak self] result in
      switch result {
      case .success(let response):
        if response.error == RPCErrorCode.invalidToken, mayRetry, response.token != nil, let self {
          commitToken(response, mayRetry: false, done)
        } else {
          done(response.error == RPCErrorCode.ok ? .success(()) : .failure(.remote(response.error)))
        }
      case .failure(let error): done(.failure(error))
      }
    }
  }

  // MARK: End

  private func finish(_ result: Result<Void, RPCError>) {
    guard state != .finished else { return }
    state = .finished
    isFinished = true
    visitTimer?.cancel()
    visitTimer = nil
    headStart?.cancel()
    headStart = nil
    frontier.removePending()
    if let node {
      node.queries[ObjectIdentifier(self)] = nil
      node.statistics.queriesActive -= 1
    }
    visits = [:]
    inFlight = 0
    if ownsSession { session.destroy() }
    let deliver = { [self] in
      let callback = onFinished
      onFinished = nil
      onReply = nil
      callback?(result)
    }
    if isInStart { environment.defer(deliver) } else { deliver() }
  }
}

extension RPCNode {
  /// A user command to the nodes nearest to `target`. Lazy: call `start()` on the result.
  package func query(
    target: Bytes32, command: UInt64, value: [UInt8]? = nil, options: QueryOptions = .init()
  ) -> Query {
    makeQuery(RequestMessage(command: command, target: target, value: value), target: target, options: options)
  }

  /// FIND_NODE. Lazy: call `start()` on the result.
  package func findNode(target: Bytes32, options: QueryOptions = .init()) -> Query {
    let message = RequestMessage(command: InternalCommand.findNode.rawValue, target: target, isInternal: true)
    return makeQuery(message, target: target, options: options)
  }

  private func makeQuery(_ message: RequestMessage, target: Bytes32, options: QueryOptions) -> Query {
    querySerial += 1
    statistics.queriesTotal += 1
    statistics.queriesActive += 1
    refreshTicks = usualRefreshTicks
    noticeSleep()
    return Query(node: self, serial: querySerial, message: message, target: target, options: options)
  }

  /// Parallel requests of refresh and bootstrap look-ups: few while the node is busy.
  var backgroundConcurrency: Int {
    let full = configuration.concurrency
    return requests.count < Limits.backgroundBoostBelow ? full : min(full, max(2, full / 8))
  }

  /// Tells `referrer` that a node it has named does not answer.
  func sendDownHint(about dead: Endpoint, to referrer: Endpoint, session: RequestSession) {
    guard configuration.sendDownHints, configuration.downHintsRateLimit < 0 || downHintsLeft > 0 else { return }
    downHintsLeft -= 1
    let message = RequestMessage(command: InternalCommand.downHint.rawValue, value: dead.encoded, isInternal: true)
    request(message, to: referrer, options: RequestOptions(session: session)) { _ in }
  }
}
