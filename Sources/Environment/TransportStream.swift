import HyperEncoding

/// A reliable, ordered, unencrypted byte stream over UDP (UDX). Loop-confined.
///
/// Life: made with a local id, receives from then on (subject to `firewall`), `connect` attaches socket and peer
/// without sending anything, `end` closes the writing half, `destroy` aborts. `onClose` comes exactly once, last, also
/// for a stream that never connected; after it the stream does nothing.
package protocol TransportStream: ByteTransport {
  /// The id that peers put into packets for this stream.
  var localID: UInt32 { get }

  /// Asked for packets that arrive on a socket other than the connected one (any socket before `connect`): socket and
  /// source; `false` drops the packet. May call `connect`. Without a callback everything is accepted.
  var firewall: ((any DatagramSocket, Endpoint) -> Bool)? { get set }
  /// The firewall is also asked for packets that arrive on the connected socket, but not from the remote.
  var asksForSources: Bool { get set }
  /// Whether bytes from a source that is no path of the stream continue what `onData` had: then the source is a path,
  /// else nothing that comes from there counts (udx.md 10.1). Looks only. Without a callback every source counts.
  var judgesSource: (([UnsafeRawBufferPointer]) -> SourceVerdict)? { get set }
  /// Whether a message from such a source is the peer's: then the source is a path, too.
  var judgesMessage: ((UnsafeRawBufferPointer) -> Bool)? { get set }
  /// The stream goes where its peer is heard, at a source that was judged to be the peer's, once the remote is silent.
  var followsPeer: Bool { get set }
  /// The stream has followed its peer there.
  var onPeerMoved: ((Endpoint) -> Void)? { get set }

  /// Stream bytes in order, valid during the call.
  var onData: ((UnsafeRawBufferPointer) -> Void)? { get set }
  /// The peer has ended its half; nothing follows on `onData`.
  var onEnd: (() -> Void)? { get set }
  /// Unsent data has fallen below the mark after a `write` returned `false`.
  var onDrain: (() -> Void)? { get set }
  /// An unordered, unreliable message, valid during the call.
  var onMessage: ((UnsafeRawBufferPointer) -> Void)? { get set }
  /// Something that was written, or the END, waits for its acknowledgement; nothing did before.
  var onUnacknowledged: (() -> Void)? { get set }
  /// `nil` for a regular end or a local destroy, else why.
  var onClose: ((TransportStreamError?) -> Void)? { get set }

  func connect(socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint) throws(TransportError)

  /// Moves the stream to another path; `completion` runs once when everything sent earlier is acknowledged (possibly
  /// inside this call), or never if the stream closes first.
  func changeRemote(
    socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint, _ completion: @escaping () -> Void
  ) throws(TransportError)

  /// Takes another path whose far end has been validated; the old one is gone: what is outstanding is sent again there,
  /// at once. The ids stay.
  func migrate(socket: any DatagramSocket, to remote: Endpoint) throws(TransportError)

  /// The path in use carries what was sent over former ones, too: it is sent again, at once. Nothing is known of the
  /// peer, so the time to give up goes on.
  func reroute()

  /// The remote has acknowledged, from its own address, what was sent to it since the last change of path.
  var isPathValidated: Bool { get }

  /// The remote was only named by others: until a packet comes from there it gets three. Right after `connect`.
  func limitUntilHeard()

  /// The peer is known to be there, on the path in use: what is outstanding is sent again now, as after a timeout.
  func retransmit()

  /// Forwards everything that arrives for this stream to `other`'s peer (udx.md 2.10).
  func relay(to other: any TransportStream) throws(TransportError)

  /// What arrives for this stream is forwarded only as far as the quota has room; at most four of them.
  func addRelayQuota(_ quota: RelayQuota)

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
  /// Something that was written, or the END, is not acknowledged.
  var hasUnacknowledged: Bool { get }
  var statistics: TransportStatistics { get }
}

