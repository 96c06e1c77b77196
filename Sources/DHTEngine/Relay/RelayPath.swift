import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// What a stream's way over a relay has to know of the peer.
struct RelayedPeer {
  /// Its transport stream.
  var remoteID: UInt32
  /// Where a direct path to it may lead.
  var hosts: Set<IPv4Address>
  /// Both sides want the direct path again for later connections with this key (hyperdht.md 14.3).
  var routeKey: Bytes32?
}

/// One stream's way over a blind relay: pairing, and later the move to a direct path (hyperdht.md 9.3, 10.3).
///
/// Made by a connect or by a server's session; once the stream runs, the node holds it until the stream closes or has
/// left the relay for good.
final class RelayPath {
  /// The side that named the relay.
  enum Origin: Hashable {
    /// A client that connects to us.
    case client
    case ourselves
  }

  private enum State {
    case pairing
    /// The relay has answered; the owner attaches the stream or discards the path.
    case paired
    /// The stream runs over the relay, or is about to leave it.
    case attached
    case over
  }

  /// The relay has paired us: the control connection's path, and the id of the relay's stream.
  var onPaired: ((SocketRoute) -> Void)?
  /// Nothing came of it. Not after `onPaired`.
  var onFailed: ((DHTError) -> Void)?
  /// The stream has closed, or has moved to the direct path.
  var onLeft: (() -> Void)?
  /// A packet of a deployed peer has come over an unknown path.
  var onDirectPacket: ((SocketRoute) -> Void)?
  /// The stream stays on this direct path.
  var onSettled: ((SocketRoute) -> Void)?
  /// What the race has found leads nowhere.
  var onRefused: ((RacePath) -> Void)?

  let origin: Origin
  private unowned let node: DHTNode
  private let ticket: RelayTicket
  private let streamID: UInt32
  private var state = State.pairing
  private var pairing: RelayPairing?
  private var timer: (any ScheduledAction)?
  private var relayedID: UInt32?
  private var raw: (any TransportStream)?
  private weak var stream: EncryptedStream?
  private var departure: RelayDeparture?
  /// A direct path was first; the peer may be about to use the relay all the same.
  private var standsBy = false

  init(node: DHTNode, ticket: RelayTicket, streamID: UInt32, origin: Origin) {
    self.node = node
    self.ticket = ticket
    self.streamID = streamID
    self.origin = origin
  }

  /// Asks the relay. Set the callbacks before.
  func start(keepAlive: UInt64) {
    node.relays.add(self)
    let control = node.relays.control(of: ticket.publicKey)
    control.keepAlive(within: keepAlive)
    guard let pairing = control.pair(ticket, streamID: streamID) else {
      node.environment.defer { [weak self] in self?.fail(.relayAborted("the token is in use already")) }
      return
    }
    self.pairing = pairing
    pairing.onPaired = { [weak self] in self?.paired(with: $0) }
    pairing.onLost = { [weak self] in self?.lost($0) }
    timer = node.environment.schedule(after: Limits.Relay.pairing) { [weak self] in
      self?.fail(.relayAborted("the relay or the peer did not answer in time"))
    }
  }

  /// A packet from there came over the relay.
  func isRelay(_ socket: any DatagramSocket, _ source: Endpoint) -> Bool {
    guard state != .over, let path = pairing?.path else { return false }
    return path.socket === socket && path.remote == source
  }

  private var route: SocketRoute? {
    guard let path = pairing?.path else { return nil }
    return SocketRoute(socket: path.socket, remote: path.remote, relayedID: relayedID)
  }

  private var isRelayed: Bool { state == .attached && departure?.isRelayed ?? false }

  // MARK: Pairing

  private func paired(with id: UInt32) {
    guard state == .pairing, pairing?.path != nil else { return }
    timer?.cancel()
    timer = nil
    state = .paired
    relayedID = id
    node.relays.settled(self)
    if standsBy {
      timer = node.environment.schedule(after: Limits.Relay.linger) { [weak self] in self?.end(gracefully: true) }
      return
    }
    let report = onPaired
    onPaired = nil
    onFailed = nil
    if let route { report?(route) }
    // The stream has found another path meanwhile.
    if state == .paired { end(gracefully: true) }
  }

  private func fail(_ error: DHTError) {
    guard state == .pairing else { return }
    let report = onFailed
    end(gracefully: false)
    report?(error)
  }

