/// Bounds of Noise handshakes.
package enum NoiseLimits {
  /// Poly1305 tag, bytes.
  package static let macCount = 16
  /// One encrypted item of a message, bytes with its tag (Noise secret-stream.md 3; secret-stream.md 2).
  package static let maximumCiphertext = 65_535
}

/// Bounds and constants of secret streams; bytes unless said otherwise (secret-stream.md 2).
package enum StreamLimits {
  /// Little-endian length before every frame; does not count itself.
  package static let prefixCount = 3
  /// The largest length that fits into the prefix.
  package static let maximumBody = 16_777_215
  /// Encrypted tag (1) and MAC (16) of a message.
  package static let messageOverhead = 17
  package static let maximumMessage = maximumBody - messageOverhead
  /// Stream id (32) and secretstream header (24).
  package static let headerBody = 56
  package static let streamHeader = 24
  /// Prefix and message overhead.
  package static let frameOverhead = prefixCount + messageOverhead

  /// Queued bytes from which `write` asks the writer to wait, before the keys exist.
  package static let highWaterMark = 16_384
  /// Bytes of messages that may wait for the keys. A writer that ignores back-pressure for this long is broken.
  package static let maximumQueuedBeforeKeys = 64 << 20

  /// Small messages of one loop turn share a buffer of this size at first; it doubles within a turn up to the maximum.
  /// 2 KiB holds a dozen protocol messages and is no loss for a single one.
  package static let firstBatch = 2 << 10
  package static let maximumBatch = 64 << 10

  /// Bytes that may wait for a paused reader: what the transport had in its hands when it was told to pause, at most one
  /// frame of the largest size and as much again.
  package static let maximumUnread = 2 * maximumBody
  /// Reassembly buffers above this size are given back once they are empty.
  package static let keptBuffer = 256 << 10
  /// First size of a reassembly buffer; it then doubles with what really arrives.
  package static let firstBuffer = 4 << 10

  /// Counter (8) and MAC (16).
  package static let datagramOverhead = 24
  /// Positions behind the highest accepted datagram counter that are still accepted, once each.
  package static let replayWindow = 1_024
  /// Path MTU until the transport has found one.
  package static let assumedMTU = 1_200
  /// IPv4 (20), UDP (8), UDX (20), counter (8), MAC (16).
  package static let datagramPathOverhead = 72

  /// Milliseconds from `start` to the peer's verified stream header.
  package static let handshakeTimeout: UInt64 = 30_000
}
