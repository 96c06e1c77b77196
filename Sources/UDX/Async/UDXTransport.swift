import CHyperUV
import HyperEncoding
import HyperEnvironment
import HyperRuntime

/// The UDX transport by itself: reliable, congestion-controlled streams and plain datagrams over UDP, unencrypted,
/// without a handshake. The ids and addresses of both ends of a stream are the application's affair (HyperDHT exchanges
/// them in its own handshake).
///
/// ```swift
/// let transport = try await UDXTransport()
/// let port = try await transport.bind()
/// let connection = try await port.connect(localID: 1, remoteID: 2, to: peer)
/// try await connection.write(Array("hello".utf8))
/// for try await bytes in connection.inbound { print(bytes.count, "bytes") }
/// ```
///
/// May be used from any thread; lives on one event loop, its own thread unless one is given. Letting go of the last
/// reference, that of its ports and connections included, closes it; `close` does it and waits.
public final class UDXTransport: Sendable {
  /// The loop that sockets and streams live on.
  public let loop: UVEventLoop
  let environment: LoopBound<UVEnvironment>
  private let ownsLoop: Bool

  /// A transport on the given loop, which it leaves as it is at the end, or on a thread of its own.
  /// - Throws: what the system says: `EMFILE` without descriptors, `EAGAIN` without a thread; `ECANCELED` when the
  ///   given loop has ended.
  public nonisolated(nonsending) init(loop given: UVEventLoop? = nil) async throws(UDXError) {
    let loop: UVEventLoop
    do throws(EventLoopError) {
      loop = if let given { given } else { try UVEventLoop.startThread() }
    } catch {
      throw UDXError(code: error.code, description: error.description)
    }
    self.loop = loop
    ownsLoop = given == nil
    let made = await onLoop(loop) { () -> LoopBound<Result<UVEnvironment, TransportError>> in
      do throws(TransportError) {
        return LoopBound(.success(try UVEnvironment(loop: loop)))
      } catch {
        return LoopBound(.failure(error))
      }
    }
    switch made?.value {
    case .success(let environment)?: self.environment = LoopBound(environment)
    case .failure(let error)?:
      if given == nil { await loop.shutdown() }
      throw error
    case nil: throw UDXError.closed
    }
  }

  deinit {
    let environment = environment
    let loop = loop
    let ownsLoop = ownsLoop
    loop.post { environment.value.close { if ownsLoop { loop.beginShutdown(nil) } } }
  }

  /// Opens a UDP socket; port 0 is any. With `reusesAddress` other sockets that said so may have the port, too.
  /// - Throws: `EADDRINUSE` when the port is taken; `EADDRNOTAVAIL` when the host has no such address; `EACCES` where
  ///   the port is the system's; `EMFILE` without descriptors; `EINVAL` after `close`; `ECANCELED` when the loop has
  ///   ended.
  public nonisolated(nonsending) func bind(
    host: IPv4Address = .any, port: UInt16 = 0, reusesAddress: Bool = false
  ) async throws(UDXError) -> UDXPort {
    try await bind(
      UDXAddress(Endpoint(host: host, port: port)), reusesAddress: reusesAddress)
  }

  /// Opens a UDP socket at an address of either family, such as `UDXAddress("[::]:0")`; port 0 is any. A socket at the
  /// IPv6 address `::` has IPv4 traffic, too, with plain IPv4 addresses, unless `isIPv6Only`. Throws the same.
  public nonisolated(nonsending) func bind(
    _ address: UDXAddress, reusesAddress: Bool = false, isIPv6Only: Bool = false
  ) async throws(UDXError) -> UDXPort {
    let transport = self
    let result = await onLoop(loop) { () -> Result<UDXPort, UDXError> in
      let socket = UDXSocket(environment: transport.environment.value.instance)
      do throws(TransportError) {
        try socket.bind(address, reusesAddress: reusesAddress, isIPv6Only: isIPv6Only)
        return .success(UDXPort(transport: transport, socket: socket))
      } catch {
        return .failure(error)
      }
    }
    guard let result else { throw .closed }
    return try result.get()
  }

