import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import HyperUDX

/// The way over a blind relay for streams of a program's own: `blind-relay` in JavaScript, with the same messages.
///
/// Connections of a node and a swarm use relays by themselves (`relayThrough`); this is for protocols that meet at a
/// relay without a server to connect to. Both peers connect to the relay, name the same 32 bytes, one of them as
/// initiator, and get a stream to each other, which the relay cannot read once it is encrypted:
///
/// ```swift
/// let relay = try BlindRelayClient(try await dht.connect(to: relayKey))
/// let raw = try await relay.pair(isInitiator: true, token: token)
/// let stream = try SecretStream(isInitiator: true, over: raw)
/// ```
///
/// May be used from any thread. The streams need the session with the relay, and keep it and the connection: when the
/// program has let go of the client, the session ends with the last stream. `close` ends it at once, and the streams
/// with it. (hyperdht.md 10.3)
public final class BlindRelayClient: Sendable {
  /// The connection with the relay.
  public var connection: HyperDHT.Connection { session.connection }
  /// The channel's name (hyperdht.md 10.3).
  private static let protocolName = "blind-relay"
  private let state: BlindRelayState
  private let session: BlindRelaySession
  private var channel: Protomux.Channel { session.channel }
  private let pairs: Protomux.Message<RelayCodec<RelayPairMessage>>
  private let unpairs: Protomux.Message<RelayCodec<RelayUnpairMessage>>

  /// On a connection with a relay that has no channels of other protocols.
  /// - Throws: `channel` when the connection has ended.
  public convenience init(_ connection: HyperDHT.Connection) throws(BlindRelayError) {
    try self.init(Protomux(connection), over: connection)
  }

  /// On a connection with a relay, beside other channels.
  /// - Parameters:
  ///   - mux: the channels of the connection.
  ///   - connection: what the mux was made with.
  /// - Throws: `channel`, with `duplicateChannel` beside another client, `tooManyChannels` or `closed`.
  public init(_ mux: Protomux, over connection: HyperDHT.Connection) throws(BlindRelayError) {
    let state = BlindRelayState()
    self.state = state
    do throws(ProtomuxError) {
      let channel = try mux.createChannel(protocol: Self.protocolName, id: connection.publicKey.bytes)
      session = BlindRelaySession(connection: connection, channel: channel)
      pairs = channel.addMessage(RelayCodec<RelayPairMessage>()) { state.paired($0) }
      unpairs = channel.addMessage(RelayCodec<RelayUnpairMessage>()) { state.unpaired($0.token) }
      try channel.open()
    } catch {
      throw .channel(error)
    }
    let channel = session.channel
    Task {
      let reason = try? await channel.closed()
      state.closed(reason ?? nil)
    }
  }

  /// Asks the relay for a stream to the peer that names the same token in the other role, and waits for it.
  /// - Parameters:
  ///   - isInitiator: one of the two peers is.
  ///   - token: 32 bytes that both know and nothing else does, for one pairing: a relay that has not heard yet that one
  ///     was taken back pairs it all the same.
  ///   - timeLimit: how long to wait for the peer; a relay of this implementation waits 30 seconds.
  /// - Returns: the stream, not encrypted.
  /// - Throws: `alreadyPairing`; `refused`; `timedOut`; `unpaired`; `cancelled`; `channel` or `connection` when the
  ///   relay is gone or does not speak the protocol.
  public nonisolated(nonsending) func pair(
    isInitiator: Bool, token: Bytes32, timeLimit: Duration = .seconds(15)
  ) async throws(BlindRelayError) -> UDXConnection {
    try await TracedCall("hyperprotomux.relay_pair").run { () async throws(BlindRelayError) -> UDXConnection in
      try await pairStream(isInitiator, token, timeLimit)
    }
  }

  private nonisolated(nonsending) func pairStream(
    _ isInitiator: Bool, _ token: Bytes32, _ timeLimit: Duration
  ) async throws(BlindRelayError) -> UDXConnection {
    let raw: HyperDHT.RawStream
    do throws(ConnectionError) {
      raw = try await connection.makeRawStream()
    } catch {
      throw .connection(error)
    }
    let key = BlindRelayState.Key(token: token, isInitiator: isInitiator)
    let answer = try state.begin(key)
    do throws(ProtomuxError) {
      _ = try pairs.sendWithoutWaiting(RelayPairMessage(isInitiator: isInitiator, token: token, id: UInt64(raw.id)))
    } catch {
      state.end(key)
      // The channel's end says more than the failure to send.
      let reason = error == .closed ? try? await channel.closed() : nil
      throw .channel((reason ?? nil) ?? error)
    }
    let timer = Task {
      try await Task.sleep(for: timeLimit)
      answer.finish(.failure(.timedOut))
    }
    defer { timer.cancel() }
    do throws(BlindRelayError) {
      guard let id = try await answer.next() else { throw .cancelled }
      state.end(key)
      return try await connect(raw, id)
    } catch {
      state.end(key)
      if error == .timedOut || error == .cancelled { withdraw(token) }
      throw error
    }
  }

