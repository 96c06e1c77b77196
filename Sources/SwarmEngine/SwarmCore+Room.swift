import HyperEncoding
import HyperEnvironment

// Room for incoming connections at the limits that the application sets.
extension SwarmCore {
  /// Whether one more incoming connection fits. Explicit peers are exempt, their number is the application's.
  func hasRoom(isExplicit: Bool) -> Bool {
    isExplicit || serverCount < maxServerConnections && links.count < maxConnections
  }

  /// The incoming connection that gives way to one from `host`: the longest idle one of the host that has most of them.
  /// `nil` where none is idle, or where `host` would then have more of them than that host has.
  ///
  /// A search looks at all incoming connections. Its result stands for `Limits.roomInterval`, so that a flood of
  /// handshakes costs no more, and displaces no more than one connection in that time.
  func idleConnection(givingWayTo host: IPv4Address?) -> Link? {
    let now = environment.nowMilliseconds
    if now >= roomSearchAt {
      roomSearchAt = now &+ Limits.roomInterval
      roomSearch = searchForRoom(at: now)
    }
    guard let candidate = roomSearch.candidate, candidate.state == .open, !candidate.stream.isDestroying else {
      return nil
    }
    // The newcomer is counted: its host gets no more than the other one has.
    return roomSearch.counts[host, default: 0] < roomSearch.counts[candidate.stream.remoteHost, default: 0]
      ? candidate : nil
  }

  private func searchForRoom(at now: UInt64) -> RoomSearch {
    var search = RoomSearch()
    var idle: [Link] = []
    for link in links.values where !link.isInitiator && !link.peer.isExplicit && !link.stream.isDestroying {
      search.counts[link.stream.remoteHost, default: 0] += 1
      let bytes = link.stream.messageBytes
      if bytes != link.seenMessageBytes {
        link.seenMessageBytes = bytes
        link.activeAt = now
      }
      if now &- link.activeAt >= Limits.idleBeforeEviction { idle.append(link) }
    }
    search.candidate = idle.min { a, b in
      let (weightOfA, weightOfB) =
        (search.counts[a.stream.remoteHost, default: 0], search.counts[b.stream.remoteHost, default: 0])
      return weightOfA == weightOfB
        ? (a.activeAt, a.reportNumber) < (b.activeAt, b.reportNumber) : weightOfA > weightOfB
    }
    return search
  }
}