  /// Writes every transport event to a file, as qlog (JSON text sequences), until the transport is closed. About 250
  /// bytes per packet; what the file does not take is dropped and counted in the last record.
  /// - Parameter path: created, for its owner alone, or emptied.
  /// - Throws: `EBUSY` while there is a trace; `EINVAL` after `close`; what the system says of the file; `ECANCELED`
  ///   when the loop has ended.
  public nonisolated(nonsending) func openTrace(path: String) async throws(UDXError) {
    let environment = environment
    let result = await onLoop(loop) { () -> Result<Void, UDXError> in
      do throws(TransportError) {
        return .success(try environment.value.instance.openTrace(path: path))
      } catch {
        return .failure(error)
      }
    }
    guard let result else { throw .closed }
    return try result.get()
  }

  /// Destroys all connections, closes all sockets, and waits for it, and for the end of the thread if it has its own.
  /// Peers see a reset. May be called more than once; cancellation does not end the wait.
  public nonisolated(nonsending) func close() async {
    let environment = environment
    let loop = loop
    await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
      if !loop.post({ environment.value.close { continuation.resume() } }) { continuation.resume() }
    }
    if ownsLoop { await loop.shutdown() }
  }
}

/// Why a socket or stream could not be made or set: a negative errno as libuv has it, and its text. The names that the
/// calls list are those of the errno: `error.code == -EADDRINUSE`.
public typealias UDXError = TransportError

extension TransportError {
  static let closed = TransportError(uv: UV_ECANCELED.rawValue)
}

/// A bound UDP socket: datagrams, and streams that share it. Keeps its transport, and is kept by its connections.
/// Letting go of it closes it once its streams are gone. May be used from any thread.
public final class UDXPort: Sendable {
  /// Where the socket is bound.
  public let localAddress: UDXAddress
  /// The same for IPv4; of a socket at an IPv6 address 0.0.0.0, with the port.
  public var address: Endpoint { localAddress.endpoint ?? Endpoint(host: .any, port: localAddress.port) }
  let transport: UDXTransport
  let socket: LoopBound<UDXSocket>
  private let queue: EventQueue<Datagram, Never>

  /// A datagram that belongs to no stream.
  public struct Datagram: Hashable, Sendable {
    /// The payload.
    public var bytes: [UInt8]
    /// The sender's address; of an IPv6 sender 0.0.0.0, with the port.
    public var source: Endpoint
    /// The sender's address.
    public var sourceAddress: UDXAddress

    init(bytes: [UInt8], sourceAddress: UDXAddress) {
      self.bytes = bytes
      self.sourceAddress = sourceAddress
      source = sourceAddress.endpoint ?? Endpoint(host: .any, port: sourceAddress.port)
    }
  }

  init(transport: UDXTransport, socket: UDXSocket) {
    self.transport = transport
    self.socket = LoopBound(socket)
    localAddress = socket.localAddress ?? UDXAddress(host: .v4(.any), port: 0)
    let queue = EventQueue<Datagram, Never>(capacity: Limits.datagrams)
    self.queue = queue
    socket.onDatagram = { bytes, source in queue.push(Datagram(bytes: Array(bytes), sourceAddress: source)) }
  }

  deinit {
    let socket = socket
    let queue = queue
    transport.loop.post { socket.value.close { queue.finish() } }
  }

  /// The next datagram; `nil` when the socket is closed or the task cancelled. Each goes to one caller. Up to 256 wait
  /// to be read, further ones are dropped.
  public nonisolated(nonsending) func nextDatagram() async -> Datagram? {
    await queue.next()
  }

  /// Sends a datagram, fire and forget: what cannot be sent is dropped, and counted in `UDXSocket.droppedSends`.
  /// - Parameters:
  ///   - bytes: the payload, at most 65,507.
  ///   - destination: an IPv4 address with a port.
  ///   - ttl: the routers that it passes at most; 0 is the socket's `timeToLive`, 64 at first.
  public func send(_ bytes: [UInt8], to destination: Endpoint, ttl: UInt8 = 0) {
    let socket = socket
    transport.loop.post { socket.value.send(bytes, to: destination, ttl: ttl) }
  }

