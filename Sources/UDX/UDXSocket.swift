import CHyperUDX
import CHyperUV
import HyperEncoding
import HyperEnvironment

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A UDP socket: datagrams of the application, and the packets of the streams that are connected through it.
///
/// Loop-confined. Held by the transport from `bind` until it has closed, and its callbacks with it; its owner closes
/// it. Bound to an IPv4 address, or to an IPv6 one: `bind` with a `UDXAddress`.
public final class UDXSocket: DatagramSocket {
  // The C socket exists from `bind` until its close callback and holds this object for that time.

  /// Datagrams that belong to no stream, with their IPv4 source; the bytes are valid during the call.
  public var onMessage: ((UnsafeRawBufferPointer, Endpoint) -> Void)?
  /// The same with sources of either family; while it is set `onMessage` is not called.
  public var onDatagram: ((UnsafeRawBufferPointer, UDXAddress) -> Void)?
  /// The system took the port away, as some do when a network goes, and the socket has one again: `localEndpoint`.
  public var onRebind: (() -> Void)?
  /// The first stream uses this socket; none did before.
  public var onBusy: (() -> Void)?
  /// The last stream that used this socket is gone.
  public var onIdle: (() -> Void)?
  /// The bound address, `nil` before `bind` and after the close.
  public private(set) var localAddress: UDXAddress?
  /// The same for IPv4; `nil` also while the socket is bound to an IPv6 address.
  public var localEndpoint: Endpoint? { localAddress?.endpoint }
  /// Whether `close` has been called.
  public private(set) var isClosed = false
  /// Streams that are connected through this socket.
  public private(set) var streamCount = 0
  /// Datagrams dropped here: sent after `close`, to port 0 or to an address of another family, longer than 65,507
  /// bytes, or while 4,096 wait for the system.
  public private(set) var droppedSends: UInt64 = 0

  let environment: UDXInstance
  package private(set) var handle: UnsafeMutablePointer<udx_socket_t>?
  /// What was counted when the socket closed.
  var finalStatistics = UDXSocketStatistics()
  private var isClosing = false
  private var isHandleClosing = false
  private var closeCallbacks: [() -> Void] = []

  /// A socket of the instance, not yet bound.
  public convenience init(_ instance: UDXInstance) { self.init(environment: instance) }

  package init(environment: UDXInstance) { self.environment = environment }

  // MARK: Binding

  /// Binds and begins to receive; port 0 is any. Once only, unless it failed.
  /// - Throws: `EADDRINUSE` when the port is taken; `EADDRNOTAVAIL` when the host has no such address; `EACCES` where
  ///   the port is the system's; `EMFILE` without descriptors; `EINVAL` when bound or closed already.
  public func bind(host: IPv4Address, port: UInt16) throws(TransportError) {
    try bind(host: host, port: port, reusesAddress: false)
  }

  /// The same, which throws the same. With `reusesAddress` other sockets of the host that said so may have the port,
  /// too: each gets the datagrams of the groups that it has joined, one of them the others.
  public func bind(host: IPv4Address, port: UInt16, reusesAddress: Bool) throws(TransportError) {
    try bind(UDXAddress(Endpoint(host: host, port: port)), reusesAddress: reusesAddress)
  }

  /// The same with an address of either family. A socket at the IPv6 address `::` has IPv4 traffic, too, with plain
  /// IPv4 addresses, unless `isIPv6Only`, which has no meaning for an IPv4 address.
  public func bind(
    _ address: UDXAddress, reusesAddress: Bool = false, isIPv6Only: Bool = false
  ) throws(TransportError) {
    guard handle == nil, !isClosing else { throw .invalid }
    let socket = UnsafeMutablePointer<udx_socket_t>.allocate(capacity: 1)
    socket.initialize(to: udx_socket_t())
    var result = udx_socket_init(environment.udx, socket) { UDXSocket.handleClosed($0) }
    guard result == 0 else {
      socket.deallocate()
      throw TransportError(uv: result)
    }
    environment.becameBusy()
    handle = socket
    // Held until the close callback.
    socket.pointee.data = Unmanaged.passRetained(self).toOpaque()
    var flags = reusesAddress ? UInt32(UV_UDP_REUSEADDR.rawValue) : 0
    if isIPv6Only, address.isIPv6 { flags |= UInt32(UV_UDP_IPV6ONLY.rawValue) }
    result = address.withSocketAddress { udx_socket_bind(socket, $0, flags) }
    if result == 0 {
      result = udx_socket_recv_start(socket) { UDXSocket.received($0, $1, $2, $3) }
    }
    if result == 0, let bound = boundAddress(socket) {
      localAddress = bound
      udx_socket_on_rebind(socket) { UDXSocket.rebound($0) }
      return
    }
    // Its close callback finds that it is not the socket's handle any more.
    handle = nil
    udx_socket_close(socket)
    throw TransportError(uv: result == 0 ? UV_EINVAL.rawValue : result)
  }

