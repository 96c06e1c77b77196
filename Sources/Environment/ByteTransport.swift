/// An ordered, reliable byte stream in both directions: what a secret stream needs from below (secret-stream.md 13.1).
///
/// `TransportStream` (UDX) is one; a TCP socket, a pipe or an in-process pair can be another. Loop-confined.
package protocol ByteTransport: AnyObject {
  /// Stream bytes in order, valid during the call.
  var onData: ((UnsafeRawBufferPointer) -> Void)? { get set }
  /// The peer has ended its half; nothing follows on `onData`.
  var onEnd: (() -> Void)? { get set }
  /// Unsent data has fallen below the mark after a `write` returned `false`.
  var onDrain: (() -> Void)? { get set }
  /// Exactly once, last: `nil` for a regular end or a local destroy, else why.
  var onClose: ((TransportStreamError?) -> Void)? { get set }

  /// Queues the buffer; the transport owns it until it is delivered or the transport closes. Returns `false` when the
  /// writer should wait for `onDrain`. `onAcknowledged` runs exactly once: true when the peer (or, where the transport
  /// cannot know that, the system) has all of it.
  @discardableResult
  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool

  /// Sends what is queued, then ends the writing half.
  func end()

  /// From `end` on, when the layer above has nothing more to send: the transport asks by itself after so many
  /// milliseconds without a packet of the peer, and closes with an error when the peer does not answer. 0 is off.
  func keepAliveAfterEnd(_ milliseconds: UInt64)

  /// Aborts. Idempotent.
  func destroy()

  /// Stops reading, so that the peer feels it; `resumeReading` starts again.
  func pauseReading()
  func resumeReading()

  /// What the peer may send ahead of the reader, and how much memory that takes, from now on; `nil` is the transport's
  /// own measure.
  func setReceiveLimit(_ limit: ReceiveLimit?)

  var isClosed: Bool { get }
}

/// Bounds of what a transport keeps for its reader.
package struct ReceiveLimit: Hashable, Sendable {
  /// Bytes that the peer is told it may send.
  package let window: Int
  /// Bytes of memory for what has arrived and waits; what finds no room is dropped, and sent again.
  package let memory: Int

  package init(window: Int, memory: Int) {
    self.window = window
    self.memory = memory
  }
}

extension ByteTransport {
  /// Where the system bounds what waits for the reader.
  package func setReceiveLimit(_ limit: ReceiveLimit?) {}

  /// Where the system watches the peer, or there is nothing to watch.
  package func keepAliveAfterEnd(_ milliseconds: UInt64) {}
}
