import HyperEncoding
import HyperEnvironment
import HyperSecretStream

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
    case relayed
    /// Our packets go the direct way, the peer's may not yet.
    case moving
    case over
  }

  /// The relay has paired us: the control connection's path, and the id of the relay's stream.
  var onPaired: ((SocketRoute) -> Void)?
  /// Nothing came of it. Not after `onPaired`.
  var onFailed: ((DHTError) -> Void)?
  /// The stream has closed, or has moved to the direct path.
  var onLeft: (() -> Void)?

  let origin: Origin
  private unowned let node: DHTNode
  private let ticket: RelayTicket
  private let streamID: UInt32
  private var state = State.pairing
  private var pairing: RelayPairing?
  private var timer: (any ScheduledAction)?
  private var raw: (any TransportStream)?
  private weak var stream: EncryptedStream?
  /// The next bytes on the stream are those of a packet that came over the relay.
  private var isStraggler = false
  /// This side looks for no other path any more.
  private var isFinal = false
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

  // MARK: Pairing

  private func paired(with id: UInt32) {
    guard state == .pairing, let path = pairing?.path else { return }
    timer?.cancel()
    timer = nil
    state = .paired
    node.relays.settled(self)
    if standsBy {
      timer = node.environment.schedule(after: Limits.Relay.linger) { [weak self] in self?.end(gracefully: true) }
      return
    }
    let report = onPaired
    onPaired = nil
    onFailed = nil
    report?(SocketRoute(socket: path.socket, remote: path.remote, relayedID: id))
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
    case .relayed:
      // The relay goes together with its streams, but a direct path may be about to open.
      guard timer == nil else { return }
      timer = node.environment.schedule(after: Limits.Relay.lossGrace) { [weak self] in
        guard let self, state == .relayed else { return }
        stream?.destroy(EncryptedStreamError(error))
      }
    case .moving: break
    }
  }

  // MARK: Running

  /// The stream runs over the relay now.
  func attached(raw: any TransportStream, stream: EncryptedStream) {
    guard state == .paired else { return }
    state = .relayed
    self.raw = raw
    self.stream = stream
    stream.isRelayed = true
    // The peer's direct path may lead to the socket that the relay's packets come over.
    raw.asksForSources = !isFinal
    stream.observe(close: { [weak self] in self?.streamClosed($0) })
    let isMovingItself = stream.isMoving
    stream.isMoving = { [weak self] in self?.pairing?.isMoving ?? false || isMovingItself?() ?? false }
    pairing?.onPathChange = { [weak self] in self?.pathChanged() }
    node.migrations.stream(raw.localID)?.onRelaySilent = { [weak self] in
      guard let self, state == .relayed else { return }
      node.migrations.probe(pairing?.controlTransport)
    }
  }

  /// The connection with the relay has moved, and the relay lets our stream follow (hyperdht-extensions.md 4).
  private func pathChanged() {
    guard state == .relayed, let raw, let path = pairing?.path else { return }
    try? raw.migrate(socket: path.socket, to: path.remote)
    stream?.pathChanged(to: path.remote)
  }

  /// The race is over. A stream that stays here takes what its peer sends over a direct path, and answers over the
  /// relay.
  func raceEnded() {
    isFinal = true
    if state == .relayed { raw?.asksForSources = false }
  }

  /// Moves the stream to a direct path; the relay stays until the peer was heard there. `false`: it stays relayed.
  func move(to remote: Endpoint, socket: any DatagramSocket, remoteID: UInt32) -> Bool {
    guard state == .relayed, let raw, let stream, !raw.isClosed else { return false }
    state = .moving
    timer?.cancel()
    timer = nil
    let firewall = raw.firewall
    raw.firewall = { [weak self] socket, source in
      guard source.port != 0 else { return false }
      if let self, isRelay(socket, source) { isStraggler = true }
      return true
    }
    do {
      try raw.changeRemote(socket: socket, remoteID: remoteID, to: remote) { [weak self] in self?.moved(raw, stream) }
    } catch {
      state = .relayed
      raw.firewall = firewall
      return false
    }
    stream.isRelayed = false
    stream.pathChanged(to: remote)
    return true
  }

  /// Everything sent before the move has arrived. That says nothing about the peer: only what comes by the direct path
  /// does, and it needs the relay until then.
  private func moved(_ raw: any TransportStream, _ stream: EncryptedStream) {
    guard state == .moving, !stream.isDestroying else { return }
    stream.onTransportActivity = { [weak self] in self?.arrived() }
    // An idle peer learns of the direct path by this: a message of the transport, not of the stream.
    raw.sendMessage([])
  }

  private func arrived() {
    guard state == .moving else { return }
    if isStraggler {
      isStraggler = false
      return
    }
    stream?.onTransportActivity = nil
    // What the peer sent before it moved may have to be repeated on the old way.
    timer?.cancel()
    timer = node.environment.schedule(after: Limits.Relay.linger) { [weak self] in self?.end(gracefully: true) }
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
    raw?.asksForSources = false
    if state == .moving {
      raw?.firewall = nil
      stream?.onTransportActivity = nil
    }
    state = .over
    timer?.cancel()
    timer = nil
    raw = nil
    pairing?.release(gracefully: gracefully)
    pairing = nil
    onPaired = nil
    onFailed = nil
    node.relays.remove(self)
    let report = onLeft
    onLeft = nil
    report?()
  }
}
