import HyperEncoding

// How long a query waits for nodes that stay silent (dht-rpc.md 20.5 and 20.9, C-6). The reference waits a
// second for nearer nodes when its closest set is full, and else until all transmissions are used up: 6 s for one dead
// node.
extension Query {
  enum VisitTimeout {
    /// No visit is worth waiting for.
    case expired
    /// As long as the requests last.
    case none
    case milliseconds(UInt64)
  }

  /// How much longer the query waits for its visits; `now` in microseconds.
  func visitTimeout(now: UInt64) -> VisitTimeout {
    guard inFlight > 0 || isResolving else { return .expired }
    let isFull = closest.isFull
    // Without any answer there is nothing to end with; and the fixed timeouts know no end but the last one.
    if !isFull, successes == 0 || node?.configuration.adaptiveTimeout != true { return .none }
    var remaining: UInt64 = 0
    if !isFull, isResolving, lookUpDeadline > now { remaining = (lookUpDeadline - now + 999) / 1000 }
    for request in visits.values {
      guard let candidate = request.visit?.candidate, !isFull || closest.isCloser(candidate.distance) else { continue }
      guard request.transmissions > 0 else {
        // Waits for the congestion window: look again when that has moved on.
        remaining = max(remaining, Limits.drainInterval)
        continue
      }
      let timeout = isFull ? timeoutWhenFull(request) : timeoutWhenNotFull(request)
      // Rounded up: a timer that comes too early by less than its resolution would come again and again.
      var end = request.firstSentAt + timeout * 1000
      if isMereBootstrap(request.destination) {
        end = isKnownAsSilent(request.destination) ? now : min(end, bootstrapDeadline)
      }
      if end > now { remaining = max(remaining, (end - now + 999) / 1000) }
    }
    return remaining == 0 ? .expired : .milliseconds(remaining)
  }

  private func timeoutWhenFull(_ request: PendingRequest) -> UInt64 {
    min(max(2 * request.firstTimeout, Limits.minimumVisitTimeout), Limits.requestTimeout)
  }

  /// A node that was silent in an earlier query gets one second, as in a full set.
  private func timeoutWhenNotFull(_ request: PendingRequest) -> UInt64 {
    if isKnownAsSilent(request.destination) { return Limits.requestTimeout }
    return max(3 * request.firstTimeout, Limits.minimumSilentVisitTimeout)
  }

  private func isKnownAsSilent(_ endpoint: Endpoint) -> Bool {
    guard let node else { return false }
    return node.roundTripTimes.isSilent(endpoint, now: node.environment.nowMilliseconds)
  }

  /// The query ends before its last visits have: what their timeouts would have brought about is done by cheaper means.
  /// Every node that has named a silent one gets the hint, and a node of the routing table is checked.
  func suspectSilentNodes() {
    guard let node else { return }
    let now = node.environment.now
    let silent = visits.values
      .filter { request in
        guard request.transmissions > 0 else { return false }
        if request.transmissions >= 3 { return true }
        return isMereBootstrap(request.destination) && request.firstSentAt + Limits.bootstrapGrace * 1000 <= now
      }
      .compactMap { $0.visit?.candidate }
      .sorted { $0.distance < $1.distance }
    for candidate in silent {
      node.roundTripTimes.markSilent(candidate.endpoint, now: node.environment.nowMilliseconds)
      for referrer in frontier.markDown(candidate.endpoint) {
        node.sendDownHint(about: candidate.endpoint, to: referrer, session: session)
      }
      if node.downChecks < Limits.maximumDownChecks, let known = node.table.node(candidate.id),
        known.pinged < node.tick
      {
        node.checkLiveness(of: known)
      }
    }
  }
}
