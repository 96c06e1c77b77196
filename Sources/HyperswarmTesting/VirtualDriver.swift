import CHyperUDX
import HyperEncoding
import HyperEnvironment
import HyperUDX

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

// The C engine on a virtual host: its clock, its randomness, its sockets (udx_driver.h).

/// The transport of `host`.
func makeInstance(of host: VirtualHost) throws(TransportError) -> UDXInstance {
  let context = DriverContext(host: host)
  let lifetime = InstanceLifetime(context)
  let instance = try UDXInstance(
    // The instance, which lives until C is idle, holds the driver's context by this closure.
    later: { lifetime.context.time.deferred($0) },
    pool: host.network?.pool,
    start: { udx, onIdle in
      udx_init_with_driver(udx, virtualDriver, Unmanaged.passUnretained(context).toOpaque(), onIdle)
    })
  context.instance = instance
  return instance
}

/// Ends with the instance that holds it.
private final class InstanceLifetime {
  let context: DriverContext

  init(_ context: DriverContext) { self.context = context }

  deinit { context.instance = nil }
}

/// What the driver keeps for one instance. The host holds the instance, the instance this.
final class DriverContext {
  let time: VirtualTime
  var host: VirtualHost? { link.object }
  /// Cleared when it goes.
  unowned(unsafe) var instance: UDXInstance?
  private let link: BackLink<VirtualHost>
  /// In the list of `WarmTransports`.
  var isWarm = false
  private var timer: VirtualTimer?
  private var deadline = udxNever
  private var isFlushDue = false

  init(host: VirtualHost) {
    link = host.backLink
    time = host.time
  }

  deinit { timer?.cancel() }

  func arm(_ udx: UnsafeMutablePointer<udx_t>, _ newDeadline: UInt64) {
    guard newDeadline != deadline else { return }
    timer?.cancel()
    timer = nil
    deadline = newDeadline
    guard newDeadline != udxNever else { return }
    let delay = newDeadline > time.now ? newDeadline - time.now : 0
    // Armed with almost every packet, so without a counted reference: `deinit` cancels the timer.
    timer = time.schedule(afterMicroseconds: delay) { [unowned(unsafe) self] in
      guard let instance else { return }
      deadline = udxNever
      timer = nil
      warm()
      host?.activity.wake()
      withExtendedLifetime(instance) { udx_driver_tick(udx) }
    }
  }

  func flushLater(_ udx: UnsafeMutablePointer<udx_t>) {
    guard !isFlushDue else { return }
    isFlushDue = true
    time.deferred { [self] in
      isFlushDue = false
      guard let instance else { return }
      warm()
      withExtendedLifetime(instance) { udx_driver_flush(udx) }
    }
  }

  func warm() {
    if !isWarm { host?.network?.transports.add(self) }
  }

  func stop() {
    timer?.cancel()
    timer = nil
    deadline = udxNever
  }

  func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
    guard let host else { return }
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: host.transportRandom.next()) }
  }
}

/// `UDX_NEVER` of udx_driver.h, which Swift does not import.
private let udxNever = UInt64.max

/// The transports that keep memory for the next packets. In a large network most hosts are quiet at any one time: what
/// they keep is given back in turn, which changes nothing that they do.
struct WarmTransports {
  /// Transports with memory for speed, about 40 KB each: 2.5 MB for a network of any size.
  private static let maximum = 64
  private var contexts: [DriverContext] = []

  mutating func add(_ context: DriverContext) {
    if contexts.count >= WarmTransports.maximum {
      for context in contexts {
        context.isWarm = false
        if let instance = context.instance { udx_driver_trim(instance.udx) }
      }
      contexts.removeAll(keepingCapacity: true)
    }
    context.isWarm = true
    contexts.append(context)
  }
}

