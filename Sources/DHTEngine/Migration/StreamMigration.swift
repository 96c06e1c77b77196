import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// The other end of a stream that can move.
struct MovablePeer {
  /// Ours.
  var keyPair: KeyPair
  var keys: SessionKeys
  /// Its transport stream.
  var remoteID: UInt32
  /// The stream begins on a relay, whose affair its path is.
  var isRelayed: Bool
  /// That the stream was made by, if it is not the network's own.
  var handshake: HandshakeHook?
}

/// Keeps one stream alive while an address of either side changes (hyperdht-extensions.md 2).
///
/// The side that has moved says so from its new path; the other one sends nothing there before the new address has
/// shown that it receives. Both directions are authenticated with keys of the handshake. Held by the node's
/// `Migrations` until the stream closes.
final class StreamMigration {
  /// A path to try beside the one in use.
  struct Route {
    var socket: any DatagramSocket
    var remote: Endpoint
  }

  /// A MOVE that may still be answered.
  fileprivate struct Sent {
    var counter: UInt64
    var nonce: UInt64
    var route: Route
  }

  /// An address that is asked to show that it receives.
  fileprivate struct Pending {
    var counter: UInt64
    var moveNonce: UInt64
    var nonce: UInt64
    var route: Route
    var since: UInt64
  }

  enum Reason {
    /// Our way into the network is another one.
    case networkChanged
    /// Packets stay unanswered.
    case silence
    /// The stream runs over a relay, and there may be a direct path.
    case directPath
  }

  /// This side asks for a move: why, and how far it is.
  private final class Attempt {
    let reason: Reason
    var startedAt: UInt64
    let receivedBefore: UInt64
    var interval = Limits.Migration.firstInterval
    /// The stream runs over the new path; the peer has not said that it does, too.
    var isAdopted = false
    /// The peer does not know the stream, or there is no way to it.
    var isHopeless = false
    var timer: (any ScheduledAction)?
    var rendezvous: Rendezvous?
    var rendezvousTimer: (any ScheduledAction)?
    /// What the rendezvous has found.
    var found: Route?
    /// What is tried beside the relay.
    var beside: [Route] = []

    init(_ reason: Reason, startedAt: UInt64, receivedBefore: UInt64) {
      self.reason = reason
      self.startedAt = startedAt
      self.receivedBefore = receivedBefore
    }
  }

  /// What both sides have said to each other of moves: few streams ever do.
  final class Dealings {
    let sendKey: Bytes32
    let receiveKey: Bytes32
    fileprivate var counter: UInt64 = 0
    fileprivate var sent: [Sent] = []
    fileprivate var highestCounter: UInt64 = 0
    fileprivate var pending: Pending?
    fileprivate var answers: TokenBucket
    fileprivate var movedAt: UInt64?

    init(_ keys: SessionKeys, now: UInt64) {
      sendKey = keys.migrationSendKey
      receiveKey = keys.migrationReceiveKey
      answers = TokenBucket(
        Rate(burst: Limits.Migration.answerBurst, perSecond: Limits.Migration.answersPerSecond), now: now)
    }
  }

  /// What the layers above hear: few streams have any, those over a relay and those that are led to another path.
  struct Hooks {
    /// The peer has shown that it receives there, and our packets go there now.
    var onTaken: ((Route) -> Void)?
    /// The stream runs over a relay, and nothing comes over it any more.
    var onRelaySilent: (() -> Void)?
    /// Set while the stream runs over a relay: the peer has proved that it is at the far end of this direct path, which
    /// the stream takes now; `false`: it cannot.
    var onProven: ((Route) -> Bool)?
    /// The peer has not answered over any of the direct paths beside the relay.
    var onUnanswered: (() -> Void)?
    /// For a rendezvous, where it is not the network's own.
    var handshake: HandshakeHook?
  }

  private final class HookBox { var hooks = Hooks() }

  let raw: any TransportStream
  let remotePublicKey: Bytes32
  let remoteID: UInt32
  let keyPair: KeyPair
  var isRelayed: Bool
  var hooks: Hooks {
    get { hookBox?.hooks ?? Hooks() }
    set {
      if hookBox == nil { hookBox = HookBox() }
      hookBox?.hooks = newValue
    }
  }
  private var hookBox: HookBox?

