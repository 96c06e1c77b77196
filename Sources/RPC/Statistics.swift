/// Counters since the node was made (dht-rpc.md 23, and drops by reason).
package struct RPCStatistics: Hashable, Sendable {
  package struct Command: Hashable, Sendable {
    /// Requests created.
    package var tx: UInt64 = 0
    /// Responses matched.
    package var rx: UInt64 = 0
    /// Requests answered.
    package var served: UInt64 = 0
  }

  package struct Drops: Hashable, Sendable {
    /// Shorter than a message, unknown first byte, undecodable, or from port 0.
    package var malformed: UInt64 = 0
    package var suspended: UInt64 = 0
    /// Responses without a request in flight.
    package var unknownTid: UInt64 = 0
    /// Responses from an address that was not asked.
    package var wrongSource: UInt64 = 0
    /// Requests of sources that ask too fast.
    package var rateLimited: UInt64 = 0
    /// Internal commands whose target or value is missing or out of range.
    package var invalidCommand: UInt64 = 0
    /// Replies and relays that do not fit into a datagram.
    package var oversizedReplies: UInt64 = 0
    /// Nodes kept out of the table because it has enough of their IP address or /24.
    package var crowdedSubnets: UInt64 = 0
    /// Delayed pings beyond the bound on waiting answers.
    package var delayedPings: UInt64 = 0
  }

  package var queriesActive: UInt64 = 0
  package var queriesTotal: UInt64 = 0
  /// In flight, queued ones included.
  package var requestsActive: UInt64 = 0
  package var requestsTotal: UInt64 = 0
  package var responses: UInt64 = 0
  /// Requests that got no answer to any transmission.
  package var timeouts: UInt64 = 0
  /// Retransmissions.
  package var retries: UInt64 = 0

  /// Times that a persistent node has lost its public address.
  package var addressChanges: UInt64 = 0

  package var ping = Command()
  package var pingNAT = Command()
  package var findNode = Command()
  package var downHint = Command()
  package var delayedPing = Command()

  package var drops = Drops()

  package init() {}
}
