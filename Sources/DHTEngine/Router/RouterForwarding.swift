import HyperEncoding
import HyperEnvironment
import HyperRPC

// The rules of hyperdht.md 5.3 and 5.5. Forwarded messages are requests with the client's transaction id and
// without a token; the last hop is a response with the same transaction id, sent to the client.

extension Router {
  /// Handles PEER_HANDSHAKE.
  package func handleHandshake(_ request: IncomingRequest) {
    guard !isDestroyed else { return }
    guard let message = decode(HandshakeMessage.self, request) else { return }
    let entry = entry(request.target)
    let from = request.from.endpoint
    if let server = entry?.server {
      if message.mode == .fromRelay, let taker = server.taker(of: message.noise, from: from) {
        handOver(message, request, to: taker)
      } else {
        deliver(message, request, to: server)
      }
      return
    }
    switch message.mode {
    case .fromClient:
      guard let destination = handshakeDestination(message, entry, request) else {
        // The closer nodes help the asker find the way.
        statistics.unroutable += 1
        request.reply(nil, token: false)
        return
      }
      forward(
        HandshakeMessage(mode: .fromRelay, noise: message.noise, peerAddress: from).encoded, request, to: destination,
        isTrusted: destination == entry?.relay, \.handshakesForwarded)
    case .fromRelay:
      guard let relay = entry?.relay else {
        statistics.unroutable += 1
        return
      }
      let second = HandshakeMessage(
        mode: .fromSecondRelay, noise: message.noise, peerAddress: message.peerAddress, relayAddress: from)
      forward(second.encoded, request, to: relay, isTrusted: true, \.handshakesForwarded)
    case .fromServer:
      respond(
        HandshakeMessage(mode: .reply, noise: message.noise, peerAddress: from).encoded, request,
        to: message.peerAddress)
    default:
      statistics.malformed += 1
    }
  }

  /// Handles PEER_HOLEPUNCH.
  package func handleHolepunch(_ request: IncomingRequest) {
    guard !isDestroyed else { return }
    guard let message = decode(HolepunchMessage.self, request) else { return }
    let entry = entry(request.target)
    let from = request.from.endpoint
    switch message.mode {
    case .fromClient:
      guard let destination = message.peerAddress ?? entry?.relay else {
        statistics.unroutable += 1
        return
      }
      let onward = HolepunchMessage(mode: .fromRelay, id: message.id, payload: message.payload, peerAddress: from)
      forward(
        onward.encoded, request, to: destination, isTrusted: destination == entry?.relay,
        \.holepunchesForwarded)
    case .fromRelay:
      deliver(message, request, to: entry?.server)
    case .fromServer:
      let reply = HolepunchMessage(mode: .reply, id: message.id, payload: message.payload, peerAddress: from)
      respond(reply.encoded, request, to: message.peerAddress)
    default:
      statistics.malformed += 1
    }
  }

  /// What a second relay does (hyperdht.md 5.3). The destination is a server of this host, whose bounds hold: nothing
  /// is charged here.
  private func handOver(_ message: HandshakeMessage, _ request: IncomingRequest, to taker: Endpoint) {
    let second = HandshakeMessage(
      mode: .fromSecondRelay, noise: message.noise, peerAddress: message.peerAddress,
      relayAddress: request.from.endpoint)
    statistics.handshakesForwarded += 1
    request.relay(second.encoded, to: taker)
  }

  // MARK: Local servers

  /// The mode is looked at before anything else: only three of them may cost a Noise computation
  /// (hyperdht.md B-3).
  private func deliver(_ message: HandshakeMessage, _ request: IncomingRequest, to server: any LocalServer) {
    let from = request.from.endpoint
    let client: Endpoint
    switch message.mode {
    case .fromClient: client = from
    case .fromRelay, .fromSecondRelay:
      guard let peer = message.peerAddress, peer.isUsable,
        message.mode == .fromRelay || message.relayAddress != nil
      else {
        statistics.malformed += 1
        return
      }
      client = peer
    default:
      statistics.malformed += 1
      return
    }
    let isHandedOver = message.mode == .fromSecondRelay && server.isHandedOver(by: from.host)
    let handshake = HandshakeRequest(
      noise: message.noise, isDirect: message.mode == .fromClient, clientAddress: client,
      from: isHandedOver ? message.relayAddress ?? from : from, to: request.to, socket: request.socket,
      isHandedOver: isHandedOver)
    guard
      let completion = makeCompletion(
        request, server,
        { [weak self] (reply: HandshakeReply) in
          self?.answer(message, request, with: reply)
        })
    else { return }
    server.handleHandshake(handshake, completion)
  }

  private func answer(_ message: HandshakeMessage, _ request: IncomingRequest, with reply: HandshakeReply) {
    switch message.mode {
    case .fromClient:
      request.reply(
        HandshakeMessage(mode: .reply, noise: reply.noise).encoded, token: false, closerNodes: false,
        socket: reply.socket)
    case .fromRelay, .fromSecondRelay:
      let back = HandshakeMessage(mode: .fromServer, noise: reply.noise, peerAddress: message.peerAddress)
      let relay = message.mode == .fromRelay ? request.from.endpoint : message.relayAddress
      guard let relay, mayForward(request, to: relay) else { return }
      request.relay(back.encoded, to: relay, socket: reply.socket)
    default: return
    }
    statistics.answered += 1
  }