  private unowned let node: DHTNode
  private weak var stream: EncryptedStream?
  private let isInitiator: Bool
  private var attempt: Attempt?
  private var existingDealings: Dealings?

  // Silence, as the last look saw it.
  private var receivedAtLook: UInt64 = 0
  private var wasWaiting = false
  private var silentLooks = 0

  init(node: DHTNode, raw: any TransportStream, stream: EncryptedStream, peer: MovablePeer) {
    self.node = node
    self.raw = raw
    self.stream = stream
    remoteID = peer.remoteID
    keyPair = peer.keyPair
    isRelayed = peer.isRelayed
    isInitiator = peer.keys.isInitiator
    remotePublicKey = peer.keys.remotePublicKey
    if let handshake = peer.handshake { hooks.handshake = handshake }
    stream.isMoving = { [weak self] in self?.isMoving ?? false }
  }

  private var environment: any Environment { node.environment }
  /// `nil` when the stream has closed.
  var dealings: Dealings? {
    if existingDealings == nil, let keys = stream?.sessionKeys {
      existingDealings = Dealings(keys, now: environment.nowMilliseconds)
    }
    return existingDealings
  }
  private var isUsable: Bool { isReachable && !isRelayed }
  private var isReachable: Bool { !raw.isClosed && raw.remote != nil }

  /// A move is under way that may still succeed, or has just done so.
  var isMoving: Bool {
    if let attempt, !attempt.isHopeless, attempt.reason != .directPath { return true }
    return existingDealings?.movedAt.map { environment.nowMilliseconds - $0 < Limits.Migration.settling } ?? false
  }

  func close() {
    endAttempt()
    existingDealings = nil
    hookBox = nil
  }

  // MARK: Moving

  func begin(_ reason: Reason) {
    guard isUsable else { return }
    endAttempt()
    let attempt = Attempt(
      reason, startedAt: environment.nowMilliseconds, receivedBefore: raw.statistics.packetsReceived)
    self.attempt = attempt
    sendMove()
    scheduleRendezvous(
      attempt,
      after: reason == .silence ? Limits.Migration.silentRendezvousDelay : Limits.Migration.rendezvousDelay)
  }

  /// Learns whether the path works, unless that is under way.
  func probe() {
    if attempt == nil { begin(.silence) }
  }

  /// Asks the peer over a direct path, which the stream takes once it has answered.
  func tryBesideRelay(_ route: Route) {
    guard isReachable, isRelayed else { return }
    let attempt =
      self.attempt
      ?? Attempt(
        .directPath, startedAt: environment.nowMilliseconds, receivedBefore: raw.statistics.packetsReceived)
    self.attempt = attempt
    attempt.beside.append(route)
    attempt.startedAt = environment.nowMilliseconds
    attempt.interval = Limits.Migration.firstInterval
    sendMove()
  }

  private func endAttempt() {
    guard let attempt else { return }
    self.attempt = nil
    attempt.timer?.cancel()
    attempt.rendezvousTimer?.cancel()
    attempt.rendezvous?.end()
    attempt.rendezvous = nil
  }

  private func sendMove() {
    guard let attempt else { return }
    guard isReachable, environment.nowMilliseconds - attempt.startedAt < Limits.Migration.giveUp else {
      endAttempt()
      if isRelayed { hooks.onUnanswered?() }
      return
    }
    if isRelayed {
      for route in attempt.beside { sendMove(over: route) }
    } else if let socket = raw.socket, let remote = raw.remote {
      sendMove(over: Route(socket: socket, remote: remote))
    }
    if let found = attempt.found, !isInUse(found) { sendMove(over: found) }
    attempt.timer?.cancel()
    attempt.timer = environment.schedule(after: attempt.interval) { [weak self] in self?.sendMove() }
    attempt.interval = min(2 * attempt.interval, Limits.Migration.longestInterval)
  }

