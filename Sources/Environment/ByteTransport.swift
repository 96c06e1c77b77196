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

  /// Aborts. Idempotent.
  func destroy()

  /// Stops reading, so that the peer feels it; `resumeReading` starts again.
  func pauseReading()
  func resumeReading()

  var isClosed: Bool { get }
}
