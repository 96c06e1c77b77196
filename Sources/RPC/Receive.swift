import HyperEncoding
import HyperEnvironment

// What happens to an incoming datagram (dht-rpc.md 6).
extension RPCNode {
  /// Feeds a datagram of an extra socket (hole-punch pool); such traffic never becomes a NAT sample.
  package func receive(
    _ bytes: UnsafeRawBufferPointer, from source: Endpoint, on socket: any DatagramSocket
  ) {
    guard bytes.count >= 2, source.port != 0 else {
      statistics.drops.malformed += 1
      return
    }
    guard !isSuspended, !isDestroyed else {
      statistics.drops.suspended += 1
      return
    }
    guard let datagram = Datagram(bytes) else {
      statistics.drops.malformed += 1
      return
    }
    switch datagram {
    case .request(let request): receive(request, from: source, on: socket)
    case .response(let response): receive(response, from: source, on: socket)
    }
  }

  /// A datagram on the server or client socket.
  func receiveOnOwnSocket(_ bytes: UnsafeRawBufferPointer, from source: Endpoint, on socket: any DatagramSocket) {
    if recordedHosts != nil, socket === serverSocket { recordHost(source.host) }
    let isMessage = bytes.count >= 2 && (bytes[0] == DatagramKind.request || bytes[0] == DatagramKind.response)
    if !isMessage, let onStrayDatagram, !isSuspended, !isDestroyed {
      onStrayDatagram(bytes, source, socket)
    } else {
      receive(bytes, from: source, on: socket)
    }
  }

  /// Arrived elsewhere than on the socket that our requests leave from: says nothing about that one's mapping.
  private func isExternal(_ socket: any DatagramSocket) -> Bool { socket !== self.socket }

  private func receive(_ request: RequestDatagram, from source: Endpoint, on socket: any DatagramSocket) {
    let now = environment.nowMilliseconds
    let hasToken = request.token.map { verifyToken($0, for: source.host) }
    if hasToken == true { replyBudget.prove(source, now: now) }
    let requester =
      request.isInternal
      ? nil
      : forwardedRequests.takeAnswer(.init(tid: request.tid, target: request.target), from: source, now: now)
    guard requester != nil || takeReply(source, for: request, now: now) else {
      statistics.drops.rateLimited += 1
      noteRefusal(of: request, from: source, on: socket, now: now)
      return
    }
    let sender = identify(request.id, source)
    if hasToken == false {
      sendReply(
        tid: request.tid, error: RPCErrorCode.invalidToken, value: nil, includesToken: true,
        closestTo: request.target, to: source, on: socket)
      return
    }
    if let id = sender.id, checksRequesters {
      heardRequest(of: id, source)
    } else if sender.id != nil {
      learn(sender, to: request.to, isExternal: isExternal(socket))
    }
    if request.isInternal {
      handleInternal(request, from: source, on: socket)
      return
    }
    let incoming = IncomingRequest(
      request, from: sender, isProven: replyBudget.isProven(source, now: now), answers: requester, socket: socket,
      node: self)
    if onRequest?(incoming) != true { incoming.error(RPCErrorCode.unknownCommand) }
  }

  /// Charges a request. The nodes of the table have answered before, however long ago.
  private func takeReply(_ source: Endpoint, for request: RequestDatagram, now: UInt64) -> Bool {
    if replyBudget.take(source, now: now, leaving: { reserve(of: request, from: source) }) { return true }
    guard !replyBudget.isProven(source, now: now), table.contains(NodeAddress.id(of: source)) else { return false }
    replyBudget.prove(source, now: now)
    return replyBudget.take(source, now: now)
  }

  /// Thousandths of what an IP address that may be forged has that a request leaves to others. One that comes again is
  /// likely to have a sender that waits.
  private func reserve(of request: RequestDatagram, from source: Endpoint) -> UInt64 {
    guard !request.isInternal, request.command == yieldingCommand else { return 0 }
    return wasRefused(RefusedRequest(source: source, tid: request.tid)) ? 0 : Limits.reservedRequests
  }

  func wasRefused(_ message: RefusedRequest) -> Bool { refusals.isAgain(message, now: environment.nowMilliseconds) }

  /// One that comes again has a sender that waits, or its name is forged twice: a ping tells. Clients that echo no
  /// tokens show themselves by the answer, and have a budget of their own from then on. What they wait for is handled
  /// at once: their next transmission comes a second later, if at all.
  private func noteRefusal(
    of request: RequestDatagram, from source: Endpoint, on socket: any DatagramSocket, now: UInt64
  ) {
    let message = RefusedRequest(source: source, tid: request.tid)
    if wasRefused(message) {
      checkSource(source, isWaiting: true) { [weak self] in self?.receive(request, from: source, on: socket) }
    }
    refusals.insert(message, now: now)
  }

