/// Bounds of the public API, per connection unless said otherwise. Bytes.
enum FacadeLimits {
  /// What `write` takes before it suspends the caller: enough for a loop turn of bulk data (about a millisecond at
  /// 1 GB/s), so that a hop between threads costs only once per half of it.
  static let writeWindow = 1 << 20
  /// Suspended writers go on below this.
  static let writeResume = writeWindow / 2
  /// Handed from the write queue to the stream before the books are updated, so that writer and loop run in parallel.
  static let writeStep = 128 << 10

  /// Received and not yet read: above this the stream is paused and the window towards the peer closes.
  static let readWindow = 2 << 20
  /// Until the application first reads; strangers may fill this much each.
  static let unreadWindow = 64 << 10
  /// Reading goes on below this.
  static let readResume = 1 << 20
  /// Small messages count at least this much, for their own memory.
  static let messageCost = 64
  /// Received in one turn of the loop before the reader is told.
  static let readStep = 128 << 10

  /// Datagrams not yet read; further ones are dropped, like everywhere on their way.
  static let datagrams = 256
  /// Connections that nobody has taken out of `connections`, per swarm or server; further ones are closed.
  static let pendingConnections = 1024
  /// Results of one query that nobody has taken; further ones are dropped and counted.
  static let queryResults = 1024
  /// How long a connection that was let go of without `close` may go on sending what was written, milliseconds.
  static let abandonedGrace: UInt64 = 10_000
}
