import HyperRuntime

/// Bounds of the transport driver.
package enum UDXLimits {
  /// Request blocks kept for reuse per environment: at about 2.2 KiB each, half a megabyte.
  static let pooledBlocks = 256
  /// Bytes of payload of a datagram that fit a pooled block. Longer ones get a block of their own.
  static let pooledPayload = 2048
  /// Bytes: the largest UDP payload over IPv4; longer datagrams are dropped and counted.
  package static let datagram = 65_507
  /// Datagrams not yet read, per port or connection; further ones are dropped.
  static let datagrams = RuntimeLimits.datagrams

  /// What the constants must be to each other. Called by every instance that is made.
  static func check() {
    precondition(pooledPayload <= datagram, "a pooled block is for the common case")
    precondition(pooledBlocks > 0 && datagrams > 0, "each queue holds something")
  }
}
