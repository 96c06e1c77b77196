import HyperProtomuxEngine
import HyperRuntime

/// Bounds of one multiplexed connection's face; those of the protocol are `HyperProtomuxEngine.Limits`.
enum Limits {
  /// Bytes received that the program has not read, of all channels together: above it nothing more is taken from the
  /// connection, as for a connection without channels.
  static let unreadBytes = HyperRuntime.Limits.readWindow
  /// Bytes down to which it waits then.
  static let unreadResume = HyperRuntime.Limits.readResume
  /// Bytes that each message counts more than its own, for its memory.
  static let messageCost = HyperRuntime.Limits.messageCost
  /// Channels of one connection, unless the program says otherwise.
  static let channels = HyperProtomuxEngine.Limits.channels
  /// Bytes of rejections that may wait behind a connection without room.
  static let replyBytes = HyperProtomuxEngine.Limits.replyBytes
  /// Milliseconds from the pairing at a blind relay to the first heartbeat: at once.
  static let firstHeartbeat: UInt64 = 1
  /// Milliseconds between two heartbeats, before the peer is heard: little against the second after which a lost first
  /// packet is sent again.
  static let heartbeat: UInt64 = 50
  /// Heartbeats at most: 15 seconds, the time of a pairing.
  static let heartbeats = 300
}
