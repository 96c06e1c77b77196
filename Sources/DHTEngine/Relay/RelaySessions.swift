import HyperEncoding

/// The clients of a relay, and which of them makes room for another.
struct RelaySessions {
  /// A set of sessions that is full.
  enum Bound {
    case key(Bytes32)
    case host(IPv4Address)
    case all
  }

  private typealias Group = [ObjectIdentifier: RelaySession]

  private var sessions: Group = [:]
  private var byKey: [Bytes32: Group] = [:]
  private var byHost: [IPv4Address: Group] = [:]
  private var serials: [ObjectIdentifier: UInt64] = [:]
  private var serial: UInt64 = 0

  var count: Int { sessions.count }
  /// Oldest first.
  var all: [RelaySession] { sorted(sessions) }

  mutating func insert(_ session: RelaySession) {
    let id = ObjectIdentifier(session)
    serial += 1
    serials[id] = serial
    sessions[id] = session
    byKey[session.remoteKey, default: [:]][id] = session
    byHost[session.host, default: [:]][id] = session
  }

  /// False when it is not there.
  mutating func remove(_ session: RelaySession) -> Bool {
    let id = ObjectIdentifier(session)
    guard sessions.removeValue(forKey: id) != nil else { return false }
    serials[id] = nil
    byKey[session.remoteKey]?[id] = nil
    if byKey[session.remoteKey]?.isEmpty == true { byKey[session.remoteKey] = nil }
    byHost[session.host]?[id] = nil
    if byHost[session.host]?.isEmpty == true { byHost[session.host] = nil }
    return true
  }

  /// The bound that keeps a newcomer out.
  func bound(for session: RelaySession, _ bounds: BlindRelayServer.Bounds) -> Bound? {
    if byKey[session.remoteKey, default: [:]].count >= bounds.sessionsPerKey { return .key(session.remoteKey) }
    if byHost[session.host, default: [:]].count >= bounds.sessionsPerHost { return .host(session.host) }
    return sessions.count >= bounds.sessions ? .all : nil
  }

  /// The session that makes room: without a link, of the host with most sessions; rather one that waits for nothing,
  /// and of these the oldest.
  func idle(in bound: Bound) -> RelaySession? {
    switch bound {
    case .key(let key): return idle(byKey[key, default: [:]])
    case .host(let host): return idle(byHost[host, default: [:]])
    case .all:
      for (_, group) in byHost.sorted(by: { ($0.value.count, $1.key) > ($1.value.count, $0.key) }) {
        if let session = idle(group) { return session }
      }
      return nil
    }
  }

  private func idle(_ group: Group) -> RelaySession? {
    let unlinked = sorted(group).filter(\.links.isEmpty)
    return unlinked.first(where: \.pendingTokens.isEmpty) ?? unlinked.first
  }

  private func sorted(_ group: Group) -> [RelaySession] {
    group.sorted { serials[$0.key, default: 0] < serials[$1.key, default: 0] }.map(\.value)
  }
}
