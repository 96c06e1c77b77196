import CHyperswarm
import HyperDHTEngine
import HyperEncoding
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
  /// Nodes of a private network in one process: sockets are files.
  static let testnetNodes = 256

  /// What the constants must be to each other, and to `hyperswarm.h`. Called by every handle that brings a loop.
  static func check() {
    precondition(message == Int(HYPERSWARM_MAX_MESSAGE), "hyperswarm.h promises the size of a message")
    precondition(writeHighWater == HyperRuntime.Limits.writeWindow, "both front ends of the pump have the same window")
    precondition(writeLowWater == HyperRuntime.Limits.writeResume && writeHighWater < writeLimit)
    precondition(operations > 0 && relays > 0 && structSize > 0 && text > 0 && testnetNodes > 0 && verdict > 0)
  }
}
