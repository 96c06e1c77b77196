import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// One client's connection with a blind relay, relay side (hyperdht.md 10.5).
final class RelaySession {
  let remoteKey: Bytes32
  /// Where the client was when it came.
  let host: IPv4Address
  /// Tokens that wait for the other side.
  var pendingTokens = TokenQueue()
  var links: [ObjectIdentifier: RelayLink] = [:]

  private let server: BlindRelayServer
  private let stream: EncryptedStream
  private let mux = RelayMux()
  private var channel: RelayChannel?
  private var idleTimer: (any ScheduledAction)?
  private var closing: (any ScheduledAction)?

  init(server: BlindRelayServer, stream: EncryptedStream, remoteKey: Bytes32) {
    self.server = server
    self.stream = stream
    self.remoteKey = remoteKey
    host = stream.transport?.remote?.host ?? .any
  }

  /// The path of the connection: the client's relayed streams use it, too.
  var path: (socket: any DatagramSocket, remote: Endpoint)? {
    guard let transport = stream.transport, let socket = transport.socket, let remote = transport.remote else {
      return nil
    }
    return (socket, remote)
  }

  func start() {
    stream.maximumFrame = Limits.Relay.controlFrame
    stream.onEnd = { [weak self] in self?.end() }
    stream.onDrain = { [weak stream] in stream?.resume() }
    stream.onPathChange = { [weak self] _ in self?.pathChanged() }
    // Held by the stream until it has closed.
    stream.onClose = { _ in self.closed() }
    mux.send = { [weak self] in self?.transmit($0) }
    mux.onError = { [weak stream] _ in
      stream?.destroy(EncryptedStreamError(reason: RelayClientError.foreignProtocol))
    }
    channel = mux.open(BlindRelay.channel, id: remoteKey.bytes)
    channel?.onMessage = { [weak self] type, body throws(CompactError) in try self?.receive(type, body) }
    channel?.onClose = { [weak self] in self?.end() }
    // Last: what has arrived already is read now.
    stream.onMessage = { [weak self] in self?.mux.receive($0) }
    becameIdle()
  }

  /// The client has moved: so have its relayed streams, which share the connection's path (hyperdht-extensions.md 4).
  private func pathChanged() {
    for link in links.values.sorted(by: { $0.token < $1.token }) { link.sideMoved(self) }
  }

  private func transmit(_ frame: [UInt8]) {
    // A client that does not read its answers may not ask for more.
    if !stream.write(frame), !stream.isDestroying { stream.pause() }
  }

  private func receive(_ type: UInt64, _ body: [UInt8]) throws(CompactError) {
    switch type {
    case RelayPairMessage.type:
      let message = try CompactReader.decode(RelayPairMessage.self, from: body)
      guard let streamID = UInt32(exactly: message.id) else { throw .invalidValue }
      idleTimer?.cancel()
      idleTimer = nil
      server.pair(self, message, streamID: streamID)
      becameIdle()
    case RelayUnpairMessage.type:
      server.unpair(self, try CompactReader.decode(RelayUnpairMessage.self, from: body).token)
    default: break
    }
  }

  func answer(_ message: RelayPairMessage) { channel?.send(RelayPairMessage.type, message) }

  /// This token is not, or no longer, paired.
  func refuse(_ token: Bytes32) { channel?.send(RelayUnpairMessage.type, RelayUnpairMessage(token: token)) }

  /// Starts the idle clock unless something waits or is relayed.
  func becameIdle() {
    guard pendingTokens.isEmpty, links.isEmpty, idleTimer == nil, closing == nil, !stream.isDestroying else { return }
    idleTimer = server.environment.schedule(after: Limits.Relay.idleSession) { [weak self] in
      guard let self else { return }
      idleTimer = nil
      if pendingTokens.isEmpty, links.isEmpty { end() }
    }
  }

  /// Links are cut, then the connection ends in good order.
  func end() {
    guard closing == nil, !stream.isDestroying else { return }
    closing = server.environment.schedule(after: Limits.Relay.closing) { [weak self] in self?.stream.destroy() }
    server.cancelAll(of: self)
    stream.end()
    // The client's own end may come behind messages that are of no use any more.
    stream.resume()
  }

  /// Makes room for another client, at once.
  func evict() {
    server.cancelAll(of: self)
    server.ended(self)
    stream.destroy()
  }

  private func closed() {
    closing?.cancel()
    idleTimer?.cancel()
    idleTimer = nil
    server.cancelAll(of: self)
    mux.close()
    server.ended(self)
  }
}

/// Why a blind relay closed a client's control connection.
enum RelayClientError: CodedError {
  case foreignProtocol

  var code: String { "PROTOCOL_ERROR" }
  var description: String { "the client does not speak the protocol" }
}
