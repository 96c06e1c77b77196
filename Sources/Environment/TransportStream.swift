import CompactEncoding

/// A reliable, ordered, unencrypted byte stream over UDP (UDX). Loop-confined.
///
/// Life: made with a local id, receives from then on (subject to `firewall`), `connect` attaches socket and peer without
/// sending anything, `end` closes the writing half, `destroy` aborts. `onClose` comes exactly once, last, also for a
/// stream that never connected; after it the stream does nothing.
package protocol TransportStream: ByteTransport {
  /// The id that peers put into packets for this stream.
  var localID: UInt32 { get }

  /// Asked for packets that arrive on a socket other than the connected one (any socket before `connect`): socket and
  /// source; `false` drops the packet. May call `connect`. Without a callback everything is accepted.
  var firewall: ((any DatagramSocket, Endpoint) -> Bool)? { get set }

  /// Stream bytes in order, valid during the call.
  var onData: ((UnsafeRawBufferPointer) -> Void)? { get set }
  /// The peer has ended its half; nothing follows on `onData`.
  var onEnd: (() -> Void)? { get set }
  /// Unsent data has fallen below the mark after a `write` returned `false`.
  var onDrain: (() -> Void)? { get set }
  /// An unordered, unreliable message, valid during the call.
  var onMessage: ((UnsafeRawBufferPointer) -> Void)? { get set }
  /// `nil` for a regular end or a local destroy, else why.
  var onClose: ((TransportStreamError?) -> Void)? { get set }

  func connect(socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint) throws(TransportError)

  /// Moves the stream to another path; `completion` runs once when everything sent earlier is acknowledged (possibly
  /// inside this call), or never if the stream closes first.
  func changeRemote(
    socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint, _ completion: @escaping () -> Void
  ) throws(TransportError)

  /// Forwards everything that arrives for this stream to `other`'s peer (udx.md section 2.10).
  func relay(to other: any TransportStream) throws(TransportError)

  /// Queues the buffer; the stream owns it until it is acknowledged or the stream closes. Returns `false` when the
  /// writer should wait for `onDrain`. `onAcknowledged` runs exactly once: true when the peer has all of it.
  @discardableResult
  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool

  /// Sends what is queued, then END.
  func end()

  /// One unordered, unreliable message; keep it below the path MTU.
  func sendMessage(_ bytes: [UInt8])

  /// Aborts, telling the peer. Idempotent.
  func destroy()

  /// Stops reading: the advertised window closes as the transport's buffer fills. `resumeReading` opens it again.
  func pauseReading()
  func resumeReading()

  var socket: (any DatagramSocket)? { get }
  var remote: Endpoint? { get }
  var isConnected: Bool { get }
  var isClosed: Bool { get }
  var statistics: TransportStatistics { get }
}

extension TransportStream {
  @discardableResult
  package func write(_ buffer: OwnedBuffer) -> Bool { write(buffer, nil) }
}

package enum TransportStreamError: Error, Hashable, Sendable {
  /// The peer destroyed the stream (ECONNRESET).
  case reset
  /// The peer stopped acknowledging (ETIMEDOUT).
  case timedOut
  case other(Int32)
}

package struct TransportStatistics: Hashable, Sendable {
  package var roundTripTime: UInt32 = 0  // milliseconds, smoothed
  package var mtu: UInt16 = 0
  package var congestionWindow: UInt32 = 0  // packets
  package var bytesInFlight: Int = 0
  package var bytesReceived: UInt64 = 0
  package var bytesSent: UInt64 = 0
  package var packetsReceived: UInt64 = 0
  package var packetsSent: UInt64 = 0
  package var retransmissions: UInt64 = 0
  package var timeouts: UInt64 = 0
  package var fastRecoveries: UInt64 = 0

  package init() {}
}

/// A byte buffer with a stable address, filled once and handed over to a stream without a copy.
package final class OwnedBuffer {
  package let base: UnsafeMutableRawPointer
  package let capacity: Int
  /// Bytes in use from `base` on.
  package var count: Int

  package init(capacity: Int) {
    self.capacity = max(capacity, 1)
    base = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: 16)
    count = 0
  }

  package convenience init(copying bytes: UnsafeRawBufferPointer) {
    self.init(capacity: bytes.count)
    if let source = bytes.baseAddress { base.copyMemory(from: source, byteCount: bytes.count) }
    count = bytes.count
  }

  package convenience init(_ bytes: [UInt8]) {
    self.init(capacity: bytes.count)
    bytes.withUnsafeBytes { source in
      if let address = source.baseAddress { base.copyMemory(from: address, byteCount: source.count) }
    }
    count = bytes.count
  }

  package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  deinit { base.deallocate() }
}