/// The carrier of one C socket.
final class VirtualSocket {
  private(set) var localEndpoint: Endpoint?
  private let context: DriverContext
  var host: VirtualHost? { context.host }
  private let socket: UnsafeMutablePointer<udx_socket_t>
  /// What was set, by `udx_option_t`; `nil` is the default.
  private var options: [UInt32: Int32]?

  init(context: DriverContext, socket: UnsafeMutablePointer<udx_socket_t>) {
    self.context = context
    self.socket = socket
  }

  var boundHost: IPv4Address { localEndpoint?.host ?? .any }

  /// 0, or a negative errno.
  func bind(_ endpoint: Endpoint) -> Int32 {
    switch host?.bind(self, host: endpoint.host, port: endpoint.port) {
    case .success(let bound):
      localEndpoint = bound
      return 0
    case .failure(let error): return error.code
    case nil: return UV_EINVAL.rawValue
    }
  }

  func receive(_ bytes: [UInt8], from source: Endpoint) {
    guard localEndpoint != nil, let instance = context.instance else { return }
    context.warm()
    host?.activity.receive(bytes.count)
    // The engine may change the bytes. It takes no empty datagram by the address of nothing.
    var copy = bytes.isEmpty ? [0] : bytes
    copy.withUnsafeMutableBytes { buffer in
      source.withSocketAddress { address in
        var received = udx_received_t()
        received.data = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
        received.length = bytes.count
        received.from = address
        withExtendedLifetime(instance) { udx_driver_receive(socket, &received, 1) }
      }
    }
  }

  /// To another port, as after the loss of the own one.
  func bindAnew() {
    guard let bound = localEndpoint, let instance = context.instance else { return }
    close()
    guard bind(Endpoint(host: bound.host, port: 0)) == 0 else { return }
    context.warm()
    withExtendedLifetime(instance) { udx_driver_socket_rebound(socket) }
  }

  func setOption(_ option: udx_option_t, _ value: Int32) {
    options = (options ?? [:]).merging([option.rawValue: value]) { $1 }
  }

  func option(_ option: udx_option_t) -> Int32 {
    if let value = options?[option.rawValue] { return value }
    switch option {
    case UDX_OPTION_SEND_BUFFER, UDX_OPTION_RECV_BUFFER: return 1 << 20
    case UDX_OPTION_TTL: return 64
    default: return 1
    }
  }

  func close() {
    guard let port = localEndpoint?.port else { return }
    localEndpoint = nil
    host?.unbind(self, port: port)
  }

  /// The owner of the socket is not called any more.
  func silence() {
    guard let owner = socket.pointee.data else { return }
    let udxSocket = Unmanaged<UDXSocket>.fromOpaque(owner).takeUnretainedValue()
    udxSocket.onMessage = nil
    udxSocket.onRebind = nil
    udxSocket.onIdle = nil
  }
}

extension TransportError {
  static var inUse: TransportError {
    TransportError(code: UV_EADDRINUSE.rawValue, description: "address already in use")
  }
  static var notAvailable: TransportError {
    TransportError(code: UV_EADDRNOTAVAIL.rawValue, description: "cannot assign requested address")
  }
}

extension DatagramSocket {
  /// Hands a datagram to a socket of a virtual host as if it had arrived.
  package func receive(_ bytes: [UInt8], from source: Endpoint) {
    guard let handle = (self as? UDXSocket)?.handle else { return }
    port(handle)?.receive(bytes, from: source)
  }
}

private func context(_ udx: UnsafeMutablePointer<udx_t>?) -> DriverContext? {
  guard let context = udx?.pointee.driver_ctx else { return nil }
  return Unmanaged<DriverContext>.fromOpaque(context).takeUnretainedValue()
}

private func port(_ socket: UnsafeMutablePointer<udx_socket_t>?) -> VirtualSocket? {
  guard let port = socket?.pointee.driver_data else { return nil }
  return Unmanaged<VirtualSocket>.fromOpaque(port).takeUnretainedValue()
}

