import HyperDHTEngine
import HyperEnvironment
import HyperRPC
import HyperUDX

extension DHTNode {
  /// The gauges of the node, of its two sockets and of the transport that it lives on.
  package var metrics: [Metric] {
    networkMetrics + requestMetrics + connectionMetrics
      + UDXSocket.metrics("dht_server_socket", rpc.serverSocket as? UDXSocket)
      + UDXSocket.metrics("dht_client_socket", rpc.clientSocket as? UDXSocket)
      + ((environment as? UVEnvironment)?.instance.metrics ?? [])
  }

  private var networkMetrics: [Metric] {
    [
      Metric("dht_nr_nodes", rpc.nodeCount),
      Metric("dht_is_firewalled", rpc.isFirewalled),
      Metric("dht_is_online", rpc.isOnline),
      Metric("dht_is_ephemeral", rpc.isEphemeral),
      Metric("dht_is_degraded", rpc.isDegraded),
      Metric("dht_is_suspended", isSuspended),
    ]
  }

  private var requestMetrics: [Metric] {
    let requests = rpc.statistics
    var metrics = [
      Metric("dht_active_queries", requests.queriesActive),
      Metric("dht_total_queries", requests.queriesTotal),
      Metric("dht_active_requests", requests.requestsActive),
      Metric("dht_total_requests", requests.requestsTotal),
      Metric("dht_total_responses", requests.responses),
      Metric("dht_total_timeouts", requests.timeouts),
      Metric("dht_total_retransmissions", requests.retries),
    ]
    let commands = [
      ("ping", requests.ping), ("ping_nat", requests.pingNAT), ("find_node", requests.findNode),
      ("down_hint", requests.downHint),
    ]
    for (name, command) in commands {
      metrics.append(Metric("dht_\(name)_received", command.rx))
      metrics.append(Metric("dht_\(name)_transmitted", command.tx))
      metrics.append(Metric("dht_\(name)_served", command.served))
    }
    return metrics
  }

  private var connectionMetrics: [Metric] {
    [
      Metric("dht_consistent_punches", statistics.punches.consistent),
      Metric("dht_random_punches", statistics.punches.random),
      Metric("dht_open_punches", statistics.punches.open),
      Metric("dht_relay_attempts", statistics.relaying.attempts),
      Metric("dht_relay_successes", statistics.relaying.successes),
      Metric("dht_relay_aborts", statistics.relaying.aborts),
      Metric("dht_relay_refusals", statistics.relaying.refused),
      Metric("dht_relay_upgrades", statistics.relaying.upgrades),
      Metric("dht_connections_moved", statistics.migrations.moved),
      Metric("dht_streams", rawStreamCount),
      Metric("dht_servers", servers.count),
      Metric("dht_connects_started", statistics.connects.started),
      Metric("dht_connects_opened", statistics.connects.opened),
      Metric("dht_connects_failed", statistics.connects.failed),
      Metric("dht_handshakes_received", statistics.handshakes.received),
    ]
  }
}
