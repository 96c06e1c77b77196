import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import HyperUDX

// Streams of a program's own among those of the node (hyperdht.md 14.4).
extension HyperDHT {
  /// Makes an unencrypted stream of the node, for a protocol by whose messages two peers learn the ids of both ends,
  /// and where to send. It can be connected beside a connection, through a socket of the node, or wait for the peer.
  ///
  /// It goes with the node: `suspend` and `destroy` end it, as they end connections.
  /// - `options`: of the transport; both sides have to agree on the sequence numbers.
  /// - Throws: `nodeDestroyed`; `suspended`; `cancelled` with the task; `other` when the node has 65,536 streams, or
  ///   for settings that the transport refuses.
  public nonisolated(nonsending) func makeRawStream(
    options: UDXStreamOptions = UDXStreamOptions()
  ) async throws(DHTError) -> RawStream {
    let (node, loop) = (node, loop)
    return try await operation { settle in
      settle(RawStream.make(node.value, loop: loop, options: options, connection: nil))
      return nil
    }
  }

  /// The streams of the node at this moment, in the order of their ids: those of connections and of attempts to
  /// connect, relayed and raw ones. Empty when the loop has ended.
  public nonisolated(nonsending) func rawStreams() async -> [RawStreamStatus] {
    await read { node in
      node.transportStreams.map { RawStreamStatus(id: $0.localID, remote: $0.remote, isConnected: $0.isConnected) }
    } ?? []
  }

  /// A stream of a node at one moment.
  public struct RawStreamStatus: Hashable, Sendable {
    /// What is in the packets that come for it.
    public var id: UInt32
    /// Where the peer's packets go; `nil` before it is connected.
    public var remote: Endpoint?
    /// Whether it has a peer.
    public var isConnected: Bool
  }
}

extension HyperDHT.Connection {
  /// Makes an unencrypted stream beside the connection, on the same path: for a protocol that has the two peers, or a
  /// relay in between, agree on the ids of both ends by messages.
  ///
  /// It goes with the node: `suspend` and `destroy` end it, as they end connections.
  /// - `options`: of the transport; both sides have to agree on the sequence numbers.
  /// - Throws: `closed` when the connection has; `failed` when the node has 65,536 streams, is suspended or destroyed,
  ///   or for settings that the transport refuses. Not for the cancellation of its task.
  public nonisolated(nonsending) func makeRawStream(
    options: UDXStreamOptions = UDXStreamOptions()
  ) async throws(ConnectionError) -> HyperDHT.RawStream {
    let connection = self
    let made = await onLoop(loop) { () -> Result<HyperDHT.RawStream, ConnectionError> in
      guard let node = connection.inner.node, !connection.isClosed else { return .failure(.closed) }
      return HyperDHT.RawStream.make(node, loop: connection.loop, options: options, connection: connection)
        .mapError { .failed(code: $0.code, description: $0.description) }
    }
    guard let made else { throw .closed }
    return try made.get()
  }
}

extension HyperDHT {
  /// A UDX stream of a node that knows its own id and has no peer yet. Connect it once. Letting go of it before that
  /// frees the id.
  ///
  /// It is neither encrypted nor authenticated, and its packets do not follow a change of network: make a
  /// `SecretStream` of the product HyperNoise over it.
  public final class RawStream: Sendable {
    /// What the peer has to know: it is in the packets that come here.
    public let id: UInt32
    private let loop: UVEventLoop
    private let node: LoopBound<WeakNode>
    /// That it was made beside.
    private let connection: Connection?
    private let stream: LoopBound<UDXStream>
    /// A call has it, or it has its peer.
    private let isTaken = Locked(false)

    private final class WeakNode {
      weak var node: DHTNode?
      init(_ node: DHTNode) { self.node = node }
    }