  private func sendMove(over route: Route) {
    guard let dealings else { return }
    dealings.counter += 1
    let move = Sent(counter: dealings.counter, nonce: randomNonce(), route: route)
    dealings.sent.append(move)
    if dealings.sent.count > Limits.Migration.unansweredMoves { dealings.sent.removeFirst() }
    send(.move, counter: move.counter, moveNonce: move.nonce, over: route)
    node.statistics.migrations.movesSent += 1
  }

  private func randomNonce() -> UInt64 { UInt64(environment.randomUInt32()) << 32 | UInt64(environment.randomUInt32()) }

  private func send(
    _ kind: MigrationMessage.Kind, counter: UInt64, moveNonce: UInt64, challengeNonce: UInt64 = 0, over route: Route
  ) {
    guard let dealings else { return }
    let message = MigrationMessage(
      kind: kind, streamID: remoteID, counter: counter, moveNonce: moveNonce, challengeNonce: challengeNonce)
    route.socket.send(message.sealed(dealings.sendKey), to: route.remote)
  }

  /// The peer receives at the far end of this route: the nonce that went there has come back. The peer takes the route
  /// that it was asked over last, so a later one replaces an earlier one.
  private func adopt(_ route: Route) {
    guard let attempt, isRelayed || !attempt.isAdopted || !isInUse(route), take(route) else { return }
    attempt.isAdopted = true
  }

  private func take(_ route: Route) -> Bool {
    if isRelayed { return hooks.onProven?(route) ?? false }
    do throws(TransportError) {
      try raw.migrate(socket: route.socket, to: route.remote)
    } catch {
      return false
    }
    changed(to: route.remote)
    return true
  }

  private func changed(to remote: Endpoint) {
    node.statistics.migrations.moved += 1
    dealings?.movedAt = environment.nowMilliseconds
    stream?.pathChanged(to: remote)
  }

  // MARK: Rendezvous

  private func scheduleRendezvous(_ attempt: Attempt, after milliseconds: UInt64) {
    attempt.rendezvousTimer = environment.schedule(after: milliseconds) { [weak self, weak attempt] in
      self?.node.migrations.whenRendezvousIsFree { [weak self, weak attempt] in
        guard let self, let attempt, attempt === self.attempt, isUsable, !attempt.isAdopted else { return }
        startRendezvous(attempt)
      }
    }
  }

  private func startRendezvous(_ attempt: Attempt) {
    let rendezvous = Rendezvous(node: node, migration: self)
    attempt.rendezvous = rendezvous
    rendezvous.onRoute = { [weak self, weak attempt] route in
      guard let self, let attempt, attempt === self.attempt else { return }
      attempt.found = route
      attempt.interval = Limits.Migration.firstInterval
      sendMove()
    }
    rendezvous.onOutcome = { [weak self, weak attempt] outcome in
      guard let self, let attempt, attempt === self.attempt else { return }
      attempt.rendezvous = nil
      attempt.found = nil
      if outcome == .failed { attempt.isHopeless = true } else { retryRendezvous(attempt) }
    }
    rendezvous.start()
  }

  private func retryRendezvous(_ attempt: Attempt) {
    let pause =
      attempt.reason == .silence ? Limits.Migration.silentRendezvousPause : Limits.Migration.rendezvousPause
    scheduleRendezvous(attempt, after: pause)
  }

  /// The peer looks for us. While both do it is the side that dialled that goes on, unless nothing has answered it.
  func yields() -> Bool {
    guard let attempt, let rendezvous = attempt.rendezvous else { return true }
    let age = environment.nowMilliseconds - rendezvous.startedAt
    if isInitiator, rendezvous.isAnswered || age < Limits.Migration.rendezvousPriority { return false }
    rendezvous.end()
    attempt.rendezvous = nil
    attempt.found = nil
    retryRendezvous(attempt)
    return true
  }

  // MARK: Receiving

  /// From the node; the source's budget is charged already.
  func receive(_ bytes: UnsafeRawBufferPointer, from source: Endpoint, on socket: any DatagramSocket) {
    guard isReachable, let dealings, let message = MigrationMessage(bytes, key: dealings.receiveKey) else {
      node.statistics.migrations.refused += 1
      return
    }
    let route = Route(socket: socket, remote: source)
    switch message.kind {
    case .move: receiveMove(message, route, dealings)
    case .challenge: receiveChallenge(message, dealings)
    case .response: receiveResponse(message, route, dealings)
    case .moved: receiveMoved(message, dealings)
    }
  }

