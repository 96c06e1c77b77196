import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream

extension HyperDHT {
  /// At most one connection per peer, whichever side dials (hyperdht.md 14.7): a new pool, with nothing in it. A swarm
  /// does that by itself.
  public func pool() -> ConnectionPool { ConnectionPool(loop: loop, node: node) }

  /// Open and dialled connections by the peer's key. Give it to the servers whose connections belong to it
  /// (`ServerOptions.pool`), and dial through its `connect`.
  ///
  /// When a second connection with a peer opens, one of the two ends with `DUPLICATE_CONNECTION`: the old one if the
  /// same side has dialled both, or if our key is the larger one, else the new one, as deployed pools decide. An
  /// incoming one does not end a connection that works before its peer has proved its key (`Connection.isPeerProven`):
  /// up to four of one peer wait for that, for 12 seconds each.
  ///
  /// The pool does not keep a connection: one that the program lets go of closes. May be used from any thread.
  public final class ConnectionPool: Sendable {
    let loop: UVEventLoop
    let core: LoopBound<PoolCore>
    private let view = Locked(PoolView())

    init(loop: UVEventLoop, node: LoopBound<DHTNode>) {
      self.loop = loop
      core = LoopBound(PoolCore(loop: loop, node: node, view: view))
    }

    /// Open connections.
    public var count: Int { view.withLock { $0.open.values.count { $0.connection != nil } } }
    /// Dials in progress.
    public var connecting: Int { view.withLock { $0.connecting } }
    /// The open connection with this peer, if the program still has it.
    public subscript(publicKey: Bytes32) -> Connection? { view.withLock { $0.open[publicKey]?.connection } }
    /// Open connections, in no order.
    public var connections: [Connection] { view.withLock { $0.open.values.compactMap(\.connection) } }

    /// The open connection with this peer, or the one that a dial under way makes, or that of a new dial, for which
    /// `options` count. Cancelling the task gives a dial up that no other caller waits for.
    /// - Throws: as `HyperDHT.connect`; `duplicateConnection` when another connection with the peer stays instead and
    ///   the program has let go of it.
    public nonisolated(nonsending) func connect(
      to publicKey: Bytes32, options: ConnectOptions = ConnectOptions()
    ) async throws(DHTError) -> Connection {
      let (core, loop) = (core, loop)
      return try await TracedCall("hyperdht.pool_connect", publicKey).run { () async throws(DHTError) -> Connection in
        try await awaitOperation(
          on: loop, cancelled: DHTError.cancelled, gone: .nodeDestroyed
        ) { settle in core.value.connect(to: publicKey, options: options, settle) }
      }
    }
  }
}

/// What a pool shows without waiting: written on the loop, read anywhere.
struct PoolView {
  struct OpenConnection {
    weak var connection: HyperDHT.Connection?
  }

  var open: [Bytes32: OpenConnection] = [:]
  var connecting = 0
}

/// The loop's side of a pool.
final class PoolCore {
  typealias Waiter = (Result<HyperDHT.Connection, DHTError>) -> Void

  private final class Dial {
    let stream: EncryptedStream
    var waiters: [UInt64: Waiter] = [:]
    init(stream: EncryptedStream) { self.stream = stream }
  }

  private let loop: UVEventLoop
  private let node: LoopBound<DHTNode>
  private let view: Locked<PoolView>
  private var streams: [Bytes32: EncryptedStream] = [:]
  private var dials: [Bytes32: Dial] = [:]
  private var lastWaiter: UInt64 = 0
  /// Incoming streams that wait for the proof of the peer's key, by that key.
  private(set) var newcomers: [Bytes32: Int] = [:]

  init(loop: UVEventLoop, node: LoopBound<DHTNode>, view: Locked<PoolView>) {
    self.loop = loop
    self.node = node
    self.view = view
  }

  /// - Returns: how to stop waiting.
  func connect(
    to publicKey: Bytes32, options: HyperDHT.ConnectOptions, _ settle: @escaping Waiter
  ) -> (() -> Void)? {
    if let connection = open(publicKey) {
      settle(.success(connection))
      return nil
    }
    let dial = dials[publicKey] ?? begin(publicKey, options)
    lastWaiter += 1
    let number = lastWaiter
    dial.waiters[number] = settle
    return { [self] in
      dial.waiters[number] = nil
      guard dial.waiters.isEmpty, dials[publicKey] === dial else { return }
      forget(dial, publicKey)
      dial.stream.destroy()
    }
  }

