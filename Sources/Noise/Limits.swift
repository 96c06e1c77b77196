import HyperRuntime
import HyperSecretStream

/// Bounds of secret streams over a transport of the program's own; bytes unless said otherwise. Those of the buffers of
/// one stream are `HyperRuntime.Limits`.
enum Limits {
  /// One message: what the framing can express less the encryption's overhead.
  static let message = HyperSecretStream.Limits.Stream.maximumMessage
  /// Datagrams not yet read; further ones are dropped, like everywhere on their way.
  static let datagrams = HyperRuntime.Limits.datagrams
  /// Encrypted bytes that wait for the transport before the writer is held back: four batches of the largest size, so
  /// that a transport that takes one has the next at hand.
  static let transportWindow = 4 * HyperSecretStream.Limits.Stream.maximumBatch
  /// Bytes down to which a writer that is held back waits.
  static let transportResume = transportWindow / 2
  /// Bytes that one end of a pair in memory takes before its writer waits: as a pipe of Linux.
  static let memoryPipe = 64 << 10
  /// Bytes that are read from a descriptor at a time.
  static let readBlock = 64 << 10
  /// Blocks that are read from one descriptor in a turn of the loop, before others get theirs.
  static let readBlocks = 4
  /// Milliseconds that a stream that was let go of without `close` may go on sending what was written, and that `close`
  /// waits for the peer.
  static let abandonedGrace: UInt64 = 10_000

  /// What the constants must be to each other. Called by every stream that is made.
  static func check() {
    precondition(transportResume > 0 && transportResume < transportWindow, "a resumed writer has room")
    precondition(message > HyperRuntime.Limits.writeWindow, "a message above the window is taken, the next one waits")
    precondition(memoryPipe > 0 && readBlock > 0 && readBlocks > 0 && datagrams > 0, "each step moves something")
    precondition(abandonedGrace < HyperSecretStream.Limits.Stream.handshakeTimeout, "a forgotten one ends first")
  }
}
