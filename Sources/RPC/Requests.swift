import HyperEncoding
import HyperEnvironment

// Outgoing requests: transaction ids, window, timers, matching (dht-rpc.md 11).
extension RPCNode {
  /// One request. `completion` runs exactly once, never inside this call. Requests made before the sockets are bound
  /// wait for them.
  @discardableResult
  package func request(
    _ message: RequestMessage, to destination: Endpoint, options: RequestOptions = .init(),
    _ completion: @escaping (Result<Response, RPCError>) -> Void
  ) -> PendingRequest {
    begin(message, to: destination, options: options, visit: nil, completion)
  }

  /// A step of a query: `Query.ended` runs exactly once, never inside this call.
  func visit(_ message: RequestMessage, options: RequestOptions, _ visit: QueryVisit) -> PendingRequest {
    begin(message, to: visit.candidate.endpoint, options: options, visit: visit, nil)
  }

  private func begin(
    _ message: RequestMessage, to destination: Endpoint, options: RequestOptions, visit: QueryVisit?,
    _ completion: ((Result<Response, RPCError>) -> Void)?
  ) -> PendingRequest {
    let failure = reasonToRefuse(message, to: destination)
    let request = PendingRequest(
      tid: failure == nil ? unusedTid() : 0, serial: nextSerial(), message: message, destination: destination,
      options: options, node: self, completion: completion)
    request.visit = visit
    options.session?.insert(request)
    if let failure {
      environment.defer { request.cancel(failure) }
      return request
    }
    requests[request.tid] = request
    statistics.requestsTotal += 1
    statistics.requestsActive = UInt64(requests.count)
    if message.isInternal { count(message.command) { $0.tx += 1 } }
    request.usesServerSocket = !isFirewalled
    submit(request)
    return request
  }

  private func reasonToRefuse(_ message: RequestMessage, to destination: Endpoint) -> RPCError? {
    if isDestroyed { return .nodeDestroyed }
    if isSuspended { return .suspended }
    if destination.port == 0 || destination.host == .any { return .invalidAddress }
    if RequestDatagram.maximumCount(message) > Limits.maximumDatagram { return .messageTooLarge }
    if requests.count >= Limits.maximumRequestsInFlight { return .queueFull }
    return nil
  }

  private func nextSerial() -> UInt64 {
    requestSerial += 1
    return requestSerial
  }

  /// Unpredictable, and distinct from those in flight (dht-rpc.md C-1). Ends soon: at most a quarter of the ids is in
  /// use.
  private func unusedTid() -> UInt16 {
    while true {
      var tid: UInt16 = 0
      withUnsafeMutableBytes(of: &tid) { environment.randomBytes($0) }
      tid = UInt16(littleEndian: tid)
      if requests[tid] == nil { return tid }
    }
  }

  /// Internal PING, padded with `size` zero bytes.
  @discardableResult
  package func ping(
    _ destination: Endpoint, size: Int = 0, options: RequestOptions = .init(),
    _ completion: @escaping (Result<Response, RPCError>) -> Void
  ) -> PendingRequest {
    let padding = size > 0 ? [UInt8](repeating: 0, count: min(size, Limits.maximumDatagram)) : nil
    let message = RequestMessage(command: InternalCommand.ping.rawValue, value: padding, isInternal: true)
    return request(message, to: destination, options: options, completion)
  }

  /// A ping that the other side answers after `milliseconds`; fails with `delayTooLong` above the cap, without a
  /// packet. Peers older than dht-rpc 6.24 answer with error 1 at once.
  @discardableResult
  package func delayedPing(
    _ destination: Endpoint, after milliseconds: UInt64, options: RequestOptions = .init(),
    _ completion: @escaping (Result<Response, RPCError>) -> Void
  ) -> PendingRequest {
    var writer = CompactWriter(reservingCapacity: 4)
    writer.uint32(UInt32(truncatingIfNeeded: milliseconds))
    let message = RequestMessage(
      command: InternalCommand.delayedPing.rawValue, value: writer.bytes, isInternal: true)
    guard milliseconds <= maximumPingDelay else {
      let refused = PendingRequest(
        tid: 0, serial: nextSerial(), message: message, destination: destination, options: options, node: self,
        completion: completion)
      environment.defer { refused.cancel(.delayTooLong) }
      return refused
    }
    var options = options
    options.timeout = options.timeout ?? milliseconds + Limits.delayedPingGrace
    return request(message, to: destination, options: options, completion)
  }

