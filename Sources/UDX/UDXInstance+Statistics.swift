import CHyperUDX

/// Counters of a transport: all its sockets and streams together, also those that have closed.
public struct UDXStatistics: Hashable, Sendable {
  /// UDP payloads that were sent, bytes.
  public var bytesSent: UInt64 = 0
  /// UDP payloads that have arrived, bytes.
  public var bytesReceived: UInt64 = 0
  /// UDP packets that were sent.
  public var packetsSent: UInt64 = 0
  /// UDP packets that have arrived.
  public var packetsReceived: UInt64 = 0
  /// Packets that the system had no room for; `nil` where it does not tell, and before it has.
  public var packetsDroppedByKernel: UInt64?
  /// Packets with a malformed header, or one out of the window of its stream: dropped.
  public var packetsInvalid: UInt64 = 0
  /// Packets that carry an acknowledgement and nothing else.
  public var acknowledgementsSent: UInt64 = 0
  /// Packets that were sent again.
  public var retransmissions: UInt64 = 0
  /// Of these, needless as far as can be told.
  public var spuriousRetransmissions: UInt64 = 0
  /// Packets that left with others in one call of the system (UDP segmentation offload).
  public var packetsSegmented: UInt64 = 0
  /// Packets that came with others in one call of the system (UDP receive offload).
  public var packetsCoalesced: UInt64 = 0

  /// All zero.
  public init() {}
}

extension UDXInstance {
  /// The counters of the instance; also after its `close`.
  public var statistics: UDXStatistics {
    let counters = udx.pointee
    var result = UDXStatistics()
    result.bytesSent = counters.bytes_tx
    result.bytesReceived = counters.bytes_rx
    result.packetsSent = counters.packets_tx
    result.packetsReceived = counters.packets_rx
    result.packetsDroppedByKernel = UInt64(exactly: counters.packets_dropped_by_kernel)
    result.packetsInvalid = counters.packets_invalid
    result.acknowledgementsSent = counters.acks_tx
    result.retransmissions = counters.retransmits
    result.spuriousRetransmissions = counters.retransmits_spurious
    result.packetsSegmented = counters.gso_datagrams
    result.packetsCoalesced = counters.gro_datagrams
    return result
  }
}
