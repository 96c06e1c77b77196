import CHyperUDX

extension UDXInstance {
  /// What all sockets and streams of the instance have done together, closed ones included, under the names that
  /// dashboards of the deployed stack use, and further ones beside them. What the system does not count is left out.
  package var counters: [(name: String, value: UInt64)] {
    let counts = udx.pointee
    var counters: [(name: String, value: UInt64)] = [
      ("udx_total_bytes_transmitted", counts.bytes_tx), ("udx_total_packets_transmitted", counts.packets_tx),
      ("udx_total_bytes_received", counts.bytes_rx), ("udx_total_packets_received", counts.packets_rx),
      ("udx_acknowledgements_transmitted_total", counts.acks_tx), ("udx_transmit_calls_total", counts.transmit_calls),
      ("udx_invalid_packets_total", counts.packets_invalid), ("udx_retransmissions_total", counts.retransmits),
      ("udx_spurious_retransmissions_total", counts.retransmits_spurious),
    ]
    if let dropped = UInt64(exactly: counts.packets_dropped_by_kernel) {
      counters.append(("udx_packets_dropped", dropped))
    }
    return counters
  }
}
