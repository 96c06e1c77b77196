import HyperEncoding

/// Requests for commands of the application that have no answer yet. What was begun is not taken back, so shares hold
/// from the beginning: sources that may be forged have half of the places, and one host a quarter. Loopback is exempt.
package struct RequestShares {
  private let limit: Int
  private var byHost: [IPv4Address: Int] = [:]
  private var unproven = 0
  package private(set) var count = 0

  package init(limit: Int) { self.limit = limit }

  /// Whether a request may be handed to the application; if so it counts until ``leave(_:isProven:)``.
  package mutating func enter(_ source: Endpoint, isProven: Bool) -> Bool {
    guard count < limit else { return false }
    if !source.host.isLoopback {
      guard isProven || unproven < limit / 2, byHost[source.host, default: 0] < max(limit / 4, 1) else { return false }
      byHost[source.host, default: 0] += 1
      if !isProven { unproven += 1 }
    }
    count += 1
    return true
  }

  package mutating func leave(_ source: Endpoint, isProven: Bool) {
    count -= 1
    guard !source.host.isLoopback else { return }
    let left = byHost[source.host, default: 1] - 1
    byHost[source.host] = left > 0 ? left : nil
    if !isProven { unproven -= 1 }
  }
}
