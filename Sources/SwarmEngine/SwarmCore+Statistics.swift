import HyperEnvironment

extension SwarmCore {
  /// Counters, live numbers and traffic of this moment (hyperswarm.md 13).
  package var statistics: SwarmStatistics {
    var result = counters
    result.liveServers = serverCount
    result.liveClients = clientCount - diallingCount
    result.connecting = connecting
    result.queued = queue.count
    result.waiting = timers.count
    result.known = knownPeers.count
    result.topics = discoveries.count

    var traffic = closedTraffic
    var windows: UInt64 = 0
    var mtus: UInt64 = 0
    var count: UInt64 = 0
    for link in reported.values {
      guard let live = link.stream.transportStatistics else { continue }
      addTraffic(live, to: &traffic)
      windows += UInt64(live.congestionWindow)
      mtus += UInt64(live.mtu)
      count += 1
    }
    result.bytesTransmitted = traffic.bytesSent
    result.bytesReceived = traffic.bytesReceived
    result.packetsTransmitted = traffic.packetsSent
    result.packetsReceived = traffic.packetsReceived
    result.retransmissions = traffic.retransmissions
    result.fastRecoveries = traffic.fastRecoveries
    result.timeouts = traffic.timeouts
    if count > 0 {
      result.averageCongestionWindow = Double(windows) / Double(count)
      result.averageMTU = Double(mtus) / Double(count)
    }
    return result
  }

  func addTraffic(_ stream: TransportStatistics, to total: inout TransportStatistics) {
    total.bytesSent &+= stream.bytesSent
    total.bytesReceived &+= stream.bytesReceived
    total.packetsSent &+= stream.packetsSent
    total.packetsReceived &+= stream.packetsReceived
    total.retransmissions &+= stream.retransmissions
    total.fastRecoveries &+= stream.fastRecoveries
    total.timeouts &+= stream.timeouts
  }
}
