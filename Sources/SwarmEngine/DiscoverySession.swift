import HyperEncoding

/// One caller's interest in a topic, returned by `join` (hyperswarm.md 4). All sessions of a topic share its
/// discovery.
package final class DiscoverySession {
  package let topic: Bytes32
  package private(set) var options: JoinOptions
  package private(set) var isDestroyed = false
  package var isClient: Bool { !isDestroyed && options.client }
  package var isServer: Bool { !isDestroyed && options.server }

  private let discovery: TopicDiscovery

  init(discovery: TopicDiscovery, options: JoinOptions) {
    self.discovery = discovery
    self.options = options
    topic = discovery.topic
  }

  /// Changes roles and limit, if given, and runs a query now. `completion` gets `true`, or `false` if the query failed
  /// or the swarm is suspended; it fails when the session is destroyed, has no role, or the server could not listen.
  package func refresh(
    _ newOptions: JoinOptions? = nil, _ completion: ((Result<Bool, SwarmError>) -> Void)? = nil
  ) {
    guard !isDestroyed else {
      completion?(.failure(.sessionDestroyed))
      return
    }
    if let newOptions { options = newOptions }
    guard options.server || options.client else {
      completion?(.failure(.noRoles))
      return
    }
    discovery.refresh(completion)
  }

  /// Waits for the refresh in progress, if any: `true`, or `false` if it failed or the swarm is suspended. Fails when
  /// the session is destroyed.
  package func flushed(_ completion: @escaping (Result<Bool, SwarmError>) -> Void) {
    guard !isDestroyed else { return completion(.failure(.sessionDestroyed)) }
    discovery.flushed(completion)
  }

  /// Ends the interest. The last session leaves the topic; when only clients remain, the topic is un-announced.
  package func destroy(_ completion: (() -> Void)? = nil) {
    guard !isDestroyed else {
      completion?()
      return
    }
    isDestroyed = true
    discovery.remove(self, completion)
  }

  /// The topic was left as a whole.
  func detach() { isDestroyed = true }
}
