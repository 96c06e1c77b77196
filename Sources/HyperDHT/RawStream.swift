import HyperEncoding
import HyperRuntime
import HyperUDX

extension HyperDHT.Connection {
  /// Makes an unencrypted stream beside the connection, on the same path: for a protocol that has the two peers, or a
  /// relay in between, agree on the ids of both ends by messages.
  /// - Throws: `closed`.
  public nonisolated(nonsending) func makeRawStream() async throws(ConnectionError) -> HyperDHT.RawStream {
    let connection = self
    let made = await onLoop(loop) { () -> HyperDHT.RawStream? in
      guard let own = connection.inner.stream.transport as? UDXStream, let stream = own.makeSibling() else {
        return nil
      }
      return HyperDHT.RawStream(connection: connection, stream: stream)
    }
    guard let made, let made else { throw .closed }
    return made
  }
}

extension HyperDHT {
  /// A UDX stream beside a connection that knows its own id and not yet the peer's. Letting go of it frees the id.
  ///
  /// It is neither encrypted nor authenticated: make a `SecretStream` of the product HyperNoise over it.
  public final class RawStream: Sendable {
    /// What the peer has to know: it is in the packets that come here.
    public let id: UInt32
    private let connection: Connection
    private let stream: LoopBound<UDXStream>
    private let isConnected = Locked(false)

    /// On the loop.
    init(connection: Connection, stream: UDXStream) {
      id = stream.localID
      self.connection = connection
      self.stream = LoopBound(stream)
      // Nothing is for it before it has a peer.
      stream.setFirewall { _, _ in false }
    }

    deinit {
      let stream = stream
      if !isConnected.withLock({ $0 }) { connection.loop.post { stream.value.destroy() } }
    }

    /// Gives it its peer: the stream `remoteID` where the connection's packets go now. What comes from
    /// there to another port is taken as well, but a later move of the connection does not move what goes there. It
    /// keeps the connection open.
    /// - Throws: `closed` when the connection has closed, or for a second call.
    public nonisolated(nonsending) func connect(remoteID: UInt32) async throws(ConnectionError) -> UDXConnection {
      let isFirst = isConnected.withLock { isConnected in
        defer { isConnected = true }
        return !isConnected
      }
      guard isFirst else { throw .closed }
      let (connection, stream) = (connection, stream)
      let result = await onLoop(connection.loop) { () -> Result<UDXConnection, ConnectionError> in
        guard let transport = connection.inner.stream.transport, let socket = transport.socket as? UDXSocket,
          let remote = transport.remote, !connection.isClosed
        else {
          stream.value.destroy()
          return .failure(.closed)
        }
        do throws(TransportError) {
          try stream.value.connect(socket, remoteID: remoteID, to: remote)
        } catch {
          stream.value.destroy()
          return .failure(.failed(code: "TRANSPORT_ERROR", description: error.description))
        }
        // When the connection moves to another socket or port, the other end may send there.
        stream.value.setFirewall { _, source in source.host == remote.host }
        return .success(UDXConnection(loop: connection.loop, owner: connection, stream: stream.value))
      }
      guard let result else { throw .closed }
      return try result.get()
    }
  }
}
