/// Counters since the node was made (hyperdht.md 14.9, C-25).
package struct DHTStatistics: Hashable, Sendable {
  package struct Punches: Hashable, Sendable {
    package var consistent: UInt64 = 0
    package var random: UInt64 = 0
    package var open: UInt64 = 0
  }

  package struct Connects: Hashable, Sendable {
    package var started: UInt64 = 0
    package var opened: UInt64 = 0
    package var failed: UInt64 = 0
  }

  package struct Handshakes: Hashable, Sendable {
    /// First messages that a server worked on; copies are not counted.
    package var received: UInt64 = 0
    /// Unreadable, or refused by the firewall hook.
    package var refused: UInt64 = 0
    /// New first messages above the rate of their client or sender, or of all of their kind.
    package var dropped: UInt64 = 0
    /// Handshakes under way that have made room for others.
    package var evicted: UInt64 = 0
    /// Streams whose client never showed itself.
    package var phantoms: UInt64 = 0
  }

  /// Of servers; connects over relays count as connects.
  package struct Relaying: Hashable, Sendable {
    package var attempts: UInt64 = 0
    package var successes: UInt64 = 0
    /// Ended unpaired.
    package var aborts: UInt64 = 0
    /// Relays named by clients that were not dialled: above the bound, or not wanted (hyperdht.md B-4).
    package var refused: UInt64 = 0
    /// Connections of both roles that moved to a direct path.
    package var upgrades: UInt64 = 0
  }

  /// Streams that take another path.
  package struct Migrations: Hashable, Sendable {
    package var movesSent: UInt64 = 0
    /// Handshakes for streams whose peer did not answer directly.
    package var rendezvous: UInt64 = 0
    /// Streams of ours that have taken another path, whichever side moved.
    package var moved: UInt64 = 0
    /// Datagrams that were not answered: forged, replayed, late, above a rate, or for no stream of ours.
    package var refused: UInt64 = 0
  }

  package var punches = Punches()
  package var connects = Connects()
  package var handshakes = Handshakes()
  package var relaying = Relaying()
  package var migrations = Migrations()

  package init() {}
}
