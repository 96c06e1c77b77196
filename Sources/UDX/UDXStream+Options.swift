import CHyperUDX
import CHyperUV
import HyperEnvironment

/// How a stream decides how fast it may send.
public enum UDXCongestionControl: Hashable, Sendable {
  /// By the rate and the round-trip time that the path shows, as the deployed transport does.
  case bbr
  /// By losses (RFC 9438).
  case cubic
}

/// Settings of a stream that both sides, or the path, ask for (udx.md 3.1, 4.1, 4.7).
public struct UDXStreamOptions: Hashable, Sendable {
  /// How fast it sends.
  public var congestionControl: UDXCongestionControl = .bbr
  /// Bytes that the peer may send ahead of the reader; `nil` is 4 MiB. With less than 1,500 it sends nothing but
  /// probes.
  public var receiveWindow: UInt32?
  /// The number of this side's first packet, which goes on behind `UInt32.max` with 0: the peer's `firstExpected`.
  public var firstSequence: UInt32 = 0
  /// The number of the peer's first packet: the peer's `firstSequence`.
  public var firstExpected: UInt32 = 0

  /// The settings of a stream that is given none.
  public init() {}
}

extension UDXStream {
  /// Applies the settings, before `connect` and the first write.
  /// - Throws: `EINVAL` when the stream is gone, or was born dead; `EBUSY` when something was sent or has arrived.
  public func apply(_ options: UDXStreamOptions) throws(TransportError) {
    if options.congestionControl != .bbr { try setCongestionControl(options.congestionControl) }
    if let window = options.receiveWindow { try setReceiveWindow(window) }
    guard let handle else { throw .invalid }
    if options.firstSequence != 0 { try check(udx_stream_set_seq(handle, options.firstSequence)) }
    if options.firstExpected != 0 { try check(udx_stream_set_ack(handle, options.firstExpected)) }
  }

  /// Chooses the controller, which begins with what it takes a new path for.
  /// - Throws: `EBUSY` while something that was sent is not acknowledged; `EINVAL` when the stream is gone.
  public func setCongestionControl(_ control: UDXCongestionControl) throws(TransportError) {
    guard let handle else { throw .invalid }
    try check(udx_stream_set_congestion(handle, control == .cubic ? UDX_CONGESTION_CUBIC : UDX_CONGESTION_BBR))
  }

  /// Bytes that the peer may send ahead of the reader; `nil` when the stream is gone.
  public var receiveWindow: UInt32? { number { udx_stream_get_rwnd_max($0, $1) } }

  /// Sets `receiveWindow`. What the peer was told before it may still send; it hears of the new one with the next
  /// packet that this side sends.
  /// - Throws: `EINVAL` when the stream is gone.
  public func setReceiveWindow(_ bytes: UInt32) throws(TransportError) {
    guard let handle else { throw .invalid }
    try check(udx_stream_set_rwnd_max(handle, bytes))
  }

  /// Bytes that the peer's last packet offered to take, 4 MiB before the first; `nil` when the stream is gone.
  public var sendWindow: UInt32? { handle?.pointee.send_rwnd }

  /// The number of the next packet; `nil` when the stream is gone.
  public var sequence: UInt32? { number { udx_stream_get_seq($0, $1) } }

  /// The number of the peer's packet that is expected next; `nil` when the stream is gone.
  public var expectedSequence: UInt32? { number { udx_stream_get_ack($0, $1) } }

  /// Bytes a second that the path has carried lately, as the controller estimates, 0 before it has; `nil` when the
  /// stream is gone.
  public var bandwidth: UInt64? { number { udx_stream_get_bw($0, $1) } }

  /// The shortest round trip of the path in five minutes, rounded up to milliseconds; `nil` before the first, and when
  /// the stream is gone.
  public var minimumRoundTripTime: Duration? {
    let milliseconds: UInt32? = number { udx_stream_get_min_rtt($0, $1) }
    guard let milliseconds, milliseconds != .max else { return nil }
    return .milliseconds(Int64(milliseconds))
  }

  private func number<T: FixedWidthInteger>(
    _ ask: (UnsafeMutablePointer<udx_stream_t>, UnsafeMutablePointer<T>) -> Int32
  ) -> T? {
    guard let handle else { return nil }
    var value: T = 0
    return ask(handle, &value) == 0 ? value : nil
  }

  private func check(_ result: Int32) throws(TransportError) {
    if result < 0 { throw TransportError(uv: result) }
  }
}
