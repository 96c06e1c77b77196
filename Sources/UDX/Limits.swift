import HyperEncoding
import HyperRuntime

/// Bounds of the transport driver.
enum Limits {
  /// Request blocks kept for reuse per environment: at about 2.2 KiB each, half a megabyte.
  static let pooledBlocks = 256
  /// Random bytes drawn from the system at once, per environment: one system call for 64 numbers of 4 bytes.
  static let randomPool = 256
  /// Random bytes: longer values are keys and seeds, of which no copy is kept.
  static let pooledRandom = 8
  /// Bytes of payload of a datagram that fit a pooled block. Longer ones get a block of their own.
  static let pooledPayload = 2048
  /// Bytes: the largest UDP payload over IPv4; longer datagrams are dropped and counted.
  static let datagram = HyperEncoding.Limits.udpPayload
  /// Bytes: what the engine offers to a peer by itself (udx.md 4.7).
  static let receiveWindow = 4 << 20
  /// Datagrams not yet read, per port or connection; further ones are dropped.
  static let datagrams = HyperRuntime.Limits.datagrams
  /// Changes of the interfaces not yet read; further ones are dropped.
  static let interfaceChanges = 16

  /// What the constants must be to each other. Called by every instance that is made.
  static func check() {
    precondition(pooledPayload <= datagram, "a pooled block is for the common case")
    precondition(randomPool % pooledRandom == 0, "no number is longer than the pool")
    precondition(pooledBlocks > 0 && datagrams > 0 && interfaceChanges > 0, "each queue holds something")
  }
}
