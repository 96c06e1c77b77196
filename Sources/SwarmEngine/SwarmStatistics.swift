/// Counters and live numbers of a swarm (hyperswarm.md 13).
package struct SwarmStatistics: Hashable, Sendable {
  package struct Role: Hashable, Sendable {
    /// Dials handed to the DHT; always 0 for the server role.
    package var attempted: UInt64 = 0
    package var opened: UInt64 = 0
    /// Failed dials count too, so `opened - closed` is not the live number; `live…` below is.
    package var closed: UInt64 = 0
  }

  package var updates: UInt64 = 0
  package var client = Role()
  package var server = Role()
  package var bannedPeers: UInt64 = 0

  /// Incoming handshakes refused for a limit, and by the firewall without a ban.
  package var refusedByLimit: UInt64 = 0
  /// Idle incoming connections that gave way to another one at a limit.
  package var evictedByLimit: UInt64 = 0
  package var refusedByFirewall: UInt64 = 0
  /// Sightings dropped because `Limits.maxKnownPeers` are known.
  package var droppedSightings: UInt64 = 0
  /// Connections that gave way to another one of the same peer, and newcomers that were turned away.
  package var replacedConnections: UInt64 = 0
  package var refusedDuplicates: UInt64 = 0

  /// Live numbers, filled when read.
  package var liveClients = 0
  package var liveServers = 0
  package var connecting = 0
  package var queued = 0
  package var waiting = 0
  package var known = 0
  package var topics = 0

  /// Traffic of closed and live connections together.
  package var bytesTransmitted: UInt64 = 0
  package var bytesReceived: UInt64 = 0
  package var packetsTransmitted: UInt64 = 0
  package var packetsReceived: UInt64 = 0
  package var retransmissions: UInt64 = 0
  package var fastRecoveries: UInt64 = 0
  package var timeouts: UInt64 = 0
  /// Means over live connections; 0 without any.
  package var averageCongestionWindow: Double = 0
  package var averageMTU: Double = 0

  package init() {}
}

/// One exported gauge.
package struct SwarmMetric: Hashable, Sendable {
  package var name: String
  package var value: Double
}

extension SwarmStatistics {
  /// Under the names that dashboards of the deployed stack use.
  package var metrics: [SwarmMetric] {
    func metric(_ name: String, _ value: UInt64) -> SwarmMetric {
      SwarmMetric(name: "hyperswarm_" + name, value: Double(value))
    }
    return [
      metric("nr_peers", UInt64(known)),
      metric("client_connections_opened", client.opened),
      metric("client_connections_closed", client.closed),
      metric("client_connections_attempted", client.attempted),
      metric("server_connections_opened", server.opened),
      metric("server_connections_closed", server.closed),
      metric("total_bytes_transmitted_over_swarm_streams", bytesTransmitted),
      metric("total_bytes_received_over_swarm_streams", bytesReceived),
      metric("total_packets_transmitted_over_swarm_streams", packetsTransmitted),
      metric("total_packets_received_over_swarm_streams", packetsReceived),
      metric("total_retransmits_over_swarm_streams", retransmissions),
      metric("total_fast_recoveries_over_swarm_streams", fastRecoveries),
      metric("total_rto_count_over_swarm_streams", timeouts),
      SwarmMetric(name: "hyperswarm_avg_congestion_window", value: averageCongestionWindow),
      SwarmMetric(name: "hyperswarm_avg_mtu", value: averageMTU),
    ]
  }

  /// Prometheus text exposition: a TYPE line and a value line per gauge.
  package var metricsText: String {
    metrics.map { "# TYPE \($0.name) gauge\n\($0.name) \(Self.number($0.value))\n" }.joined()
  }

  /// One JSON object, names to numbers.
  package var metricsJSON: String {
    "{" + metrics.map { "\"\($0.name)\":\(Self.number($0.value))" }.joined(separator: ",") + "}"
  }

  private static func number(_ value: Double) -> String {
    value == value.rounded() && value.magnitude < 9_007_199_254_740_992 ? String(Int64(value)) : String(value)
  }
}
