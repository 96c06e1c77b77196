import CHyperUDX
import HyperEnvironment

extension UDXInstance {
  /// The counters of the transport: what all sockets and streams of the instance have sent and received.
  package var metrics: [Metric] {
    let udx = udx.pointee
    var metrics = [
      Metric("udx_total_bytes_transmitted", udx.bytes_tx),
      Metric("udx_total_bytes_received", udx.bytes_rx),
      Metric("udx_total_packets_transmitted", udx.packets_tx),
      Metric("udx_total_packets_received", udx.packets_rx),
    ]
    // Not every system tells.
    if udx.packets_dropped_by_kernel >= 0 {
      metrics.append(Metric("udx_packets_dropped_total", UInt64(udx.packets_dropped_by_kernel)))
    }
    return metrics + [
      Metric("udx_packets_invalid", udx.packets_invalid),
      Metric("udx_acks_transmitted", udx.acks_tx),
      Metric("udx_retransmits", udx.retransmits),
      Metric("udx_retransmits_spurious", udx.retransmits_spurious),
      Metric("udx_transmit_calls", udx.transmit_calls),
      Metric("udx_gso_batches", udx.gso_batches),
      Metric("udx_gso_datagrams", udx.gso_datagrams),
      Metric("udx_gso_fallbacks", udx.gso_fallbacks),
      Metric("udx_gro_batches", udx.gro_batches),
      Metric("udx_gro_datagrams", udx.gro_datagrams),
    ]
  }
}

extension UDXSocket {
  /// What this socket has sent and received, streams included; zeros while it is not bound. `prefix` begins the names.
  package static func metrics(_ prefix: String, _ socket: UDXSocket?) -> [Metric] {
    let counters = socket?.handle?.pointee
    return [
      Metric("\(prefix)_bytes_transmitted", counters?.bytes_tx ?? 0),
      Metric("\(prefix)_bytes_received", counters?.bytes_rx ?? 0),
      Metric("\(prefix)_packets_transmitted", counters?.packets_tx ?? 0),
      Metric("\(prefix)_packets_received", counters?.packets_rx ?? 0),
    ]
  }
}