  private func isInUse(_ route: Route) -> Bool { raw.socket === route.socket && raw.remote == route.remote }

  private func receiveMove(_ move: MigrationMessage, _ route: Route, _ dealings: Dealings) {
    let now = environment.nowMilliseconds
    guard move.counter > dealings.highestCounter, move.challengeNonce == 0, dealings.answers.take(now: now) else {
      node.statistics.migrations.refused += 1
      return
    }
    dealings.highestCounter = move.counter
    if isInUse(route) {
      // Nothing has changed for us: the address is the one that we send to.
      dealings.pending = nil
      restartIfSilent()
      return send(.moved, counter: move.counter, moveNonce: move.moveNonce, over: route)
    }
    let nonce = max(randomNonce(), 1)
    dealings.pending = Pending(
      counter: move.counter, moveNonce: move.moveNonce, nonce: nonce, route: route, since: now)
    send(.challenge, counter: move.counter, moveNonce: move.moveNonce, challengeNonce: nonce, over: route)
  }

  private func receiveChallenge(_ challenge: MigrationMessage, _ dealings: Dealings) {
    guard let move = dealings.sent.first(where: { $0.counter == challenge.counter && $0.nonce == challenge.moveNonce }),
      attempt != nil
    else {
      node.statistics.migrations.refused += 1
      return
    }
    // The answer goes where the MOVE went, which has been proved to arrive there, wherever this one came from.
    send(
      .response, counter: move.counter, moveNonce: move.nonce, challengeNonce: challenge.challengeNonce,
      over: move.route)
    adopt(move.route)
  }

  private func receiveResponse(_ response: MigrationMessage, _ route: Route, _ dealings: Dealings) {
    guard let pending = dealings.pending, response.counter == pending.counter, response.moveNonce == pending.moveNonce,
      response.challengeNonce == pending.nonce, route.remote == pending.route.remote,
      route.socket === pending.route.socket,
      environment.nowMilliseconds - pending.since <= Limits.Migration.challengeLifetime
    else {
      node.statistics.migrations.refused += 1
      return
    }
    dealings.pending = nil
    guard take(route) else { return }
    send(
      .moved, counter: response.counter, moveNonce: response.moveNonce, challengeNonce: response.challengeNonce,
      over: route)
    // The peer is found: what we have begun ourselves is of no use any more.
    endAttempt()
    let report = hooks.onTaken
    if report != nil { hooks.onTaken = nil }
    report?(route)
  }

  private func receiveMoved(_ moved: MigrationMessage, _ dealings: Dealings) {
    guard let move = dealings.sent.first(where: { $0.counter == moved.counter && $0.nonce == moved.moveNonce }),
      let attempt
    else { return }
    if attempt.isAdopted || !isInUse(move.route) {
      adopt(move.route)
    } else {
      restartIfSilent()
    }
    endAttempt()
    dealings.sent = []
  }

  /// The path in use works: what was lost on it meanwhile need not wait for its timeout.
  private func restartIfSilent() {
    guard let attempt, raw.statistics.packetsReceived == attempt.receivedBefore, raw.statistics.bytesInFlight > 0
    else { return }
    raw.retransmit()
    endAttempt()
  }

  // MARK: Silence

  /// Regularly while something is unacknowledged, and once after that: packets that stay unanswered are the only sign
  /// of a NAT that has forgotten its mappings.
  func look() {
    guard !raw.isClosed, raw.remote != nil else { return }
    let statistics = raw.statistics
    let isWaiting = statistics.bytesInFlight > 0
    let isSilent = isWaiting && wasWaiting && statistics.packetsReceived == receivedAtLook
    receivedAtLook = statistics.packetsReceived
    wasWaiting = isWaiting
    silentLooks = isSilent ? silentLooks + 1 : 0
    guard silentLooks >= Limits.Migration.silentLooks else { return }
    silentLooks = 0
    if isRelayed { hooks.onRelaySilent?() } else { probe() }
  }
}