    /// On the loop.
    static func make(
      _ node: DHTNode, loop: UVEventLoop, options: UDXStreamOptions, connection: Connection?
    ) -> Result<RawStream, DHTError> {
      if node.isDestroyed { return .failure(.nodeDestroyed) }
      if node.isSuspended { return .failure(.suspended) }
      guard let stream = node.makeTransportStream() as? UDXStream else { return .failure(.other("too many streams")) }
      do throws(TransportError) {
        try stream.apply(options)
      } catch {
        stream.destroy()
        return .failure(.other("the stream's options are refused: \(error.description)"))
      }
      return .success(RawStream(node, loop, stream, connection))
    }

    private init(_ node: DHTNode, _ loop: UVEventLoop, _ stream: UDXStream, _ connection: Connection?) {
      id = stream.localID
      self.loop = loop
      self.node = LoopBound(WeakNode(node))
      self.connection = connection
      self.stream = LoopBound(stream)
      // Nothing is for it before it has a peer.
      stream.setFirewall { _, _ in false }
    }

    deinit {
      let stream = stream
      if !isTaken.withLock({ $0 }) { loop.post { stream.value.destroy() } }
    }

    /// Gives it its peer, beside the connection that it was made with: the stream `remoteID` where the connection's
    /// packets go now. What comes from there to another port is taken as well, but a later move of the connection does
    /// not move what goes there. It keeps the connection open.
    /// - Throws: `closed` when either has closed, or for a second call; `failed`, with the code
    ///   `STREAM_NOT_CONNECTED`, for a stream that was made without a connection and may still be connected by another
    ///   call. After any other failure the stream is gone. Not for the cancellation of its task.
    public nonisolated(nonsending) func connect(remoteID: UInt32) async throws(ConnectionError) -> UDXConnection {
      guard let connection else { throw ConnectionError(DHTError.streamNotConnected) }
      return try await connect(remoteID: remoteID, beside: connection)
    }

    /// The same beside any connection of the same node.
    /// - Throws: as the call without a connection; `failed`, with the code `STREAM_NOT_CONNECTED`, for a
    ///   connection of another node: the stream is gone then, too.
    public nonisolated(nonsending) func connect(
      remoteID: UInt32, beside connection: Connection
    ) async throws(ConnectionError) -> UDXConnection {
      try await attach(owner: connection, remoteID: remoteID) { RawStream.way(beside: connection, of: $0) }
    }

    /// Gives it its peer: the stream `remoteID` at `remote`, through a socket of the node. Nothing is sent before the
    /// first write. What comes from that host to any socket of the node is taken. Where NATs are between, both have to
    /// be open already: by requests, pings and what else leaves from that socket.
    /// - Throws: `closed` when the stream or the node has, or for a second call; `failed` for an address that is none
    ///   (`TRANSPORT_ERROR`), and while the node is suspended (`SUSPENDED`): the stream is gone then. Not for the
    ///   cancellation of its task.
    public nonisolated(nonsending) func connect(
      remoteID: UInt32, to remote: Endpoint, through socket: NodeSocket = .current
    ) async throws(ConnectionError) -> UDXConnection {
      try await attach(owner: nil, remoteID: remoteID) { node in
        guard let socket = socket.socket(of: node) else { return .failure(ConnectionError(DHTError.suspended)) }
        return .success((socket, remote))
      }
    }