  private nonisolated(nonsending) func connect(
    _ raw: HyperDHT.RawStream, _ id: UInt32
  ) async throws(BlindRelayError) -> UDXConnection {
    let connected: UDXConnection
    do throws(ConnectionError) {
      connected = try await raw.connect(remoteID: id, keeping: session)
    } catch {
      throw .connection(error)
    }
    await connected.withStream { $0.keepAliveAfterEnd(Limits.firstHeartbeat) }
    Task { [weak connected] in
      try? await Task.sleep(for: .milliseconds(Limits.firstHeartbeat))
      for _ in 0..<Limits.heartbeats {
        let isHeard = await connected?.withStream { BlindRelayClient.isHeard($0) }
        guard isHeard == false else { return }
        try? await Task.sleep(for: .milliseconds(Limits.heartbeat))
      }
      await connected?.withStream { $0.keepAliveAfterEnd(0) }
    }
    return connected
  }

  /// A relay learns from a side's first packet where that side is, and drops what is for it before. A side that waits
  /// for the other's first message has nothing to send: heartbeats go out until something has come.
  private static func isHeard(_ stream: UDXStream) -> Bool {
    let isHeard = stream.isClosed || stream.statistics.packetsReceived > 0
    stream.keepAliveAfterEnd(isHeard ? 0 : Limits.heartbeat)
    return isHeard
  }

  /// Takes a token back: a `pair` that waits fails with `unpaired`, and the relay ends a stream that is paired.
  public func unpair(token: Bytes32) {
    state.fail(token, .unpaired)
    withdraw(token)
  }

  private func withdraw(_ token: Bytes32) {
    // A channel that is closed has nothing to take back.
    _ = try? unpairs.sendWithoutWaiting(RelayUnpairMessage(token: token))
  }

  /// Ends the session with the relay: what waits fails, and the relay ends the streams that are paired. The connection
  /// stays.
  public func close() { channel.close() }
}

/// A session with a relay: of its client, and of the streams that the relay has paired, which it ends when it ends.
private final class BlindRelaySession: Sendable {
  let connection: HyperDHT.Connection
  let channel: Protomux.Channel

  init(connection: HyperDHT.Connection, channel: Protomux.Channel) {
    self.connection = connection
    self.channel = channel
  }

  deinit { channel.close() }
}

/// Why a stream over a blind relay could not be made. `code` is stable across releases and languages.
public enum BlindRelayError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A `pair` with this token and role is waiting already.
  case alreadyPairing
  /// The relay is full, or has given up waiting for the peer.
  case refused
  /// The peer did not come in time.
  case timedOut
  /// `unpair` has taken the token back.
  case unpaired
  /// The task that waited was cancelled.
  case cancelled
  /// The relay has refused or ended the session.
  case channel(ProtomuxError)
  /// The connection with the relay failed.
  case connection(ConnectionError)

  /// The same in all releases and languages.
  public var code: String {
    switch self {
    case .alreadyPairing: "ALREADY_PAIRING"
    case .refused: "RELAY_ABORTED"
    case .timedOut: "ETIMEDOUT"
    case .unpaired: "PAIRING_CANCELLED"
    case .cancelled: "CANCELLED"
    case .channel(let error): error.code
    case .connection(let error): error.code
    }
  }

  /// The code and a sentence for people.
  public var description: String {
    switch self {
    case .alreadyPairing: "\(code): the token is waiting already"
    case .refused: "\(code): the relay has not paired us: the peer did not come, or the relay is full"
    case .timedOut: "\(code): the peer did not come to the relay in time"
    case .unpaired: "\(code): the token was taken back"
    case .cancelled: "\(code): the call was cancelled"
    case .channel(let error): error.description
    case .connection(let error): error.description
    }
  }
}

/// The tokens that wait.
private final class BlindRelayState: Sendable {
  struct Key: Hashable {
    var token: Bytes32
    var isInitiator: Bool
  }

  typealias Answer = EventQueue<UInt32, BlindRelayError>

  private struct State {
    var waiting: [Key: Answer] = [:]
    var end: BlindRelayError?
  }

  private let state = Locked(State())

  func begin(_ key: Key) throws(BlindRelayError) -> Answer {
    let result = state.withLock { state -> Result<Answer, BlindRelayError> in
      if let end = state.end { return .failure(end) }
      guard state.waiting[key] == nil else { return .failure(.alreadyPairing) }
      let answer = Answer(capacity: 1)
      state.waiting[key] = answer
      return .success(answer)
    }
    return try result.get()
  }

  func end(_ key: Key) { state.withLock { _ = $0.waiting.removeValue(forKey: key) } }

  func paired(_ message: RelayPairMessage) {
    let key = Key(token: message.token, isInitiator: message.isInitiator)
    guard let id = UInt32(exactly: message.id) else { return }
    state.withLock { $0.waiting[key] }?.push(id)
  }

  /// Deployed relays never say so; ours does when it refuses a token, or forgets one.
  func unpaired(_ token: Bytes32) { fail(token, .refused) }

  func fail(_ token: Bytes32, _ error: BlindRelayError) {
    let answers = state.withLock { state in
      [false, true].compactMap { state.waiting[Key(token: token, isInitiator: $0)] }
    }
    for answer in answers { answer.finish(.failure(error)) }
  }

  func closed(_ reason: ProtomuxError?) {
    let end = BlindRelayError.channel(reason ?? .closed)
    let answers = state.withLock { state in
      state.end = end
      return Array(state.waiting.values)
    }
    for answer in answers { answer.finish(.failure(end)) }
  }
}

/// The messages of a relay, as the engine has them.
private struct RelayCodec<Value: CompactEncodable & CompactDecodable & Sendable>: MessageCodec {
  func encode(_ value: Value) -> [UInt8] { value.encoded }
  func decode(_ bytes: [UInt8]) throws -> Value { try CompactReader.decode(Value.self, from: bytes) }
}

extension BlindRelayError: CodedError {}
