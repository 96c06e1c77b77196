import HyperEncoding

/// The nodes a query knows of: those still to visit, nearest first, and the state of the others (dht-rpc.md 20.2
/// with a sorted frontier instead of a stack, dht-rpc.md C-5).
struct QueryFrontier {
  enum State {
    /// To visit or in flight; the nodes that have named it: for most candidates one, which needs no memory of its own.
    case open(referrer: Endpoint?, others: [Endpoint] = [])
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
    states[candidate.endpoint] = .open(referrer: referrer)
    var low = 0
    var high = pending.count
    while low < high {
      let middle = (low + high) / 2
      if pending[middle].distance > candidate.distance { low = middle + 1 } else { high = middle }
    }
    pending.insert(candidate, at: low)
  }

  mutating func addReferrer(_ referrer: Endpoint, to endpoint: Endpoint) {
    guard case .open(let first, var others) = states[endpoint], others.count + 1 < Limits.maximumReferrers,
      first != referrer, !others.contains(referrer)
    else { return }
    if first == nil {
      states[endpoint] = .open(referrer: referrer, others: others)
    } else {
      others.append(referrer)
      states[endpoint] = .open(referrer: first, others: others)
    }
  }

  mutating func popNearest() -> Candidate? { pending.popLast() }

  mutating func markDone(_ endpoint: Endpoint) { states[endpoint] = .done }

  /// Returns the nodes that had named the dead one.
  mutating func markDown(_ endpoint: Endpoint) -> [Endpoint] {
    defer { states[endpoint] = .down }
    guard case .open(let first, let others) = states[endpoint] else { return [] }
    return (first.map { [$0] } ?? []) + others
  }

  mutating func removePending() { pending = [] }
}