  var maximumPingDelay: UInt64 {
    configuration.maxPingDelay == 0 ? Limits.maxPingDelay : configuration.maxPingDelay
  }

  // MARK: Sending

  /// Sends now if the window allows, else later.
  private func submit(_ request: PendingRequest) {
    guard request.options.socket != nil || serverSocket != nil else {
      waitingForSockets.append(request)
      return
    }
    advanceWindow()
    if request.options.isForced || (sendQueue.isEmpty && !window.isFull) {
      transmit(request)
      return
    }
    guard sendQueue.count < Limits.maximumQueuedRequests else {
      environment.defer { request.cancel(.queueFull) }
      return
    }
    request.state = .queued
    sendQueue.append(request)
    drainQueue()
  }

  func sendWaitingRequests() {
    let waiting = waitingForSockets
    waitingForSockets = []
    for request in waiting where !request.isSettled { submit(request) }
  }

  private func transmit(_ request: PendingRequest) {
    guard let socket = request.options.socket ?? (request.usesServerSocket ? serverSocket : clientSocket) else {
      waitingForSockets.append(request)
      return
    }
    if let message = request.message {
      let carriesID = !isEphemeral && socket === serverSocket
      let datagram = RequestDatagram(
        tid: request.tid, to: request.destination, id: carriesID ? table.id : nil, token: message.token,
        isInternal: message.isInternal, command: message.command, target: message.target, value: message.value)
      request.bytes = datagram.encode()
      request.message = nil
    }
    let now = environment.now
    request.state = .sent
    request.transmissions += 1
    if request.transmissions == 1 {
      request.firstSentAt = now
      request.firstTimeout = firstTimeout(of: request)
    } else {
      statistics.retries += 1
    }
    request.windowSlot = window.sent()
    socket.send(request.bytes, to: request.destination, ttl: request.options.ttl)
    arm(request, after: timeout(of: request))
  }

  private func firstTimeout(of request: PendingRequest) -> UInt64 {
    guard configuration.adaptiveTimeout, request.measuresPath else {
      return request.options.timeout ?? Limits.requestTimeout
    }
    return roundTripTimes.timeout(for: request.destination, now: environment.nowMilliseconds)
  }

  /// Milliseconds to wait for an answer to the latest transmission: the first timeout, doubled each time up to a
  /// second. The last transmission gets at least a second, and whatever is left of the time that the fixed timeout
  /// gives to a request as a whole: what is known of a path makes us ask again sooner, not give up sooner.
  private func timeout(of request: PendingRequest) -> UInt64 {
    let first = request.firstTimeout
    if request.options.timeout != nil { return first }
    let doublings = UInt64(min(request.transmissions - 1, 8))
    let timeout = max(first, min(first << doublings, Limits.requestTimeout))
    guard request.transmissions > request.options.retries else { return timeout }
    let whole = UInt64(max(request.options.retries, 0) + 1) * Limits.requestTimeout
    let elapsed = (environment.now - request.firstSentAt) / 1000
    return max(timeout, Limits.requestTimeout, whole > elapsed ? whole - elapsed : 0)
  }

  /// A request turns slow after a second at the latest, however long its path may take.
  private func arm(_ request: PendingRequest, after timeout: UInt64) {
    let untilSlow = request.mayTurnSlow ? min(timeout, slowAfter(request)) : timeout
    request.timeoutLeft = timeout - untilSlow
    request.timer = environment.schedule(after: untilSlow) { [unowned request] in
      request.timer = nil
      request.node?.elapsed(request)
    }
  }

  private func elapsed(_ request: PendingRequest) {
    if request.mayTurnSlow {
      request.turnSlow()
      if request.isSettled { return }
    }
    if request.timeoutLeft > 0 { arm(request, after: request.timeoutLeft) } else { timerFired(request) }
  }

  private func slowAfter(_ request: PendingRequest) -> UInt64 {
    request.options.timeout ?? min(request.firstTimeout, Limits.requestTimeout)
  }