  private func receive(_ response: ResponseDatagram, from source: Endpoint, on socket: any DatagramSocket) {
    guard let request = match(response, from: source) else { return }
    statistics.responses += 1
    if request.destination == source { replyBudget.prove(source, now: environment.nowMilliseconds) }
    if request.isInternal { count(request.command) { $0.rx += 1 } }
    let sender = identify(response.id, source)
    // A single transmission gives an exact time; with several it is not known which one was answered.
    let elapsed = environment.now - request.firstSentAt
    let roundTripTime = elapsed / 1000
    roundTripTimes.heard(source)
    // With two transmissions the time is at worst too long, which only makes later requests wait longer; with more it
    // says too little.
    if request.measuresPath, request.transmissions <= 2 {
      roundTripTimes.add(elapsed, of: request.destination, now: environment.nowMilliseconds)
    }
    learn(sender, to: response.to, isExternal: isExternal(socket))
    let closerNodes = CloserNodes.accepted(
      response.closerNodes ?? [], from: source.host, own: sampler.host)
    complete(
      request,
      with: Response(
        tid: response.tid, roundTripTime: roundTripTime, from: sender, to: response.to, token: response.token,
        closerNodes: closerNodes, error: response.error, value: response.value, socket: socket))
    networkAnswered(sender)
  }

  /// A carried id counts only if it hashes from the source address (dht-rpc.md 4).
  private func identify(_ id: Bytes32?, _ source: Endpoint) -> NodeAddress {
    guard let id, id == NodeAddress.id(of: source) else { return NodeAddress(id: nil, endpoint: source) }
    return NodeAddress(id: id, endpoint: source)
  }

  // MARK: Tokens

  /// The secrets of the present 7.5 s; drawn when first needed.
  private func currentTokens() -> TokenStore {
    let interval = Limits.drainInterval * UInt64(Limits.drainsPerTokenRotation)
    let rotations = (environment.nowMilliseconds - createdAt) / interval
    var store: TokenStore
    if let tokens, rotations - tokenRotations <= 2 {
      store = tokens
      for _ in 0..<(rotations - tokenRotations) { store.rotate(to: environment.random32()) }
    } else {
      // After two rotations nothing issued earlier is valid any more.
      store = TokenStore(previous: environment.random32(), current: environment.random32())
    }
    tokens = store
    tokenRotations = rotations
    return store
  }

  /// Replaces the secrets, for replaying recorded sessions.
  func setTokens(_ store: TokenStore) {
    let interval = Limits.drainInterval * UInt64(Limits.drainsPerTokenRotation)
    tokens = store
    tokenRotations = (environment.nowMilliseconds - createdAt) / interval
  }

  func issueToken(for host: IPv4Address) -> Bytes32 { issuedTokens.token(for: host, from: currentTokens()) }
  func verifyToken(_ token: Bytes32, for host: IPv4Address) -> Bool { currentTokens().verify(token, for: host) }

  // MARK: Replies

  /// Sends a response; not tracked, not counted by the window.
  func sendReply(
    tid: UInt16, error: UInt64, value: [UInt8]?, includesToken: Bool, closestTo target: Bytes32?,
    to destination: Endpoint, on socket: any DatagramSocket
  ) {
    guard !isSuspended, !isDestroyed, destination.port != 0 else { return }
    var response = ResponseDatagram(tid: tid, to: destination)
    if !isEphemeral, socket === serverSocket { response.id = table.id }
    if includesToken { response.token = issueToken(for: destination.host) }
    response.error = error
    response.value = value
    // On the stack, up to 1 KiB: an answer takes no memory from the heap.
    withUnsafeTemporaryAllocation(of: Endpoint.self, capacity: Limits.k) { closer in
      let count = target.map { table.closest(to: $0, into: closer) } ?? 0
      let longest = Limits.maximumDatagram + ResponseDatagram.maximumHeaderCount
      let size = min(response.capacity(closerCount: count), longest)
      withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { memory in
        var writer = DatagramWriter(memory)
        response.write(UnsafeBufferPointer(rebasing: closer[..<count]), to: &writer)
        if writer.count == 0 || writer.count > Limits.maximumDatagram {
          response.write(UnsafeBufferPointer(rebasing: closer[..<0]), to: &writer)
        }
        guard (1...Limits.maximumDatagram).contains(writer.count) else {
          statistics.drops.oversizedReplies += 1
          return
        }
        socket.send(UnsafeRawBufferPointer(rebasing: memory[..<writer.count]), to: destination)
      }
    }
  }

  /// Forwards a request of another node (dht-rpc.md 5.3).
  func sendRelay(
    tid: UInt16, message: RequestMessage, of requester: Endpoint, to destination: Endpoint,
    on socket: any DatagramSocket
  ) {
    guard !isSuspended, !isDestroyed, destination.port != 0 else { return }
    let carriesID = !isEphemeral && socket === serverSocket
    let datagram = RequestDatagram(
      tid: tid, to: destination, id: carriesID ? table.id : nil, token: nil, isInternal: message.isInternal,
      command: message.command, target: message.target, value: message.value)
    let bytes = datagram.encode()
    guard bytes.count <= Limits.maximumDatagram else {
      statistics.drops.oversizedReplies += 1
      return
    }
    forwardedRequests.insert(
      .init(tid: tid, target: message.target), from: requester, now: environment.nowMilliseconds)
    socket.send(bytes, to: destination)
  }
}