    /// Waits for the peer's first packet, and takes where it comes from for the address of the stream `remoteID`: for a
    /// peer that knows our address and has an unknown one. With `id` alone any host can send such a packet.
    ///
    /// A call that is cancelled leaves the stream as it was.
    /// - `accepts`: asked for the source of each packet, on the loop: return at once. `false` drops it. `nil` takes the
    ///   first one that comes. Held until the call has ended.
    /// - Throws: `closed` when the stream has, with its node for example, or while another call has it; `cancelled`.
    public nonisolated(nonsending) func accept(
      remoteID: UInt32, from accepts: (@Sendable (Endpoint) -> Bool)? = nil
    ) async throws(ConnectionError) -> UDXConnection {
      guard take() else { throw .closed }
      let (loop, bound, isTaken) = (loop, stream, isTaken)
      do throws(ConnectionError) {
        return try await awaitOperation(on: loop, cancelled: ConnectionError.cancelled, gone: .closed) { settle in
          let stream = bound.value
          guard !stream.isClosed else {
            settle(.failure(.closed))
            return nil
          }
          stream.setFirewall { [unowned stream] socket, source in
            guard source.port != 0, accepts?(source) ?? true else { return false }
            let result = RawStream.attach(stream, owner: loop, loop, remoteID, socket, source)
            settle(result)
            return (try? result.get()) != nil
          }
          stream.onClose = { _ in settle(.failure(.closed)) }
          return {
            guard !stream.isConnected else { return }
            stream.onClose = nil
            stream.setFirewall { _, _ in false }
          }
        }
      } catch {
        // What has come too late for the caller closes by itself.
        if error == .cancelled { isTaken.withLock { $0 = false } }
        throw error
      }
    }

    /// As `connect(remoteID:)`. The stream keeps what it needs beside the connection as long as it lives.
    package nonisolated(nonsending) func connect(
      remoteID: UInt32, keeping owner: any Sendable
    ) async throws(ConnectionError) -> UDXConnection {
      guard let connection else { throw ConnectionError(DHTError.streamNotConnected) }
      return try await attach(owner: owner, remoteID: remoteID) { RawStream.way(beside: connection, of: $0) }
    }

    /// On the loop.
    private static func way(
      beside connection: Connection, of node: DHTNode
    ) -> Result<(any DatagramSocket, Endpoint), ConnectionError> {
      guard let transport = connection.inner.stream.transport, let socket = transport.socket,
        let remote = transport.remote, !connection.isClosed
      else { return .failure(.closed) }
      guard connection.inner.node === node else { return .failure(ConnectionError(DHTError.streamNotConnected)) }
      return .success((socket, remote))
    }

    private func take() -> Bool {
      isTaken.withLock { isTaken in
        defer { isTaken = true }
        return !isTaken
      }
    }

    private nonisolated(nonsending) func attach(
      owner: (any Sendable)?, remoteID: UInt32,
      _ route: @escaping @Sendable (DHTNode) -> Result<(any DatagramSocket, Endpoint), ConnectionError>
    ) async throws(ConnectionError) -> UDXConnection {
      guard take() else { throw .closed }
      let (loop, node, stream) = (loop, node, stream)
      let result = await onLoop(loop) { () -> Result<UDXConnection, ConnectionError> in
        let stream = stream.value
        guard let node = node.value.node, !stream.isClosed else { return .failure(.closed) }
        let result = route(node).flatMap { socket, remote in
          RawStream.attach(stream, owner: owner ?? loop, loop, remoteID, socket, remote)
        }
        if case .failure = result { stream.destroy() }
        return result
      }
      guard let result else { throw .closed }
      return try result.get()
    }

    /// On the loop. `owner`: what the stream needs to live.
    private static func attach(
      _ stream: UDXStream, owner: any Sendable, _ loop: UVEventLoop, _ remoteID: UInt32, _ socket: any DatagramSocket,
      _ remote: Endpoint
    ) -> Result<UDXConnection, ConnectionError> {
      do throws(TransportError) {
        try stream.connect(socket: socket, remoteID: remoteID, to: remote)
      } catch {
        return .failure(.failed(code: "TRANSPORT_ERROR", description: error.description))
      }
      // When the peer goes over to another socket or port, it may send from there.
      stream.setFirewall { _, source in source.host == remote.host }
      return .success(UDXConnection(loop: loop, owner: owner, stream: stream))
    }
  }
}

extension ConnectionError {
  fileprivate init(_ error: DHTError) { self = .failed(code: error.code, description: error.description) }
}
