import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

/// Finds a path for a living stream where the peer does not admit us directly, or where it has moved, too: a handshake
/// that names the stream, through the nodes that know the peer, and hole punching (hyperdht-extensions.md 3).
///
/// The path is only found here. The stream takes it by the same messages as any other.
final class Rendezvous {
  enum Outcome {
    /// The peer does not know the stream any more, or no hole can be punched.
    case failed
    /// The peer was not found or did not answer: it may be on the move itself.
    case notFound
    /// The peer is looking for us at the same time, and goes first.
    case peerIsFirst
  }

  /// A path that should reach the peer.
  var onRoute: ((StreamMigration.Route) -> Void)?
  /// Once, unless ended before.
  var onOutcome: ((Outcome) -> Void)?
  let startedAt: UInt64
  /// The peer has answered.
  private(set) var isAnswered = false

  private unowned let node: DHTNode
  private let migration: StreamMigration
  private let target: Bytes32
  private let session: RequestSession
  private let tokens: RelayTokens
  private var search: CandidateSearch?
  private var handshake: PeerHandshake?
  private var message: [UInt8] = []
  private var punch: ClientPunch?
  private var isOver = false

  init(node: DHTNode, migration: StreamMigration) {
    self.node = node
    self.migration = migration
    target = Target.of(publicKey: migration.remotePublicKey)
    session = node.rpc.makeSession()
    tokens = RelayTokens(node: node)
    startedAt = node.environment.nowMilliseconds
  }

  func start() {
    node.migrations.beginRendezvous()
    node.statistics.migrations.rendezvous += 1
    let search = CandidateSearch(
      node: node, target: target, hints: node.relayHints[migration.remotePublicKey], tokens: tokens)
    self.search = search
    search.attempt = { [weak self] relay, done in self?.attempt(relay, done) }
    search.onExhausted = { [weak self] _ in self?.finish(.notFound) }
    search.start()
  }

  /// Noise message 1, the same through every node.
  private func firstMessage() throws -> [UInt8] {
    if handshake != nil { return message }
    // What this side thinks of its own address was true on another network.
    let payload = NoisePayload(
      firewall: .unknown, udx: .init(id: migration.raw.localID), secretStream: .init(),
      migration: .init(resumedStream: migration.remoteID))
    var handshake = try PeerHandshake(
      dialling: migration.remotePublicKey, as: migration.keyPair,
      ephemeral: NoiseKey(seed: node.environment.random32()), hook: migration.hooks.handshake)
    message = try handshake.send(payload: payload.encoded)
    self.handshake = handshake
    return message
  }

  private func attempt(_ relay: Endpoint, _ done: @escaping (Bool) -> Void) {
    guard !isOver, !isAnswered, let noise = try? firstMessage() else { return done(false) }
    let request = RequestMessage(
      command: Command.peerHandshake.rawValue, target: target,
      value: HandshakeMessage(mode: .fromClient, noise: noise).encoded)
    tokens.request(request, to: relay, options: RequestOptions(session: session)) { [weak self] result in
      guard let self, !isOver, !isAnswered, case .success(let response) = result,
        let handshaken = open(response, from: relay)
      else { return done(false) }
      isAnswered = true
      done(true)
      search?.stop()
      search = nil
      proceed(handshaken)
    }
  }

  /// A reply may be anybody's: it works on a copy of the handshake.
  private func open(_ response: Response, from relay: Endpoint) -> Handshaken? {
    guard response.error == 0, response.from.endpoint == relay, let value = response.value,
      let reply = try? CompactReader.decode(HandshakeMessage.self, from: value), reply.mode == .reply,
      var attempt = handshake, let bytes = try? attempt.receive(reply.noise),
      let payload = try? CompactReader.decode(NoisePayload.self, from: bytes), let keys = attempt.sessionKeys()
    else { return nil }
    return Handshaken(
      keys: keys, payload: payload, message: reply.noise, streamID: payload.udx?.id ?? 0, relay: relay,
      serverAddress: reply.peerAddress ?? relay, clientAddress: response.to, socket: response.socket)
  }

  private func proceed(_ result: Handshaken) {
    switch result.payload.error {
    case .none: break
    case .tryLater: return finish(.peerIsFirst)
    default: return finish(.failed)
    }
    guard result.streamID == migration.remoteID else { return finish(.failed) }
    guard result.isRelayed else { return take(result.socket, result.serverAddress) }
    if result.payload.firewall == .open || result.payload.holepunch?.relays.isEmpty ?? true {
      guard let socket = node.rpc.socket else { return finish(.failed) }
      return take(socket, result.serverAddresses.first { !$0.host.isBogon } ?? result.serverAddress)
    }
    let punch = ClientPunch(
      node: node, target: target, handshaken: result, tokens: tokens, options: ConnectOptions(), usesFastOpen: true)
    self.punch = punch
    punch.onConnect = { [weak self] socket, remote in self?.take(socket, remote) }
    punch.onFailure = { [weak self] _ in
      self?.punch = nil
      self?.finish(.failed)
    }
    punch.start()
  }

  private func take(_ socket: any DatagramSocket, _ remote: Endpoint) {
    onRoute?(StreamMigration.Route(socket: socket, remote: remote))
  }

  private func finish(_ outcome: Outcome) {
    guard !isOver else { return }
    let report = onOutcome
    end()
    report?(outcome)
  }

  /// What the stream does not use is closed.
  func end() {
    guard !isOver else { return }
    isOver = true
    onRoute = nil
    onOutcome = nil
    search?.stop()
    search = nil
    session.destroy()
    punch?.succeed()
    punch = nil
    node.migrations.endRendezvous()
  }
}
