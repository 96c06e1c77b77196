import HyperswarmTesting

/// Asynchronous calls and their completions: each has to come exactly once and in time.
final class Settlements {
  private struct Call {
    var name: String
    var due: Duration
  }

  private(set) var settledCount = 0
  var onViolation: ((String) -> Void)?
  private let network: VirtualNetwork
  private var open: [Int: Call] = [:]
  private var next = 0

  init(network: VirtualNetwork) { self.network = network }

  /// What the call has to run once, within `limit`.
  func expect(_ name: String, within limit: Duration) -> () -> Void {
    let number = next
    next += 1
    open[number] = Call(name: name, due: network.elapsed + limit)
    return { [weak self] in
      guard let self else { return }
      if open.removeValue(forKey: number) == nil { onViolation?("\(name) has settled again or too late") }
      settledCount += 1
    }
  }

  /// Reports what is overdue, once.
  func check() {
    let now = network.elapsed
    for number in open.filter({ $0.value.due < now }).keys.sorted() {
      guard let call = open.removeValue(forKey: number) else { continue }
      onViolation?("\(call.name) has not settled")
    }
  }

  var openNames: [String] { open.keys.sorted().compactMap { open[$0]?.name } }
}
