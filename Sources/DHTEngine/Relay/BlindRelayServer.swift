import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// Counters of a blind relay (hyperdht.md 10.5).
package struct BlindRelayStatistics: Hashable, Sendable {
  package var sessionsAccepted: UInt64 = 0
  package var sessionsRefused: UInt64 = 0
  package var sessionsClosed: UInt64 = 0
  package var pairingsRequested: UInt64 = 0
  package var pairingsMatched: UInt64 = 0
  /// Taken back by a side, or given up with its session.
  package var pairingsCancelled: UInt64 = 0
  /// The other side did not come in time.
  package var pairingsExpired: UInt64 = 0
  /// Above a bound.
  package var pairingsRefused: UInt64 = 0
  package var linksClosed: UInt64 = 0
  /// UDP payload received on links that have closed.
  package var bytesRelayed: UInt64 = 0

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
    package var pendingTokens = Limits.Relay.pendingTokens
    package var pendingTokensPerSession = Limits.Relay.pendingTokensPerSession
    package var links = Limits.Relay.links
    package var linksPerSession = Limits.Relay.linksPerSession

    package init() {}
  }

  package internal(set) var statistics = BlindRelayStatistics()
  let environment: any Environment
  let bounds: Bounds
  private let makeStream: () -> (any TransportStream)?
  private var sessions: [ObjectIdentifier: RelaySession] = [:]
  private var sessionsByKey: [Bytes32: Int] = [:]
  private var pending: [Bytes32: PendingPair] = [:]
  private(set) package var linkCount = 0
  private var isClosed = false

  /// - Parameter makeStream: a fresh unconnected transport stream on the sockets of the accepted connections; `nil` at
  ///   the bound on streams.
  package init(
    environment: any Environment, bounds: Bounds = Bounds(), makeStream: @escaping () -> (any TransportStream)?
  ) {
    self.environment = environment
    self.bounds = bounds
    self.makeStream = makeStream
  }

  package var sessionCount: Int { sessions.count }
  package var pendingCount: Int { pending.count }
  /// UDP payload relayed so far, living links included.
  package var bytesRelayed: UInt64 {
    var seen: Set<ObjectIdentifier> = []
    var sum = statistics.bytesRelayed
    for link in sessions.values.flatMap(\.links.values) where seen.insert(ObjectIdentifier(link)).inserted {
      sum &+= link.bytesReceived
    }
    return sum
  }

  /// Serves a connection, whose callbacks are taken over. Above the bounds it is destroyed.
  package func accept(_ stream: EncryptedStream) {
    guard !isClosed, let key = stream.remotePublicKey, sessions.count < bounds.sessions,
      sessionsByKey[key, default: 0] < bounds.sessionsPerKey
    else {
      statistics.sessionsRefused += 1
      return stream.destroy()
    }
    statistics.sessionsAccepted += 1
    let session = RelaySession(server: self, stream: stream, remoteKey: key)
    sessions[ObjectIdentifier(session)] = session
    sessionsByKey[key, default: 0] += 1
    session.start()
  }

  /// Ends all sessions; links go with them.
  package func close() {
    isClosed = true
    for session in Array(sessions.values) { session.end() }
  }

  func ended(_ session: RelaySession) {
    guard sessions.removeValue(forKey: ObjectIdentifier(session)) != nil else { return }
    statistics.sessionsClosed += 1
    let left = sessionsByKey[session.remoteKey, default: 1] - 1
    sessionsByKey[session.remoteKey] = left > 0 ? left : nil
  }

  // MARK: Pairing

  /// One side of a token that waits for the other.
  private final class PendingPair {
    var initiator: RelaySide?
    var follower: RelaySide?
    var expiry: (any ScheduledAction)?

    subscript(isInitiator: Bool) -> RelaySide? {
      get { isInitiator ? initiator : follower }
      set { if isInitiator { initiator = newValue } else { follower = newValue } }
    }
  }

  func pair(_ session: RelaySession, _ message: RelayPairMessage, streamID: UInt32) {
    let token = message.token
    let side = RelaySide(session: session, isInitiator: message.isInitiator, remoteID: streamID)
    let pair = pending[token] ?? PendingPair()
    // The first one that takes a side keeps it.
    guard pair[message.isInitiator] == nil else { return }
    guard let other = pair[!message.isInitiator] else { return wait(token, pair, side) }
    statistics.pairingsRequested += 1
    forget(token, pair)
    guard linkCount < bounds.links, session.links.count < bounds.linksPerSession,
      other.session.links.count < bounds.linksPerSession,
      let link = RelayLink(token: token, sides: (side, other), makeStream: makeStream)
    else {
      statistics.pairingsRefused += 1
      session.refuse(token)
      return other.session.refuse(token)
    }
    statistics.pairingsMatched += 1
    linkCount += 1
    link.onClose = { [weak self] in self?.closed($0) }
    for side in [side, other] {
      side.session.links[ObjectIdentifier(link)] = link
      side.session.answer(
        RelayPairMessage(isInitiator: side.isInitiator, token: token, id: UInt64(link.streamID(for: side))))
    }
  }

  private func wait(_ token: Bytes32, _ pair: PendingPair, _ side: RelaySide) {
    guard pending.count < bounds.pendingTokens, side.session.pendingTokens.count < bounds.pendingTokensPerSession
    else {
      statistics.pairingsRefused += 1
      return side.session.refuse(token)
    }
    statistics.pairingsRequested += 1
    pair[side.isInitiator] = side
    pending[token] = pair
    side.session.pendingTokens.insert(token)
    pair.expiry = environment.schedule(after: Limits.Relay.pendingToken) { [weak self, weak pair] in
      guard let self, let pair, pending[token] === pair else { return }
      statistics.pairingsExpired += 1
      forget(token, pair)
      side.session.refuse(token)
      side.session.becameIdle()
    }
  }

  private func forget(_ token: Bytes32, _ pair: PendingPair) {
    guard pending[token] === pair else { return }
    pending[token] = nil
    pair.expiry?.cancel()
    for side in [pair.initiator, pair.follower] { side?.session.pendingTokens.remove(token) }
  }

  /// A side takes a token back, or ends its link. A stranger that knows the token cannot.
  func unpair(_ session: RelaySession, _ token: Bytes32) {
    if let pair = pending[token], session.pendingTokens.contains(token) {
      statistics.pairingsCancelled += 1
      forget(token, pair)
    }
    for link in session.links.values.filter({ $0.token == token }) { link.close() }
    session.becameIdle()
  }

  func cancelAll(of session: RelaySession) {
    for token in session.pendingTokens {
      guard let pair = pending[token] else { continue }
      statistics.pairingsCancelled += 1
      forget(token, pair)
    }
    for link in Array(session.links.values) { link.close() }
  }

  private func closed(_ link: RelayLink) {
    linkCount -= 1
    statistics.linksClosed += 1
    statistics.bytesRelayed &+= link.bytesReceived
    for session in [link.sides.0.session, link.sides.1.session] {
      guard session.links.removeValue(forKey: ObjectIdentifier(link)) != nil else { continue }
      // The end of a link is silent on the transport; deployed end points ignore this.
      session.refuse(link.token)
      session.becameIdle()
    }
  }
}