  private func deliver(_ message: HolepunchMessage, _ request: IncomingRequest, to server: (any LocalServer)?) {
    guard let server else {
      statistics.unroutable += 1
      return
    }
    guard let peer = message.peerAddress, peer.isUsable else {
      statistics.malformed += 1
      return
    }
    let holepunch = HolepunchRequest(
      id: message.id, payload: message.payload, peerAddress: peer, from: request.from.endpoint, to: request.to,
      socket: request.socket)
    guard
      let completion = makeCompletion(
        request, server,
        { [weak self] (reply: HolepunchReply) in
          let back = HolepunchMessage(mode: .fromServer, id: 0, payload: reply.payload, peerAddress: peer)
          request.relay(back.encoded, to: request.from.endpoint, socket: reply.socket)
          self?.statistics.answered += 1
        })
    else { return }
    server.handleHolepunch(holepunch, completion)
  }

  /// A completion that counts once, and only while `server` is still the one for the target. `nil` when too many are
  /// open already.
  private func makeCompletion<Reply>(
    _ request: IncomingRequest, _ server: any LocalServer, _ answer: @escaping (Reply) -> Void
  ) -> ((Reply?) -> Void)? {
    guard pendingReplies < configuration.maximumPendingReplies else {
      statistics.rateLimited += 1
      return nil
    }
    let pending = PendingReply(router: self)
    return { [weak self, weak server] reply in
      guard pending.settle(), let self, !self.isDestroyed, let reply, let server,
        self.entry(request.target)?.server === server
      else { return }
      answer(reply)
    }
  }

  // MARK: Forwarding

  private func decode<Message: CompactDecodable>(_ type: Message.Type, _ request: IncomingRequest) -> Message? {
    guard let value = request.value, let message = try? CompactReader.decode(type, from: value) else {
      statistics.malformed += 1
      return nil
    }
    let from = request.from.endpoint
    if from.host.isBogon { localPeers.set(from, true, now: environment.nowMilliseconds) }
    return message
  }

  private func handshakeDestination(
    _ message: HandshakeMessage, _ entry: Entry?, _ request: IncomingRequest
  ) -> Endpoint? {
    guard request.target != nil else { return nil }
    guard let named = message.relayAddress else { return entry?.relay }
    return configuration.requiresRouteForNamedRelay ? entry?.relay : named
  }

  /// `isTrusted`: the destination has announced itself to us, so it is no choice of the sender.
  private func forward(
    _ value: [UInt8], _ request: IncomingRequest, to destination: Endpoint, isTrusted: Bool,
    _ counter: WritableKeyPath<RouterStatistics, Int>
  ) {
    guard isTrusted || mayForward(request, to: destination) else { return }
    guard mayCharge(request, destination) else { return }
    statistics[keyPath: counter] += 1
    request.relay(value, to: destination)
  }

  /// The response to the client. When it answers what this node has forwarded for that client, that has been charged.
  private func respond(_ value: [UInt8], _ request: IncomingRequest, to client: Endpoint?) {
    guard let client else {
      statistics.malformed += 1
      return
    }
    guard mayForward(request, to: client) else { return }
    guard request.answers == client || mayCharge(request, client) else { return }
    statistics.responsesForwarded += 1
    request.reply(value, token: false, closerNodes: false, to: client)
  }

  private func mayCharge(_ request: IncomingRequest, _ destination: Endpoint) -> Bool {
    let now = environment.nowMilliseconds
    if budget.take(request, to: destination.host, now: now) { return true }
    statistics.rateLimited += 1
    return false
  }

  /// Whether a sender may make us send to an address of its choice (hyperdht.md B-6).
  private func mayForward(_ request: IncomingRequest, to destination: Endpoint) -> Bool {
    guard destination.isUsable, isOwnAddress?(destination) != true, !reachesIn(destination, from: request.from.host)
    else {
      statistics.refusedDestinations += 1
      return false
    }
    return true
  }
}

extension Router {
  /// Whether a stranger would reach an address of our own network that has nothing to do with it. A server or client
  /// beside us takes part from its private address, also towards peers outside.
  private func reachesIn(_ destination: Endpoint, from source: IPv4Address) -> Bool {
    guard configuration.refusesBogonDestinations, destination.host.isBogon, !source.isBogon else { return false }
    return localPeers.peek(destination, now: environment.nowMilliseconds) == nil
  }
}

/// Counts one open reply of a local server; a completion that is dropped without a call counts as settled.
private final class PendingReply {
  private weak var router: Router?
  private var isSettled = false

  init(router: Router) {
    self.router = router
    router.pendingReplies += 1
  }

  /// True for the first call.
  func settle() -> Bool {
    guard !isSettled else { return false }
    isSettled = true
    router?.pendingReplies -= 1
    return true
  }

  deinit { _ = settle() }
}
