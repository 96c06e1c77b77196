import HyperDHTEngine
import HyperRuntime
import HyperSecretStream

/// Bounds of the Swift interface of the DHT. Those of one connection's buffers are `HyperRuntime.Limits`.
enum Limits {
  /// Datagrams not yet read, per connection; further ones are dropped, like everywhere on their way.
  static let datagrams = HyperRuntime.Limits.datagrams
  /// Changes of path not yet read, per connection; further ones are dropped.
  static let pathChanges = 16
  /// Changes of state that one reader has not taken; the newest one pushes the others out.
  static let stateChanges = 16
  /// Readers of the states of one connection at a time; the oldest gives way.
  static let stateReaders = 16
  /// Connections that the application has not taken out of `connections`, per server; further ones are closed.
  static let pendingConnections = 1024
  /// Incoming connections of one peer of a pool that have not proved its key, beside one that works.
  static let newcomers = 4
  /// Milliseconds that such a one waits for the proof: more than two keepalives.
  static let newcomerProof: UInt64 = 12_000
  /// Events of a node or a swarm that one reader has not taken; further ones are dropped.
  static let pendingEvents = 256
  /// Readers of the events of one node or swarm at a time; the oldest gives way.
  static let eventReaders = 64
  /// Handlers of one command of the application at a time, half of them for sources that may be forged and a quarter
  /// for one host; further requests are dropped and come again.
  static let requestHandlers = 256
  /// Questions to a firewall of the application that have no answer yet, per server or swarm; further ones take the
  /// places of the oldest of the host that has most.
  static let hookQuestions = 256
  /// Tasks of such a firewall that have not returned, those included that were told to: from here on all are refused.
  static let hookTasks = 4 * hookQuestions
  /// Results of one query that the application has not taken; further ones are dropped and counted.
  static let queryResults = 1024
  /// Milliseconds that a connection that was let go of without `close` may go on sending what was written.
  static let abandonedGrace: UInt64 = 10_000
  /// Milliseconds between two copies of the gauges to swift-metrics, at least: each asks the loop.
  static let metricsInterval: UInt64 = 100
  /// Bytes of one message: what the framing can express less the encryption's overhead.
  static let message = HyperSecretStream.Limits.Stream.maximumMessage

  /// What the constants must be to each other. Called by every node that is made.
  static func check() {
    precondition(stateChanges > 0 && stateReaders > 0, "the newest state has room")
    precondition(hookQuestions > 0 && hookQuestions <= hookTasks, "a question has a task")
    precondition(requestHandlers > 0, "a command is served")
    precondition(newcomers > 0, "a peer that has lost its connection comes back")
    precondition(newcomerProof > 2 * HyperDHTEngine.Limits.connectionKeepAlive, "a living newcomer is heard")
    precondition(metricsInterval > 0, "copies of the gauges leave time for others")
    precondition(eventReaders > 0 && pendingEvents > 1, "an update does not push out every other event")
    precondition(datagrams > 0 && pendingConnections > 0 && queryResults > 0, "each queue holds something")
    precondition(message > HyperRuntime.Limits.writeWindow, "a message above the window is taken, the next one waits")
    precondition(abandonedGrace < HyperSecretStream.Limits.Stream.handshakeTimeout, "a forgotten one ends first")
  }
}
