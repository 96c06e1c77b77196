/// Bounds of `expose` and `forward`.
enum TunnelLimits {
  /// Connections at a time, of all targets together: further ones are refused, or wait in the system's queue.
  static let connections = 1024
  /// Connections that are being made to a peer at a time: each sends handshakes through nodes of the network.
  static let dials = 64
  /// Milliseconds for one of these.
  static let dial: UInt64 = 30_000
  /// Bytes of one read of a local connection.
  static let chunk = 65_536
  /// For what was written before one side broke off to reach the other.
  static let lastWords = 10.0
  /// Connections that the system keeps for us before they are accepted.
  static let backlog: Int32 = 511
  /// Targets of one command.
  static let targets = 64
}
