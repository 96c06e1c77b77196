/// Bounds of the encoding, and sizes that several modules need (dht-rpc.md 2).
package enum Limits {
  /// Elements an array may announce. Memory is never reserved from the announced count.
  package static let maximumArrayCount = 0x100000
  /// Largest integer that JavaScript peers represent exactly.
  package static let maximumSafeInteger: UInt64 = 1 << 53 - 1
  /// Largest UDP payload over IPv4, bytes: a total length of 65,535 less the IP (20) and UDP (8) headers.
  package static let udpPayload = 65_535 - 28
}
