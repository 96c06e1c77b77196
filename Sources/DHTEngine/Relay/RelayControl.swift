import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// A connection with a blind relay, over which streams are paired (hyperdht.md 10.3).
///
/// Shared by all pairings of the node at one relay (hyperdht.md C-16): the last one that leaves closes it.
final class RelayControl {
  let publicKey: Bytes32
  /// The connection cannot be used for another pairing any more.
  var onUnusable: (() -> Void)?
  /// The relay's side is known.
  private(set) var isOpen = false

  private let environment: any Environment
  private let stream: EncryptedStream
  private let mux = RelayMux()
  private var channel: RelayChannel?
  private var pairings: [PairingKey: RelayPairing] = [:]
  private var isLeaving = false
  private var closing: (any ScheduledAction)?

  fileprivate struct PairingKey: Hashable {
    var token: Bytes32
    var isInitiator: Bool
  }

  /// Takes over the stream, which is on its way to the relay.
  init(environment: any Environment, publicKey: Bytes32, ownKey: Bytes32, stream: EncryptedStream) {
    self.environment = environment
    self.publicKey = publicKey
    self.stream = stream
    stream.maximumFrame = Limits.Relay.controlFrame
    stream.onMessage = { [weak self] in self?.mux.receive($0) }
    stream.onEnd = { [weak self] in self?.relayEnded() }
    stream.onPathChange = { [weak self] _ in self?.pathChanged() }
    // Held by the stream until it has closed.
    stream.onClose = { self.closed($0) }
    mux.send = { [weak stream] in stream?.write($0) }
    mux.onError = { [weak self] _ in
      self?.stream.destroy(EncryptedStreamError(.relayAborted("the relay does not speak the protocol")))
    }
    channel = mux.open(BlindRelay.channel, id: ownKey.bytes)
    channel?.onMessage = { [weak self] type, body throws(CompactError) in try self?.receive(type, body) }
    channel?.onOpen = { [weak self] in self?.isOpen = true }
    channel?.onClose = { [weak self] in self?.channelClosed() }
  }

  var isUsable: Bool {
    !isLeaving && !stream.isDestroying && channel?.isClosed == false
      && pairings.count < Limits.Relay.pairingsPerControl
  }

  /// The path that relayed streams share with this connection.
  var path: (socket: any DatagramSocket, remote: Endpoint)? {
    guard let transport = stream.transport, let socket = transport.socket, let remote = transport.remote else {
      return nil
    }
    return (socket, remote)
  }

  func keepAlive(within milliseconds: UInt64) {
    guard milliseconds > 0 else { return }
    if stream.keepAlive == 0 || milliseconds < stream.keepAlive { stream.keepAlive = milliseconds }
  }

  /// Asks the relay to pair the stream with the one that names the same token. `nil` when this side of the token is
  /// waiting here already.
  func pair(_ ticket: RelayTicket, streamID: UInt32) -> RelayPairing? {
    let key = PairingKey(token: ticket.token, isInitiator: ticket.isInitiator)
    guard isUsable, let channel, pairings[key] == nil else { return nil }
    let pairing = RelayPairing(control: self, key: key)
    pairings[key] = pairing
    channel.send(
      RelayPairMessage.type,
      RelayPairMessage(isInitiator: ticket.isInitiator, token: ticket.token, id: UInt64(streamID)))
    return pairing
  }

  /// The connection is on its way to another path.
  var isMoving: Bool { stream.isMoving?() ?? false }

  var transport: (any TransportStream)? { stream.transport }

  private func pathChanged() {
    for pairing in pairings.values.sorted(by: { $0.key.token < $1.key.token }) { pairing.onPathChange?() }
  }

  /// Closes at once. Pairings hear of it in a later turn.
  func destroy() { stream.destroy() }

  // MARK: The relay

