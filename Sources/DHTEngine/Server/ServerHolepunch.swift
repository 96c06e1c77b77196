import HyperCrypto
import HyperEncoding

/// The server's side of hole punching (hyperdht.md 8.5).
///
/// There is no suppression of copies: a repeated request is processed and answered again, and every step can be
/// repeated.
extension ServerSession {
  func receiveHolepunch(_ request: HolepunchRequest, _ completion: @escaping (HolepunchReply?) -> Void) {
    guard mayPunch, let sealer, let payload = sealer.open(request.payload) else { return completion(nil) }
    clientProved()
    guard let puncher, let socket = puncher.socket, !puncher.isDestroyed else { return completion(refusal()) }
    guard payload.error == .none else {
      round = max(round, payload.round)
      let answer = refusal()
      abort()
      return completion(answer)
    }
    // A client that came through one of our own relays and echoes our token does receive at its host (hyperdht.md 8.3).
    let isOwnRelay = server.announcer?.isRelay(request.from) ?? false
    let token = sealer.token(for: request.peerAddress.host)
    let isProven = isOwnRelay && payload.remoteToken.map { constantTimeEqual($0, token) } ?? false
    if request.socket === socket { puncher.addSample(request.to, from: request.from) }
    if payload.round >= round {
      round = payload.round
      puncher.updateRemote(
        payload, verifiedHost: isProven ? request.peerAddress.host : nil, observedHost: request.peerAddress.host)
    }
    let exchange = HolepunchExchange(
      request: request, payload: payload, token: isOwnRelay ? token : nil, puncher: puncher, sealer: sealer,
      completion: completion)
    puncher.analyze(allowReopen: false) { [weak self] isStable in
      guard let self else { return completion(nil) }
      if isStable || payload.punching { return proceed(exchange) }
      puncher.analyze(allowReopen: true) { [weak self] isStable in
        guard let self else { return completion(nil) }
        if isStable { proceed(exchange) } else { giveUp(exchange) }
      }
    }
  }

  private func proceed(_ exchange: HolepunchExchange) {
    let puncher = exchange.puncher
    let payload = exchange.payload
    guard mayPunch, self.puncher === puncher, let socket = puncher.socket else {
      return exchange.completion(nil)
    }
    // Fast mode: the client has just opened its NAT towards this very address of ours.
    if puncher.firewall == .open || puncher.firewall == .consistent, let target = payload.remoteAddress,
      puncher.addresses?.contains(target) ?? false
    {
      puncher.ping(exchange.request.peerAddress)
    }
    if puncher.remote.isPunching, !puncher.isPunching {
      let mayPunch = server.options.holepunch?(
        puncher.remote.firewall.rawValue, puncher.firewall.rawValue, puncher.remote.addresses.map(\.endpoint),
        puncher.addresses ?? [])
      guard mayPunch ?? true else { return giveUp(exchange) }
      clientPunches()
      if !puncher.hasBudget {
        // Without a relay nothing keeps the session useful until the budget is there again.
        guard hasRelay else { return giveUp(exchange, error: .tryLater) }
        return exchange.completion(
          answer(exchange, error: .tryLater).map { HolepunchReply(payload: $0, socket: socket) })
      }
      guard puncher.punch() else { return giveUp(exchange) }
    }
    if puncher.firewall != .unknown { puncher.freeze() }
    exchange.completion(answer(exchange).map { HolepunchReply(payload: $0, socket: socket) })
  }

  private func answer(_ exchange: HolepunchExchange, error: PayloadError = .none) -> [UInt8]? {
    let puncher = exchange.puncher
    return seal(
      HolepunchPayload(
        error: error, firewall: puncher.firewall, round: round, connected: puncher.isConnected,
        punching: puncher.isPunching, addresses: puncher.addresses, token: exchange.token,
        remoteToken: exchange.payload.token))
  }

  private func giveUp(_ exchange: HolepunchExchange, error: PayloadError = .aborted) {
    guard mayPunch else { return exchange.completion(nil) }
    let answer = refusal(error)
    exchange.completion(answer)
    abort()
  }

  /// The bare form of a refusal, from the node's current socket.
  private func refusal(_ error: PayloadError = .aborted) -> HolepunchReply? {
    seal(HolepunchPayload(error: error, round: round)).map { HolepunchReply(payload: $0, socket: node.rpc.socket) }
  }

  private func seal(_ payload: HolepunchPayload) -> [UInt8]? {
    sealer?.seal(payload, nonce: node.environment.random(count: 24))
  }
}

/// One request while it is worked on.
private struct HolepunchExchange {
  var request: HolepunchRequest
  var payload: HolepunchPayload
  /// For the client to echo; absent towards foreign relays.
  var token: Bytes32?
  var puncher: Puncher
  var sealer: HolepunchSealer
  var completion: (HolepunchReply?) -> Void
}
