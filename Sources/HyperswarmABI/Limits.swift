import CHyperswarm
import HyperDHTEngine
import HyperEncoding
import HyperSecretStream
import HyperswarmEngine

/// Bounds of the C interface. Those that callers must know are in `hyperswarm.h`.
enum Limits {
  /// Calls of one swarm whose completion is still to come; each costs a closure and what its engine bounds.
  static let operations = Int(HYPERSWARM_MAX_OPERATIONS)
  /// Bytes in a connection's write queue.
  static let writeHighWater = Int(HYPERSWARM_WRITE_HIGH_WATER)
  static let writeLimit = Int(HYPERSWARM_WRITE_LIMIT)
  /// Small messages count this much more, for their own memory.
  static let messageCost = 64
  static let message = HyperSecretStream.Limits.Stream.maximumMessage
  /// Largest UDP payload over IPv4; no path carries that much in one datagram.
  static let datagram = HyperEncoding.Limits.udpPayload
  /// Bytes of a struct of the caller; more is rubbish.
  static let structSize = 4096
  /// Relays of one list; the engines look at as many.
  static let relays = HyperDHTEngine.Limits.Relay.relayChoices
  /// Bytes of a text of the caller.
  static let text = 65_536
  /// Nodes of a private network in one process: sockets are files.
  static let testnetNodes = 256
}
