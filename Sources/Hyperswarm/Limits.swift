/// Bounds of the Swift interface of the swarm. Those of a connection and of its node are in HyperDHT.
enum Limits {
  /// Connections that the application has not taken out of `connections`; further ones are closed.
  static let pendingConnections = 1024

  /// What the constants must be to each other. Called by every swarm that is made.
  static func check() {
    precondition(pendingConnections > 0, "the queue holds something")
  }
}
