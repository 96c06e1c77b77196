import HyperEncoding

/// The nodes a query knows of: those still to visit, nearest first, and the state of the others (dht-rpc.md 20.2
/// with a sorted frontier instead of a stack, dht-rpc.md C-5).
struct QueryFrontier {
  enum State {
    /// To visit or in flight; the nodes that have named it.
    case open(referrers: [Endpoint])
    case done
    case down
  }

  struct Candidate {
    let distance: Bytes32
    let id: Bytes32
    let endpoint: Endpoint
  }

  private(set) var states: [Endpoint: State] = [:]
  /// Farthest first, so that the next one is the last.
  private var pending: [Candidate] = []

  var pendingCount: Int { pending.count }
  var isEmpty: Bool { pending.isEmpty }
  /// Candidates ever known, visited ones included.
  var knownCount: Int { states.count }

  /// Records a candidate that is not known yet.
  mutating func insert(_ candidate: Candidate, referrer: Endpoint?) {
    states[candidate.endpoint] = .open(referrers: referrer.map { [$0] } ?? [])
    var low = 0
    var high = pending.count
    while low < high {
      let middle = (low + high) / 2
      if pending[middle].distance > candidate.distance { low = middle + 1 } else { high = middle }
    }
    pending.insert(candidate, at: low)
  }

  mutating func addReferrer(_ referrer: Endpoint, to endpoint: Endpoint) {
    guard case .open(var referrers) = states[endpoint], referrers.count < Limits.maximumReferrers,
      !referrers.contains(referrer)
    else { return }
    referrers.append(referrer)
    states[endpoint] = .open(referrers: referrers)
  }

  mutating func popNearest() -> Candidate? { pending.popLast() }

  mutating func markDone(_ endpoint: Endpoint) { states[endpoint] = .done }

  /// Returns the nodes that had named the dead one.
  mutating func markDown(_ endpoint: Endpoint) -> [Endpoint] {
    defer { states[endpoint] = .down }
    if case .open(let referrers) = states[endpoint] { return referrers }
    return []
  }

  mutating func removePending() { pending = [] }
}
