import HyperEncoding

/// Bounds of the transport driver.
enum Limits {
  /// Request blocks kept for reuse per environment: at about 2.2 KiB each, half a megabyte.
  static let pooledBlocks = 256
  /// Room for the payload of a datagram in a pooled block. Longer ones get a block of their own.
  static let pooledPayload = 2048
  /// Largest UDP payload over IPv4; longer datagrams are dropped and counted.
  static let datagram = HyperEncoding.Limits.udpPayload
}
