import HyperEncoding
import HyperRuntime

/// Bounds of the transport driver.
enum Limits {
  /// Request blocks kept for reuse per environment: at about 2.2 KiB each, half a megabyte.
  static let pooledBlocks = 256
  /// Bytes of payload of a datagram that fit a pooled block. Longer ones get a block of their own.
  static let pooledPayload = 2048
  /// Bytes: the largest UDP payload over IPv4; longer datagrams are dropped and counted.
  static let datagram = HyperEncoding.Limits.udpPayload
  /// Bytes: what the engine offers to a peer by itself (udx.md 4.7).
  static let receiveWindow = 4 << 20
  /// Datagrams not yet read, per port or connection; further ones are dropped.
  static let datagrams = HyperRuntime.Limits.datagrams

  /// What the constants must be to each other. Called by every instance that is made.
  static func check() {
    precondition(pooledPayload <= datagram, "a pooled block is for the common case")
    precondition(pooledBlocks > 0 && datagrams > 0, "each queue holds something")
  }
}