extension TransportStream {
  @discardableResult
  package func write(_ buffer: OwnedBuffer) -> Bool { write(buffer, nil) }
}

/// What bytes of a source that is no path of a stream say about it.
package enum SourceVerdict: Equatable {
  /// The peer has sent them.
  case proven
  /// The peer has not.
  case forged
  /// So many bytes, from the first on, would tell.
  case needs(Int)
  /// That cannot be told now.
  case undecided
}

/// Why a transport stream broke.
public enum TransportStreamError: Error, Hashable, Sendable {
  /// The peer destroyed the stream (ECONNRESET).
  case reset
  /// The peer stopped acknowledging (ETIMEDOUT).
  case timedOut
  /// The peer's packets are larger than the path's MTU and may not be fragmented: none arrives (EMSGSIZE). `pathMTU` is
  /// the size of the largest IP packet that is known to get through, bytes.
  case packetsTooLarge(pathMTU: Int)
  /// Anything else: a negative errno as libuv has it.
  case other(Int32)
}

extension TransportStreamError {
  /// What the sentences about ``packetsTooLarge(pathMTU:)`` say.
  package static func tooLarge(_ pathMTU: Int) -> String {
    "the peer's packets do not arrive: they are larger than the path's MTU, which is at least \(pathMTU) bytes "
      + "and less than 1200, and may not be fragmented"
  }
}

/// Counters of one stream. Bytes are UDP payloads, with headers and retransmissions.
public struct TransportStatistics: Hashable, Sendable {
  /// Smoothed (RFC 6298), in whole milliseconds.
  public var roundTripTime = Duration.zero
  /// IP packet size that the path carries, bytes.
  public var mtu: UInt16 = 0
  /// Packets that may be in flight.
  public var congestionWindow: UInt32 = 0
  /// Sent and neither acknowledged nor taken for lost, bytes.
  public var bytesInFlight: Int = 0
  /// UDP payload that has arrived, with the transport's headers.
  public var bytesReceived: UInt64 = 0
  /// UDP payload that was sent, with the transport's headers and retransmissions.
  public var bytesSent: UInt64 = 0
  /// Packets of the stream that have arrived.
  public var packetsReceived: UInt64 = 0
  /// Packets of the stream that were sent, retransmissions included.
  public var packetsSent: UInt64 = 0
  /// Packets that were sent again.
  public var retransmissions: UInt64 = 0
  /// Retransmission timeouts.
  public var timeouts: UInt64 = 0
  /// Losses found by acknowledgements of later packets (RFC 8985).
  public var fastRecoveries: UInt64 = 0

  /// All zero.
  public init() {}
}

/// A byte buffer with a stable address, filled once and handed over to a stream without a copy.
public final class OwnedBuffer {
  /// The first byte; valid while the buffer lives.
  public let base: UnsafeMutableRawPointer
  /// Bytes that fit.
  public let capacity: Int
  /// Bytes in use from `base` on, at most `capacity`.
  @exclusivity(unchecked) public var count: Int {
    didSet { precondition(count >= 0 && count <= capacity, "count is above the capacity") }
  }

  /// Room for that many bytes, uninitialised; for one byte at least.
  public init(capacity: Int) {
    self.capacity = max(capacity, 1)
    base = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: 16)
    count = 0
  }

  /// A copy of the bytes.
  public convenience init(copying bytes: UnsafeRawBufferPointer) {
    self.init(capacity: bytes.count)
    if let source = bytes.baseAddress { base.copyMemory(from: source, byteCount: bytes.count) }
    count = bytes.count
  }

  /// A copy of the bytes.
  public convenience init(_ bytes: [UInt8]) {
    self.init(capacity: bytes.count)
    bytes.withUnsafeBytes { source in
      if let address = source.baseAddress { base.copyMemory(from: address, byteCount: source.count) }
    }
    count = bytes.count
  }

  /// Valid while there is a reference to the buffer.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  deinit { base.deallocate() }
}