  private func boundAddress(_ socket: UnsafeMutablePointer<udx_socket_t>) -> UDXAddress? {
    var storage = sockaddr_storage()
    var length = Int32(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &storage) { storage in
      storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        udx_socket_getsockname(socket, address, &length) == 0 ? UDXAddress(socketAddress: address) : nil
      }
    }
  }

  /// For streams: the C socket, bound to any port when `bind` was not called.
  func boundHandle(isIPv6: Bool = false) throws(TransportError) -> UnsafeMutablePointer<udx_socket_t> {
    if handle == nil { try bind(UDXAddress(host: isIPv6 ? .v6(.any) : .v4(.any), port: 0)) }
    guard let handle, !isHandleClosing else { throw .invalid }
    return handle
  }

  // MARK: Datagrams

  /// Sends one datagram, fire and forget; the bytes are copied. `ttl` is the routers that it passes at most, 0 for
  /// `timeToLive`. Binds to any port if need be. After `close` as long as a stream still uses the socket. What cannot
  /// be sent is dropped, and counted in `droppedSends`.
  public func send(_ bytes: [UInt8], to destination: Endpoint, ttl: UInt8 = 0) {
    bytes.withUnsafeBytes { send($0, to: destination, ttl: ttl) }
  }

  package func send(_ bytes: UnsafeRawBufferPointer, to destination: Endpoint, ttl: UInt8) {
    send(bytes, toPlace: destination, ttl: ttl)
  }

  @inline(__always)
  func send(_ bytes: UnsafeRawBufferPointer, toPlace destination: some SocketPlace, ttl: UInt8) {
    guard !isClosing || streamCount > 0, !isHandleClosing, !isClosed, bytes.count <= Limits.datagram,
      destination.port != 0, let socket = try? boundHandle(isIPv6: destination.isIPv6)
    else {
      droppedSends += 1
      return
    }
    let pool = environment.pool
    let block = pool.take(payload: bytes.count)
    let request = block.initializeMemory(as: udx_socket_send_t.self, to: udx_socket_send_t())
    let payload = block + RequestPool.headerSize
    if let base = bytes.baseAddress { payload.copyMemory(from: base, byteCount: bytes.count) }
    var buffer = uv_buf_t(base: payload.assumingMemoryBound(to: CChar.self), len: bytes.count)
    // The request remembers how big its block is; the environment outlives it.
    request.pointee.data = UnsafeMutableRawPointer(bitPattern: bytes.count)
    let result = destination.withSocketAddress { address in
      udx_socket_send_ttl(request, socket, &buffer, 1, address, Int32(ttl)) { request, _ in
        guard let request, let socket = request.pointee.socket, let context = socket.pointee.data else { return }
        let size = Int(bitPattern: request.pointee.data)
        Unmanaged<UDXSocket>.fromOpaque(context)._withUnsafeGuaranteedRef {
          $0.environment.pool.giveBack(UnsafeMutableRawPointer(request), payload: size)
        }
      }
    }
    if result < 0 {
      droppedSends += 1
      pool.giveBack(block, payload: bytes.count)
    }
  }

  private static func received(
    _ socket: UnsafeMutablePointer<udx_socket_t>?, _ length: Int, _ buffer: UnsafePointer<uv_buf_t>?,
    _ source: UnsafePointer<sockaddr>?
  ) {
    guard let context = socket?.pointee.data, length >= 0, let buffer else { return }
    let bytes = UnsafeRawBufferPointer(start: buffer.pointee.base, count: length)
    Unmanaged<UDXSocket>.fromOpaque(context)._withUnsafeGuaranteedRef { this in
      if let onDatagram = this.onDatagram {
        if let address = UDXAddress(socketAddress: source) { onDatagram(bytes, address) }
      } else if let endpoint = Endpoint(socketAddress: source) {
        this.onMessage?(bytes, endpoint)
      }
    }
  }

  private static func rebound(_ socket: UnsafeMutablePointer<udx_socket_t>?) {
    guard let socket, let context = socket.pointee.data else { return }
    let this = Unmanaged<UDXSocket>.fromOpaque(context).takeUnretainedValue()
    this.localAddress = this.boundAddress(socket) ?? this.localAddress
    this.onRebind?()
  }

  // MARK: Streams

  func streamJoined() {
    streamCount += 1
    if streamCount == 1 { onBusy?() }
  }

  func streamLeft() {
    streamCount -= 1
    guard streamCount == 0 else { return }
    onIdle?()
    // The C stream may count until it is finalized, a moment later.
    if isClosing, streamCount == 0 { environment.later { self.tryToClose() } }
  }

  /// A stream of this instance is gone for good.
  func streamFinalized() {
    if isClosing, streamCount == 0 { tryToClose() }
  }

  // MARK: Closing

  /// Closes once no stream uses the socket any more; `completion` runs once, on the loop, in a later turn. Until then
  /// datagrams still arrive. May be called more than once.
  public func close(_ completion: (() -> Void)? = nil) {
    if let completion { closeCallbacks.append(completion) }
    guard !isClosed else { return reportClosed() }
    isClosing = true
    tryToClose()
  }

  private func tryToClose() {
    guard !isClosed, !isHandleClosing, streamCount == 0 else { return }
    if handle == nil { finish() } else { closeHandle() }
  }

  private func closeHandle() {
    guard let handle, !isHandleClosing else { return }
    // EBUSY: a stream has not let go yet and will call again from its finalize callback.
    if udx_socket_close(handle) == 0 { isHandleClosing = true }
  }

  private static func handleClosed(_ socket: UnsafeMutablePointer<udx_socket_t>?) {
    guard let socket, let context = socket.pointee.data else { return }
    let this = Unmanaged<UDXSocket>.fromOpaque(context).takeRetainedValue()
    // Teardown of the instance closes sockets, too. A socket that failed to bind has let go of its handle before.
    if this.handle == socket {
      this.finalStatistics = this.statistics
      this.handle = nil
      this.finish()
    }
    // Requests are called back before; nothing in C refers to the socket any more.
    socket.deallocate()
  }

  private func finish() {
    guard !isClosed else { return }
    isClosing = true
    isClosed = true
    localAddress = nil
    onMessage = nil
    onDatagram = nil
    onRebind = nil
    onBusy = nil
    onIdle = nil
    reportClosed()
  }

  private func reportClosed() {
    guard !closeCallbacks.isEmpty else { return }
    let callbacks = closeCallbacks
    closeCallbacks = []
    environment.later { for callback in callbacks { callback() } }
  }
}
