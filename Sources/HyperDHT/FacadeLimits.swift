/// Bounds of the public API; those of one connection's buffers are in `StreamBuffers` of the module UDX.
enum FacadeLimits {
  /// Datagrams not yet read; further ones are dropped, like everywhere on their way.
  static let datagrams = 256
  /// Connections that nobody has taken out of `connections`, per swarm or server; further ones are closed.
  static let pendingConnections = 1024
  /// Results of one query that nobody has taken; further ones are dropped and counted.
  static let queryResults = 1024
  /// How long a connection that was let go of without `close` may go on sending what was written, milliseconds.
  static let abandonedGrace: UInt64 = 10_000
}
