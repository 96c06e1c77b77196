/// Bounds of the Swift interface of the swarm. Those of a connection and of its node are in HyperDHT.
enum Limits {
  /// Connections that the application has not taken out of `connections`; further ones are closed.
  static let pendingConnections = 1024
  /// Events that one reader has not taken; further ones are dropped.
  static let pendingEvents = 256
  /// Readers of events at a time; the oldest gives way.
  static let eventReaders = 64

  /// What the constants must be to each other. Called by every swarm that is made.
  static func check() {
    precondition(pendingConnections > 0 && eventReaders > 0, "each queue holds something")
    precondition(pendingEvents > 1, "an update does not push out every other event")
  }
}
