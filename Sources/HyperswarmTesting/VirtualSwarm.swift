import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperSecretStream
import HyperswarmEngine

/// A swarm on a virtual host: the whole stack of `Hyperswarm` with callbacks. Made by `VirtualTestnet.makeSwarm`.
///
/// Confined to the thread of its network; callbacks run inside the network's `advance` and `run`.
public final class VirtualSwarm {
  /// The machine that the swarm runs on.
  public let host: VirtualHost
  /// A connection is open, dialled or accepted. Set its callbacks inside this call: what has arrived follows in the
  /// same turn. The swarm holds the connection until it has closed.
  public var onConnection: ((VirtualConnection) -> Void)?
  /// Open connections, in the order of their opening.
  public private(set) var connections: [VirtualConnection] = []
  package let engine: SwarmEngine

  init(host: VirtualHost, engine: SwarmEngine) {
    self.host = host
    self.engine = engine
    engine.onConnection = { [weak self] stream, peer in self?.opened(stream, peer) }
  }

  /// The swarm's identity.
  public var keyPair: KeyPair { engine.keyPair }
  /// The key that peers see.
  public var publicKey: Bytes32 { engine.publicKey }

  private func opened(_ stream: EncryptedStream, _ peer: PeerInfo) {
    let connection = VirtualConnection(stream: stream, remotePublicKey: peer.publicKey)
    connection.onRemoved = { [weak self] connection in self?.connections.removeAll { $0 === connection } }
    connections.append(connection)
    onConnection?(connection)
  }

  /// A topic made from text: its BLAKE2b-256 hash, as `Hyperswarm.topic`.
  public static func topic(_ text: String) -> Bytes32 { Blake2b.hash32(Array(text.utf8)) }

  /// Announces the swarm under a topic (`server`), looks for peers under it and dials them (`client`), now and every
  /// ten minutes; every few seconds at first while it finds no peer. Joining again adds roles: `leave` takes all back.
  /// - `ready`: called once, later: whether the first announcement and look-up have succeeded.
  /// - Throws: when there are 16,384 topics, or the swarm is destroyed.
  public func join(
    _ topic: Bytes32, server: Bool = true, client: Bool = true, ready: ((Bool) -> Void)? = nil
  ) throws(VirtualSwarmError) {
    do throws(SwarmError) {
      let session = try engine.join(topic: topic, options: JoinOptions(server: server, client: client))
      guard let ready else { return }
      session.flushed { result in
        if case .success(let isDone) = result { ready(isDone) } else { ready(false) }
      }
    } catch {
      throw VirtualSwarmError(description: error.description)
    }
  }

  /// Withdraws the topic. Connections stay. `completion` runs once, when that is done: at once for a topic that is not
  /// joined.
  public func leave(_ topic: Bytes32, _ completion: (() -> Void)? = nil) { engine.leave(topic, completion) }

  /// Dials the peer with this public key, whatever the topics, and again after a loss.
  public func joinPeer(_ publicKey: Bytes32) { engine.joinPeer(publicKey) }

  /// As when the computer goes to sleep: closes connections and withdraws from the DHT. `completion` runs once, later.
  public func suspend(_ completion: (() -> Void)? = nil) { engine.suspend(completion) }

  /// Undoes `suspend`; the callback comes when the sockets are open again, or cannot be opened.
  public func resume(_ completion: (() -> Void)? = nil) { engine.resume { _ in completion?() } }

  /// Closes connections, withdraws from the DHT and closes the node; `completion` runs once, later.
  public func destroy(_ completion: (() -> Void)? = nil) { engine.destroy(force: false, completion) }
}

/// An encrypted, ordered, reliable connection between two swarms.
///
/// Confined to the thread of its network. Messages are kept apart, as with `Hyperswarm`'s connections.
public final class VirtualConnection {
  /// The peer's key.
  public let remotePublicKey: Bytes32
  /// A message, in order. Valid after the call.
  public var onMessage: (([UInt8]) -> Void)?
  /// The peer has sent its last message; `end` this side, too. Without a callback that is done at once.
  public var onEnd: (() -> Void)?
  /// There is room again after a `write` that returned `false`.
  public var onDrain: (() -> Void)?
  /// The connection goes on over another path: where the peer's packets go since then.
  public var onPathChange: ((Endpoint) -> Void)?
  /// Once, last: `nil` for a regular end and a local `destroy`, else why, as a text for people. All callbacks are let
  /// go of then.
  public var onClose: ((String?) -> Void)?
  var onRemoved: ((VirtualConnection) -> Void)?
  package let stream: EncryptedStream

  init(stream: EncryptedStream, remotePublicKey: Bytes32) {
    self.stream = stream
    self.remotePublicKey = remotePublicKey
    stream.onMessage = { [weak self] bytes in self?.onMessage?(Array(bytes)) }
    stream.onEnd = { [weak self] in self?.ended() }
    stream.onDrain = { [weak self] in self?.onDrain?() }
    stream.onPathChange = { [weak self] in self?.onPathChange?($0) }
    // The stream keeps the connection until it has closed.
    stream.onClose = { error in self.closed(error) }
  }

  /// Whether this side dialled.
  public var isInitiator: Bool { stream.isInitiator }
  /// Whether the connection has closed.
  public var isClosed: Bool { stream.isClosed }
  /// Where the packets go at the moment: the peer, its NAT box or a relay; `nil` when that is not known any more.
  public var remoteAddress: Endpoint? { stream.transport?.remote }

  /// Queues a message of at most 16,777,198 bytes: a longer one ends the connection.
  /// - Returns: `false` to wait for `onDrain` before more: this message is sent all the same, unless the connection is
  ///   closing or `end` was called.
  @discardableResult
  public func write(_ bytes: [UInt8]) -> Bool { stream.write(bytes) }

  /// Sends what is queued, then ends the writing half.
  public func end() { stream.end() }

  /// Aborts. Idempotent.
  public func destroy() { stream.destroy() }

  /// Stops `onMessage`; the peer's writer is held back once the windows are full.
  public func pause() { stream.pause() }

  /// Undoes `pause`.
  public func resume() { stream.resume() }

  private func ended() {
    if let onEnd { onEnd() } else { stream.end() }
  }

  private func closed(_ error: EncryptedStreamError?) {
    stream.onClose = nil
    onRemoved?(self)
    onRemoved = nil
    let callback = onClose
    onMessage = nil
    onEnd = nil
    onDrain = nil
    onPathChange = nil
    onClose = nil
    callback?(error?.description)
  }
}

/// Why a virtual swarm or testnet refused.
public struct VirtualSwarmError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What was refused, as a text for people.
  public var description: String
}