  /// The peer's open connection, if the program still has it.
  private func open(_ publicKey: Bytes32) -> HyperDHT.Connection? {
    guard streams[publicKey]?.isDestroying == false else { return nil }
    return view.withLock { $0.open[publicKey]?.connection }
  }

  private func begin(_ publicKey: Bytes32, _ options: HyperDHT.ConnectOptions) -> Dial {
    let stream = node.value.connect(to: publicKey, options: .init(options))
    let dial = Dial(stream: stream)
    dials[publicKey] = dial
    view.withLock { $0.connecting += 1 }
    stream.onOpen = { [self] in
      dial.stream.onOpen = nil
      guard dials[publicKey] === dial else { return }
      forget(dial, publicKey)
      let connection = arrived(dial.stream) ?? open(publicKey)
      for waiter in dial.waiters.values {
        waiter(connection.map(Result.success) ?? .failure(.duplicateConnection))
      }
    }
    stream.onClose = { [self] error in
      dial.stream.onOpen = nil
      guard dials[publicKey] === dial else { return }
      forget(dial, publicKey)
      // The peer may have come to us meanwhile.
      let connection = open(publicKey)
      for waiter in dial.waiters.values {
        waiter(connection.map(Result.success) ?? .failure(DHTError(closing: error)))
      }
    }
    return dial
  }

  private func forget(_ dial: Dial, _ publicKey: Bytes32) {
    dials[publicKey] = nil
    view.withLock { $0.connecting -= 1 }
  }

  /// An incoming stream. Its handshake may be a replay (secret-stream.md 12.1), which must not disturb a connection
  /// that works: beside one it waits for the proof of the peer's key.
  func accepted(_ stream: EncryptedStream, _ deliver: @escaping (HyperDHT.Connection) -> Void) {
    guard !stream.isAuthenticated, let publicKey = stream.remotePublicKey, let old = streams[publicKey],
      !old.isDestroying, old.isInitiator || old.isAuthenticated
    else {
      if let connection = arrived(stream) { deliver(connection) }
      return
    }
    guard newcomers[publicKey, default: 0] < Limits.newcomers else {
      return stream.destroy(EncryptedStreamError(.duplicateConnection))
    }
    newcomers[publicKey, default: 0] += 1
    stream.hold()
    let deadline = loop.schedule(after: Limits.newcomerProof) { [weak stream] in
      stream?.destroy(EncryptedStreamError(.duplicateConnection))
    }
    var isWaiting = true
    let leave = { [self] in
      guard isWaiting else { return }
      isWaiting = false
      deadline.cancel()
      let left = newcomers[publicKey, default: 1] - 1
      newcomers[publicKey] = left > 0 ? left : nil
    }
    stream.observe(
      authenticated: { [self, unowned stream] in
        leave()
        if let connection = arrived(stream) { deliver(connection) }
        stream.release()
      }, close: { _ in leave() })
  }

  /// An open stream of either role.
  /// - Returns: its connection; `nil` when the one before it stays.
  func arrived(_ stream: EncryptedStream) -> HyperDHT.Connection? {
    let connection = HyperDHT.Connection(loop: loop, node: node.value, stream: stream)
    let publicKey = connection.remotePublicKey
    let closed = connection.closed
    if let old = streams[publicKey], !old.isDestroying {
      let keepsNew = old.isInitiator == stream.isInitiator || connection.publicKey > publicKey
      guard keepsNew else {
        stream.onClose = closed
        stream.destroy(EncryptedStreamError(.duplicateConnection))
        return nil
      }
      old.destroy(EncryptedStreamError(.duplicateConnection))
    }
    streams[publicKey] = stream
    view.withLock { $0.open[publicKey] = PoolView.OpenConnection(connection: connection) }
    stream.onClose = { [self, unowned stream] error in
      if streams[publicKey] === stream {
        streams[publicKey] = nil
        view.withLock { _ = $0.open.removeValue(forKey: publicKey) }
      }
      closed(error)
    }
    return connection
  }
}