nonisolated(unsafe) private let virtualDriver: UnsafePointer<udx_driver_t> = {
  let driver = UnsafeMutablePointer<udx_driver_t>.allocate(capacity: 1)
  driver.initialize(to: udx_driver_t())
  driver.pointee.size = MemoryLayout<udx_driver_t>.size
  driver.pointee.stop = { context($0)?.stop() }
  driver.pointee.now = { context($0)?.time.now ?? 0 }
  driver.pointee.random = { udx, bytes, length in
    guard let bytes else { return UV_EINVAL.rawValue }
    context(udx)?.randomBytes(UnsafeMutableRawBufferPointer(start: bytes, count: length))
    return 0
  }
  driver.pointee.arm = { udx, deadline in
    guard let udx else { return }
    context(udx)?.arm(udx, deadline)
  }
  driver.pointee.defer = { udx in
    guard let udx else { return }
    context(udx)?.flushLater(udx)
  }
  driver.pointee.socket_open = { udx, socket in
    guard let context = context(udx), let socket else { return UV_EINVAL.rawValue }
    socket.pointee.driver_data = Unmanaged.passRetained(VirtualSocket(context: context, socket: socket)).toOpaque()
    return 0
  }
  driver.pointee.socket_bind = { _, socket, address, _ in
    guard let port = port(socket), let endpoint = Endpoint(socketAddress: address) else { return UV_EINVAL.rawValue }
    return port.bind(endpoint)
  }
  driver.pointee.socket_close = { udx, socket in close(udx, socket) }
  driver.pointee.socket_name = { _, socket, name, length in socketName(socket, name, length) }
  driver.pointee.socket_option = { _, socket, option, isSet, value in
    guard let port = port(socket), let value else { return UV_EBADF.rawValue }
    if isSet { port.setOption(option, value.pointee) } else { value.pointee = port.option(option) }
    return 0
  }
  driver.pointee.transmit = { _, socket, datagrams, count in transmit(socket, datagrams, count) }
  return UnsafePointer(driver)
}()

private func close(_ udx: UnsafeMutablePointer<udx_t>?, _ socket: UnsafeMutablePointer<udx_socket_t>?) {
  guard let context = context(udx), let socket, let port = port(socket) else { return }
  port.close()
  context.time.deferred {
    udx_driver_socket_closed(socket)
    Unmanaged.passUnretained(port).release()
  }
}

private func socketName(
  _ socket: UnsafeMutablePointer<udx_socket_t>?, _ name: UnsafeMutablePointer<sockaddr>?,
  _ length: UnsafeMutablePointer<Int32>?
) -> Int32 {
  guard let endpoint = port(socket)?.localEndpoint, let name, let length,
    Int(length.pointee) >= MemoryLayout<sockaddr_in>.size
  else { return UV_EBADF.rawValue }
  endpoint.withSocketAddress {
    UnsafeMutableRawPointer(name).copyMemory(from: $0, byteCount: MemoryLayout<sockaddr_in>.size)
  }
  length.pointee = Int32(MemoryLayout<sockaddr_in>.size)
  return 0
}

private func transmit(
  _ socket: UnsafeMutablePointer<udx_socket_t>?, _ datagrams: UnsafePointer<udx_datagram_t>?, _ count: UInt32
) -> UInt32 {
  guard let port = port(socket), let datagrams, let host = port.host, let network = host.network else { return count }
  for index in 0..<Int(count) {
    let datagram = datagrams[index]
    guard let destination = Endpoint(socketAddress: datagram.to) else { continue }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(datagram.length))
    for piece in 0..<Int(datagram.bufs_len) {
      bytes.append(
        contentsOf: UnsafeRawBufferPointer(start: datagram.bufs[piece].base, count: datagram.bufs[piece].len))
    }
    network.send(from: port, of: host, to: destination, bytes: bytes, ttl: UInt8(clamping: datagram.ttl))
  }
  return count
}
