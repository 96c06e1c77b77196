import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// Counters of a blind relay (hyperdht.md 10.5).
package struct BlindRelayStatistics: Hashable, Sendable {
  package var sessionsAccepted: UInt64 = 0
  package var sessionsRefused: UInt64 = 0
  /// Without a link, ended to make room for another client.
  package var sessionsEvicted: UInt64 = 0
  package var sessionsClosed: UInt64 = 0
  package var pairingsRequested: UInt64 = 0
  package var pairingsMatched: UInt64 = 0
  /// Taken back by a side, or given up with its session.
  package var pairingsCancelled: UInt64 = 0
  /// The other side did not come in time.
  package var pairingsExpired: UInt64 = 0
  /// Given up to make room for another token.
  package var pairingsEvicted: UInt64 = 0
  /// Above the bound on links, or where no token may wait.
  package var pairingsRefused: UInt64 = 0
  package var linksClosed: UInt64 = 0
  /// UDP payload received on links that have closed.
  package var bytesRelayed: UInt64 = 0
  /// Above a quota of a link that has closed.
  package var packetsDropped: UInt64 = 0

  package init() {}
}

/// The relay of a blind relay: pairs the streams of two clients that name the same token and forwards their packets,
/// which it cannot read (hyperdht.md 10.5).
///
/// Works on encrypted connections that its owner has accepted. Loop-confined.
package final class BlindRelayServer {
  package struct Bounds: Hashable, Sendable {
    package var sessions = Limits.Relay.sessions
    package var sessionsPerKey = Limits.Relay.sessionsPerKey
    package var sessionsPerHost = Limits.Relay.sessionsPerHost
    package var pendingTokens = Limits.Relay.pendingTokens
    package var pendingTokensPerSession = Limits.Relay.pendingTokensPerSession
    package var pendingTokensPerHost = Limits.Relay.pendingTokensPerHost
    package var links = Limits.Relay.links
    package var linksPerSession = Limits.Relay.linksPerSession
    /// Bytes a second of one link, both directions together, and of all links.
    package var linkBytesPerSecond = Limits.Relay.linkBytesPerSecond
    package var bytesPerSecond = Limits.Relay.bytesPerSecond
    /// Bytes of one link in all; 0 for no bound.
    package var linkBytes: UInt64 = 0

    package init() {}
  }

  package internal(set) var statistics = BlindRelayStatistics()
  let environment: any Environment
  let bounds: Bounds
  private let makeStream: () -> (any TransportStream)?
  private let sharedQuota: RelayQuota
  private var sessions = RelaySessions()
  private var pending = PendingTokens()
  private(set) package var linkCount = 0
  /// Those with a side at this host.
  private var linksByHost: [IPv4Address: Int] = [:]
  /// Sessions with links, which never make room, in all and of each host.
  private(set) var linkedSessions = 0
  private var linkedSessionsByHost: [IPv4Address: Int] = [:]
  private var isClosed = false

  /// - Parameter makeStream: a fresh unconnected transport stream on the sockets of the accepted connections; `nil` at
  ///   the bound on streams.
  package init(
    environment: any Environment, bounds: Bounds = Bounds(), makeStream: @escaping () -> (any TransportStream)?
  ) {
    self.environment = environment
    self.bounds = bounds
    self.makeStream = makeStream
    sharedQuota = BlindRelayServer.quota(bounds.bytesPerSecond)
  }

  package var sessionCount: Int { sessions.count }
  package var pendingCount: Int { pending.count }
  /// UDP payload relayed so far, living links included.
  package var bytesRelayed: UInt64 {
    liveLinks.reduce(statistics.bytesRelayed) { $0 &+ $1.bytesReceived }
  }

  private var liveLinks: [RelayLink] {
    var seen: Set<ObjectIdentifier> = []
    return sessions.all.flatMap(\.links.values).filter { seen.insert(ObjectIdentifier($0)).inserted }
  }

  /// Packets that went over a quota so far.
  package var packetsDropped: UInt64 {
    liveLinks.reduce(statistics.packetsDropped &+ sharedQuota.packetsDropped) { $0 &+ $1.packetsDropped }
  }

  /// As much at once as in a part of a second: a link that was quiet may send a window.
  private static func quota(_ bytesPerSecond: UInt64) -> RelayQuota {
    RelayQuota(bytesPerSecond: bytesPerSecond, burst: max(bytesPerSecond / Limits.Relay.quotaBurstPart, 1 << 16))
  }

  private func makeQuotas() -> [RelayQuota] {
    let rate = BlindRelayServer.quota(bounds.linkBytesPerSecond)
    return bounds.linkBytes == 0 ? [rate] : [rate, RelayQuota(bytesPerSecond: 0, burst: bounds.linkBytes)]
  }

  /// Serves a connection, whose callbacks are taken over. At a bound a session without a link makes room; while all
  /// have links the newcomer is destroyed.
  package func accept(_ stream: EncryptedStream) {
    guard !isClosed, let key = stream.remotePublicKey else { return refuse(stream) }
    let session = RelaySession(server: self, stream: stream, remoteKey: key)
    while let bound = sessions.bound(for: session, bounds) {
      guard let victim = sessions.idle(in: bound) else { return refuse(stream) }
      statistics.sessionsEvicted += 1
      victim.evict()
    }
    statistics.sessionsAccepted += 1
    sessions.insert(session)
    session.start()
  }

  private func refuse(_ stream: EncryptedStream) {
    statistics.sessionsRefused += 1
    stream.destroy()
  }

  /// Ends all sessions; links go with them.
  package func close() {
    isClosed = true
    for session in sessions.all { session.end() }
  }

  func ended(_ session: RelaySession) {
    if sessions.remove(session) { statistics.sessionsClosed += 1 }
  }

  // MARK: Pairing

  func pair(_ session: RelaySession, _ message: RelayPairMessage, streamID: UInt32) {
    let token = message.token
    let side = RelaySide(session: session, isInitiator: message.isInitiator, remoteID: streamID)
    guard let pair = pending[token] else { return wait(token, side) }
    let other = pair.side
    // The first one that takes a side keeps it.
    guard other.isInitiator != side.isInitiator else { return }
    statistics.pairingsRequested += 1
    pending.remove(pair)
    guard mayLink(session, other.session),
      let link = RelayLink(
        token: token, sides: (side, other), quotas: makeQuotas(), sharedQuotas: [sharedQuota], makeStream: makeStream)
    else {
      statistics.pairingsRefused += 1
      session.refuse(token)
      return other.session.refuse(token)
    }
    statistics.pairingsMatched += 1
    linkCount += 1
    for host in link.hosts { linksByHost[host, default: 0] += 1 }
    link.onClose = { [weak self] in self?.closed($0) }
    for side in [side, other] {
      if side.session.links.isEmpty { countLinked(side.session, 1) }
      side.session.links[ObjectIdentifier(link)] = link
      side.session.answer(
        RelayPairMessage(isInitiator: side.isInitiator, token: token, id: UInt64(link.streamID(for: side))))
    }
  }

  private func countLinked(_ session: RelaySession, _ change: Int) {
    linkedSessions += change
    let count = linkedSessionsByHost[session.host, default: 0] + change
    linkedSessionsByHost[session.host] = count > 0 ? count : nil
  }

  /// A link that works is never ended for another one, nor a session that has one, so the bounds are for new ones: of
  /// what is left, one host may have so many times as much (``Limits/Relay/linkShare``), and with few links it is
  /// refused last.
  private func mayLink(_ session: RelaySession, _ other: RelaySession) -> Bool {
    let left = bounds.links - linkCount
    guard left > 0, session.links.count < bounds.linksPerSession, other.links.count < bounds.linksPerSession else {
      return false
    }
    guard
      Set([session.host, other.host]).allSatisfy({
        linksByHost[$0, default: 0] < Limits.Relay.linkShare * left
      })
    else { return false }
    let newcomers = (session === other ? [session] : [session, other]).filter(\.links.isEmpty)
    let sessionsLeft = bounds.sessions - linkedSessions - newcomers.count
    return newcomers.allSatisfy {
      linkedSessionsByHost[$0.host, default: 0] <= Limits.Relay.linkShare * sessionsLeft
    }
  }

  private func wait(_ token: Bytes32, _ side: RelaySide) {
    statistics.pairingsRequested += 1
    while !pending.hasRoom(for: side.session, bounds) {
      guard let victim = pending.victim(for: side.session, bounds) else {
        statistics.pairingsRefused += 1
        return side.session.refuse(token)
      }
      statistics.pairingsEvicted += 1
      giveUp(victim)
    }
    let pair = pending.insert(token, side)
    pair.expiry = environment.schedule(after: Limits.Relay.pendingToken) { [weak self, weak pair] in
      guard let self, let pair, pending[token] === pair else { return }
      statistics.pairingsExpired += 1
      giveUp(pair)
    }
  }

  private func giveUp(_ pair: PendingPair) {
    pending.remove(pair)
    pair.side.session.refuse(pair.token)
    pair.side.session.becameIdle()
  }

  /// A side takes a token back, or ends its link. A stranger that knows the token cannot.
  func unpair(_ session: RelaySession, _ token: Bytes32) {
    if let pair = pending[token], session.pendingTokens.contains(token) {
      statistics.pairingsCancelled += 1
      pending.remove(pair)
    }
    for link in session.links.values.filter({ $0.token == token }) { link.close() }
    session.becameIdle()
  }

  func cancelAll(of session: RelaySession) {
    for pair in session.pendingTokens.tokens.compactMap({ pending[$0] }) {
      statistics.pairingsCancelled += 1
      pending.remove(pair)
    }
    for link in Array(session.links.values) { link.close() }
  }

  private func closed(_ link: RelayLink) {
    linkCount -= 1
    for host in link.hosts {
      let count = linksByHost[host, default: 1] - 1
      linksByHost[host] = count > 0 ? count : nil
    }
    statistics.linksClosed += 1
    statistics.bytesRelayed &+= link.bytesReceived
    statistics.packetsDropped &+= link.packetsDropped
    for session in [link.sides.0.session, link.sides.1.session] {
      guard session.links.removeValue(forKey: ObjectIdentifier(link)) != nil else { continue }
      if session.links.isEmpty { countLinked(session, -1) }
      // The end of a link is silent on the transport; deployed end points ignore this.
      session.refuse(link.token)
      session.becameIdle()
    }
  }
}
