import HyperEnvironment

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

extension SwarmStatistics {
  /// Under the names that dashboards of the deployed stack use.
  package var metrics: [Metric] {
    func metric(_ name: String, _ value: UInt64) -> Metric { Metric("hyperswarm_" + name, value) }
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
      Metric("hyperswarm_avg_congestion_window", averageCongestionWindow),
      Metric("hyperswarm_avg_mtu", averageMTU),
    ]
  }

  /// Those that the deployed stack does not have.
  package var ownMetrics: [Metric] {
    [
      Metric("hyperswarm_client_connections", liveClients),
      Metric("hyperswarm_server_connections", liveServers),
      Metric("hyperswarm_connecting", connecting),
      Metric("hyperswarm_queued_peers", queued),
      Metric("hyperswarm_waiting_peers", waiting),
      Metric("hyperswarm_topics", topics),
      Metric("hyperswarm_banned_peers", bannedPeers),
      Metric("hyperswarm_refused_by_limit", refusedByLimit),
      Metric("hyperswarm_refused_by_firewall", refusedByFirewall),
      Metric("hyperswarm_evicted_by_limit", evictedByLimit),
      Metric("hyperswarm_replaced_connections", replacedConnections),
      Metric("hyperswarm_dropped_sightings", droppedSightings),
    ]
  }

  /// One JSON object, names to numbers.
  package var metricsJSON: String {
    "{" + metrics.map { "\"\($0.name)\":\($0.number)" }.joined(separator: ",") + "}"
  }
}