  private func receive(_ type: UInt64, _ body: [UInt8]) throws(CompactError) {
    switch type {
    case RelayPairMessage.type:
      let message = try CompactReader.decode(RelayPairMessage.self, from: body)
      guard let id = UInt32(exactly: message.id) else { throw .invalidValue }
      let key = PairingKey(token: message.token, isInitiator: message.isInitiator)
      pairings[key]?.paired(with: id)
    case RelayUnpairMessage.type:
      // Deployed relays never say so; ours does when it refuses a token, forgets one, or a link has ended.
      let message = try CompactReader.decode(RelayUnpairMessage.self, from: body)
      for isInitiator in [false, true] {
        guard let pairing = pairings[PairingKey(token: message.token, isInitiator: isInitiator)] else { continue }
        let reason =
          pairing.isPaired
          ? "the relay has ended the stream"
          : "the relay has not paired us: the peer did not come, or the relay is full"
        pairing.lost(.relayAborted(reason))
      }
    default: break
    }
  }

  private func relayEnded() {
    onUnusable?()
    stream.end()
  }

  private func channelClosed() {
    lose(.relayAborted("the relay refused or ended the session"))
    onUnusable?()
    if !stream.isDestroying { leave(gracefully: true) }
  }

  private func closed(_ error: EncryptedStreamError?) {
    closing?.cancel()
    closing = nil
    let reason = error.map { RelayControl.reason($0) }
    lose(.relayAborted(reason ?? "the relay closed the connection"))
    mux.close()
    onUnusable?()
    onUnusable = nil
  }

  /// Names the relay once, and every error with its code.
  static func reason(_ error: EncryptedStreamError) -> String {
    let prefix = "\(error.code): "
    let text = error.description
    let bare = text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text
    if error.code == DHTError.relayAborted("").code { return bare }
    return "the connection with the relay failed: \(prefix)\(bare)"
  }

  private func lose(_ error: DHTError) {
    for pairing in pairings.values.sorted(by: { $0.key.token < $1.key.token }) { pairing.lost(error) }
  }

  // MARK: Leaving

  fileprivate func released(_ pairing: RelayPairing, gracefully: Bool) {
    guard pairings.removeValue(forKey: pairing.key) != nil else { return }
    if pairings.isEmpty { return leave(gracefully: gracefully) }
    if !pairing.isLost { channel?.send(RelayUnpairMessage.type, RelayUnpairMessage(token: pairing.key.token)) }
  }

  private func leave(gracefully: Bool) {
    guard !stream.isDestroying else { return }
    guard gracefully, stream.isOpen else { return stream.destroy() }
    guard !isLeaving else { return }
    isLeaving = true
    onUnusable?()
    stream.end()
    closing = environment.schedule(after: Limits.Relay.closing) { [weak self] in self?.stream.destroy() }
  }
}

/// One token at one relay. Ends with `release`, by its owner.
final class RelayPairing {
  /// The relay has made a stream with this id for us.
  var onPaired: ((UInt32) -> Void)?
  /// At most once: the relay will not pair us, or does not relay any more.
  var onLost: ((DHTError) -> Void)?

  /// The relayed stream's path is another one now.
  var onPathChange: (() -> Void)?

  private(set) var isLost = false
  private(set) var isPaired = false
  private var control: RelayControl?
  fileprivate let key: RelayControl.PairingKey

  fileprivate init(control: RelayControl, key: RelayControl.PairingKey) {
    self.control = control
    self.key = key
  }

  var path: (socket: any DatagramSocket, remote: Endpoint)? { control?.path }
  var isMoving: Bool { control?.isMoving ?? false }
  var controlTransport: (any TransportStream)? { control?.transport }

  fileprivate func paired(with id: UInt32) {
    guard !isPaired, !isLost else { return }
    isPaired = true
    onPaired?(id)
  }

  fileprivate func lost(_ error: DHTError) {
    guard !isLost else { return }
    isLost = true
    onLost?(error)
  }

  /// Gives the pairing back. Gracefully: what is under way on the control connection still arrives.
  func release(gracefully: Bool) {
    onPaired = nil
    onLost = nil
    onPathChange = nil
    let control = control
    self.control = nil
    control?.released(self, gracefully: gracefully)
  }
}