  private func lost(_ error: DHTError) {
    switch state {
    case .pairing: fail(error)
    case .paired, .over: break
    case .attached:
      guard departure?.relayLost() == false, timer == nil else { return }
      // The relay goes together with its streams, but a direct path may be about to open.
      timer = node.environment.schedule(after: Limits.Relay.lossGrace) { [weak self] in
        guard let self, isRelayed else { return }
        stream?.destroy(EncryptedStreamError(error))
      }
    }
  }

  // MARK: Running

  /// The stream runs over the relay now.
  func attached(raw: any TransportStream, stream: EncryptedStream, peer: RelayedPeer) {
    guard state == .paired else { return }
    state = .attached
    self.raw = raw
    self.stream = stream
    departure = makeDeparture(raw: raw, stream: stream, peer: peer)
    stream.isRelayed = true
    stream.observe(close: { [weak self] in self?.streamClosed($0) })
    let isMovingItself = stream.isMoving
    stream.isMoving = { [weak self] in self?.pairing?.isMoving ?? false || isMovingItself?() ?? false }
    pairing?.onPathChange = { [weak self] in self?.pathChanged() }
    node.migrations.stream(raw.localID)?.hooks.onRelaySilent = { [weak self] in
      guard let self, isRelayed else { return }
      node.migrations.probe(pairing?.controlTransport)
    }
  }

  /// The connection with the relay has moved, and the relay lets our stream follow (hyperdht-extensions.md 4). The
  /// relay was heard there, not the peer; but the way that is gone may have been the reason for the silence: the time
  /// to give up starts anew, once for each change of our own network.
  private func pathChanged() {
    guard isRelayed, let raw, let path = pairing?.path else { return }
    try? raw.migrate(socket: path.socket, to: path.remote)
    stream?.pathChanged(to: path.remote)
  }

  /// The race has found a direct path. `true`: the stream runs over a direct path for good.
  func offer(_ route: SocketRoute, _ path: RacePath) -> Bool {
    guard state == .attached else { return false }
    return departure?.offer(route, path) ?? false
  }

  /// The race is over; the peer may still move the stream to a direct path.
  func raceEnded() {
    onDirectPacket = nil
    onSettled = nil
    onRefused = nil
    onLeft = nil
  }

  private func makeDeparture(raw: any TransportStream, stream: EncryptedStream, peer: RelayedPeer) -> RelayDeparture {
    let departure = RelayDeparture(node: node, raw: raw, stream: stream, peer: peer) { [weak self] in self?.route }
    departure.onPacket = { [weak self] in self?.onDirectPacket?($0) }
    departure.onSettled = { [weak self] in self?.onSettled?($0) }
    departure.onRefused = { [weak self] in self?.onRefused?($0) }
    departure.onHeard = { [weak self, weak stream, weak departure] in
      guard let self else { return }
      // A peer that has not even sent its header has not shown that the path is its own.
      if let key = peer.routeKey, let stream, stream.hasRemoteHeader {
        node.routes.register(key, raw: raw, stream: stream, lease: departure?.lease)
      }
      // What the peer sent before it moved may have to be repeated on the old way.
      timer?.cancel()
      timer = node.environment.schedule(after: Limits.Relay.linger) { [weak self] in self?.end(gracefully: true) }
    }
    return departure
  }

  // MARK: End

  private func streamClosed(_ error: EncryptedStreamError?) {
    guard state != .over else { return }
    guard error == nil, !node.isDestroyed, !node.isSuspended else { return end(gracefully: false) }
    // The peer may still miss our last acknowledgement.
    timer?.cancel()
    timer = node.environment.schedule(after: Limits.Relay.linger) { [weak self] in self?.end(gracefully: true) }
    let report = onLeft
    onLeft = nil
    report?()
  }

  /// The stream took a direct path first. What the peer has sent over the relay by then cannot take another way, so the
  /// relay stays for a moment.
  func standBy() {
    standsBy = true
    onPaired = nil
    onFailed = nil
  }

  /// The stream was never attached, and will not be.
  func discard() {
    guard state == .pairing || state == .paired else { return }
    end(gracefully: true)
  }

  /// Gives the relay up at once.
  func destroy() { end(gracefully: false) }

  private func end(gracefully: Bool) {
    guard state != .over else { return }
    if state == .pairing { node.relays.settled(self) }
    state = .over
    departure?.finish()
    departure = nil
    timer?.cancel()
    timer = nil
    raw = nil
    pairing?.release(gracefully: gracefully)
    pairing = nil
    onPaired = nil
    onFailed = nil
    node.relays.remove(self)
    let report = onLeft
    raceEnded()
    report?()
  }
}
