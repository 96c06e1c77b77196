import CHyperswarm
import HyperDHTEngine
import HyperEncoding
import HyperProtomuxEngine
import HyperRuntime
import HyperSecretStream
import HyperswarmEngine

/// Bounds of the C interface. Those that callers must know are in `hyperswarm.h`; `check` compares them.
enum Limits {
  /// Calls of one swarm whose completion is still to come; each costs a closure and what its engine bounds.
  static let operations = Int(HYPERSWARM_MAX_OPERATIONS)
  /// Bytes in a connection's write queue above which a writer should wait for `on_drain`.
  static let writeHighWater = Int(HYPERSWARM_WRITE_HIGH_WATER)
  /// Bytes in a connection's write queue down to which `on_drain` waits.
  static let writeLowWater = writeHighWater / 2
  /// Bytes in a connection's write queue from which writes are refused.
  static let writeLimit = Int(HYPERSWARM_WRITE_LIMIT)
  /// Bytes of one message: what the framing can express less the encryption's overhead.
  static let message = HyperSecretStream.Limits.Stream.maximumMessage
  /// Bytes of one datagram: no path carries more.
  static let datagram = HyperEncoding.Limits.udpPayload
  /// Bytes of a struct of the caller; a larger size field is not one of this library's structs.
  static let structSize = 4096
  /// Relays of one list; the engines look at as many.
  static let relays = HyperDHTEngine.Limits.Relay.relayChoices
  /// Bytes of a text of the caller: a list of several thousand addresses.
  static let text = 65_536
  /// Milliseconds for the answer of an asynchronous firewall: what the swarm waits, which is less than a server
  /// remembers the handshake.
  static let verdict = HyperswarmEngine.Limits.firewallDeadline
  /// Channels of one connection, both sides' together.
  static let channels = Int(HYPERSWARM_MAX_CHANNELS)
  /// Further names of one channel: each is an entry of the engine's tables.
  static let aliases = Int(HYPERSWARM_MAX_ALIASES)
  /// Bytes of the id of a channel; its name is a text.
  static let channelName = Int(HYPERSWARM_MAX_CHANNEL_NAME)
  /// Types of messages of one channel that have a handler: a program that adds without end is found out.
  static let messageTypes = Int(HYPERSWARM_MAX_MESSAGE_TYPES)
  /// Bytes of rejections that may wait behind a connection without room.
  static let replyBytes = HyperProtomuxEngine.Limits.replyBytes
  /// Requests of other nodes that wait for the program, of one command; further ones are dropped and come again.
  static let incomingRequests = Int(HYPERSWARM_MAX_INCOMING)
  /// Milliseconds for the answer to a request: a requester has given up by then.
  static let incomingAnswer: UInt64 = 10_000
  /// Addresses of nodes that a query is told of: it looks at no more.
  static let queryNodes = 1024
  /// Locks of the table of swarms, of connections and of channels each. A fork holds those of all tables at once.
  static let busyTableParts = 16
  /// Nodes of a private network in one process: sockets are files.
  static let testnetNodes = 256

  /// What the constants must be to each other, and to `hyperswarm.h`. Called by every handle that brings a loop.
  static func check() {
    precondition(message == Int(HYPERSWARM_MAX_MESSAGE), "hyperswarm.h promises the size of a message")
    precondition(writeHighWater == HyperRuntime.Limits.writeWindow, "both front ends of the pump have the same window")
    precondition(writeLowWater == HyperRuntime.Limits.writeResume && writeHighWater < writeLimit)
    precondition(channels == HyperProtomuxEngine.Limits.channels, "hyperswarm.h promises the number of channels")
    precondition(channelName == text && aliases > 0 && messageTypes > 0 && incomingRequests > 0 && queryNodes > 0)
    precondition(operations > 0 && relays > 0 && structSize > 0 && text > 0 && testnetNodes > 0 && verdict > 0)
  }
}