  /// Sends a datagram to an address of either family, of which IPv6 ones are for sockets at such an address; else the
  /// same.
  public func send(_ bytes: [UInt8], to destination: UDXAddress, ttl: UInt8 = 0) {
    let socket = socket
    transport.loop.post { socket.value.send(bytes, to: destination, ttl: ttl) }
  }

  /// A stream with the peer's stream `remoteID` at `remote`. Nothing is sent before the first write; nothing is known
  /// of the peer either.
  /// - Parameters:
  ///   - localID: what the peer puts into its packets: of no other stream of this transport.
  ///   - remoteID: the peer's `localID`.
  ///   - remote: where the peer is.
  ///   - options: settings that hold from the start.
  /// - Throws: `EINVAL` when `localID` is in use, `remote` has no port, or the port is closed; `ECANCELED` when the
  ///   loop has ended.
  public nonisolated(nonsending) func connect(
    localID: UInt32, remoteID: UInt32, to remote: Endpoint, options: UDXStreamOptions = UDXStreamOptions()
  ) async throws(UDXError) -> UDXConnection {
    try await connect(
      localID: localID, remoteID: remoteID, to: UDXAddress(remote), options: options)
  }

  /// The same with a peer at an address of either family, of which IPv6 ones are for sockets at such an address:
  /// `EINVAL` elsewhere.
  public nonisolated(nonsending) func connect(
    localID: UInt32, remoteID: UInt32, to remote: UDXAddress, options: UDXStreamOptions = UDXStreamOptions()
  ) async throws(UDXError) -> UDXConnection {
    let port = self
    let result = await onLoop(transport.loop) { () -> Result<UDXConnection, UDXError> in
      let stream = UDXStream(environment: port.transport.environment.value.instance, localID: localID)
      do throws(TransportError) {
        try stream.apply(options)
        try stream.connect(port.socket.value, remoteID: remoteID, to: remote)
        return .success(UDXConnection(loop: port.transport.loop, owner: port, stream: stream))
      } catch {
        stream.destroy()
        return .failure(error)
      }
    }
    guard let result else { throw .closed }
    return try result.get()
  }

  /// Runs `body` on the loop with the socket itself: for buffers, hops, multicast, counters. Do not close it, and do
  /// not set `onDatagram`, which is in use. Does not look at cancellation.
  /// - Parameter body: called once, on the loop's thread; must not block.
  /// - Returns: what `body` returns.
  /// - Throws: what `body` throws, `ECANCELED` when the loop has ended.
  public nonisolated(nonsending) func withSocket<R: Sendable>(
    _ body: @escaping @Sendable (UDXSocket) throws(UDXError) -> R
  ) async throws(UDXError) -> R {
    let socket = socket
    let result = await onLoop(transport.loop) { () -> Result<R, UDXError> in
      do throws(UDXError) {
        return .success(try body(socket.value))
      } catch {
        return .failure(error)
      }
    }
    guard let result else { throw .closed }
    return try result.get()
  }

  /// The socket's counters, streams and datagrams together; the last ones after its close, all zero once the loop has
  /// ended.
  public nonisolated(nonsending) func statistics() async -> UDXSocketStatistics {
    let socket = socket
    return await onLoop(transport.loop) { socket.value.statistics } ?? UDXSocketStatistics()
  }

  /// Closes the socket once its streams are gone, and waits for it: as long as they live. Cancellation does not end the
  /// wait.
  public nonisolated(nonsending) func close() async {
    let socket = socket
    let loop = transport.loop
    let queue = queue
    await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
      let isPosted = loop.post {
        socket.value.close {
          queue.finish()
          continuation.resume()
        }
      }
      if !isPosted { continuation.resume() }
    }
  }
}