  private func timerFired(_ request: PendingRequest) {
    if request.transmissions > request.options.retries {
      if !request.options.isUnsolicited { statistics.timeouts += 1 }
      fail(request, .requestTimeout)
      if !request.options.isUnsolicited { suspectSilence() }
      // A node of the table that stays silent is dead, unless all are silent.
      if !isOffline, let id = request.options.destinationID, let node = table.node(id) { remove(node) }
    } else {
      submit(request)
    }
  }

  // MARK: Window

  /// Moves the window to the slot of the present time.
  private func advanceWindow() {
    let slot = environment.nowMilliseconds / Limits.drainInterval
    guard slot > windowSlot else { return }
    window.advance(by: slot - windowSlot)
    windowSlot = slot
  }

  /// Sends what waits, as far as the window allows: on every released unit and at every new slot.
  func drainQueue() {
    advanceWindow()
    while !sendQueue.isEmpty, !window.isFull, let request = sendQueue.popFirst() { transmit(request) }
    guard !sendQueue.isEmpty, drainTimer == nil else { return }
    let nextSlot = (windowSlot + 1) * Limits.drainInterval
    let now = environment.nowMilliseconds
    // The clock may have moved on since the slot was determined.
    drainTimer = environment.schedule(after: nextSlot > now ? nextSlot - now : 1) { [weak self] in
      self?.drainTimer = nil
      self?.drainQueue()
    }
  }

  func clearWindow() {
    drainTimer?.cancel()
    drainTimer = nil
    sendQueue = RequestQueue()
    waitingForSockets = []
    window.clear()
  }

  // MARK: Ending

  /// Takes the request out of all tables; `false` when it had settled before.
  private func close(_ request: PendingRequest) -> Bool {
    guard !request.isSettled else { return false }
    if requests[request.tid] === request {
      requests[request.tid] = nil
      statistics.requestsActive = UInt64(requests.count)
      if request.transmissions > 0 {
        advanceWindow()
        window.released(from: request.windowSlot)
      }
    }
    return request.settle()
  }

  func fail(_ request: PendingRequest, _ error: RPCError) {
    guard close(request) else { return }
    request.deliver(.failure(error))
    drainQueue()
  }

  func failAllRequests(_ error: RPCError) {
    let all = requests.values.sorted { $0.serial < $1.serial }
    for request in all { fail(request, error) }
  }

  // MARK: Matching

  /// The request that this response answers; `nil` (and counted) when there is none.
  func match(_ response: ResponseDatagram, from source: Endpoint) -> PendingRequest? {
    guard let request = requests[response.tid], request.transmissions > 0 else {
      statistics.drops.unknownTid += 1
      return nil
    }
    guard request.destination == source || request.options.acceptsAnswerFromAnyAddress else {
      // The word of another address: the request goes on waiting.
      statistics.drops.wrongSource += 1
      return nil
    }
    return request
  }

  func complete(_ request: PendingRequest, with response: Response) {
    guard close(request) else { return }
    request.deliver(.success(response))
    drainQueue()
  }

  /// Adds to the statistics of an internal command.
  func count(_ command: UInt64, _ change: (inout RPCStatistics.Command) -> Void) {
    switch InternalCommand(rawValue: command) {
    case .ping: change(&statistics.ping)
    case .pingNAT: change(&statistics.pingNAT)
    case .findNode: change(&statistics.findNode)
    case .downHint: change(&statistics.downHint)
    case .delayedPing: change(&statistics.delayedPing)
    case nil: break
    }
  }
}

/// Requests that wait for the window, first in first out; settled ones are skipped.
struct RequestQueue {
  private var items: [PendingRequest] = []
  private var head = 0

  var count: Int { items.count - head }
  var isEmpty: Bool { head == items.count }

  mutating func append(_ request: PendingRequest) { items.append(request) }

  mutating func popFirst() -> PendingRequest? {
    while head < items.count {
      let request = items[head]
      head += 1
      if head == items.count || head > 256 && head > items.count / 2 {
        items.removeFirst(head)
        head = 0
      }
      if !request.isSettled { return request }
    }
    return nil
  }
}
