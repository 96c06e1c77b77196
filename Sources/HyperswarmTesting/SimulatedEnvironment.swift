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

/// A virtual host whose transport is the real one: the C engine on the virtual network in virtual time.
///
/// Datagrams and stream packets both cross the network as bytes, so that its NATs, delays and losses treat them alike.
/// Everything else (clock, randomness, names, interfaces) is the host's.
package final class SimulatedEnvironment: Environment {
  package let host: TestEnvironment
  package let instance: UDXInstance

  package init(host: TestEnvironment) throws(TransportError) {
    self.host = host
    let context = DriverContext(host: host)
    instance = try UDXInstance(
      // The instance, which lives until C is idle, holds the driver's context by this closure.
      later: { context.host.defer($0) },
      start: { udx, onIdle in
        udx_init_with_driver(udx, simulatedDriver, Unmanaged.passUnretained(context).toOpaque(), onIdle)
      })
    context.instance = instance
  }

  package var now: UInt64 { host.now }
  package var wallClock: UInt64 { host.wallClock }

  package func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    host.schedule(after: milliseconds, action)
  }

  package func `defer`(_ action: @escaping () -> Void) { host.defer(action) }
  package func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) { host.randomBytes(bytes) }
  package func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) {
    host.resolve(name, completion)
  }
  package func makeSocket() -> any DatagramSocket { UDXSocket(environment: instance) }
  package func makeStream(localID: UInt32) -> any TransportStream {
    UDXStream(environment: instance, localID: localID)
  }
  package func interfaces() -> [InterfaceAddress] { host.interfaces() }
  package func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    host.watchInterfaces(every: milliseconds, onChange)
  }

  /// Destroys all streams and closes all sockets of this host.
  package func close(_ completion: (() -> Void)? = nil) { instance.close(completion) }
}

/// What the driver keeps for one instance.
final class DriverContext {
  let host: TestEnvironment
  weak var instance: UDXInstance?
  private var timer: (any ScheduledAction)?
  private var deadline = udxNever
  private var isFlushDue = false

  init(host: TestEnvironment) { self.host = host }

  func arm(_ udx: UnsafeMutablePointer<udx_t>, _ newDeadline: UInt64) {
    guard newDeadline != deadline else { return }
    timer?.cancel()
    timer = nil
    deadline = newDeadline
    guard newDeadline != udxNever else { return }
    let now = host.now
    let delay = newDeadline > now ? newDeadline - now : 0
    timer = host.network.schedule(afterMicroseconds: delay) { [weak self] in
      guard let self, instance != nil else { return }
      deadline = udxNever
      timer = nil
      udx_driver_tick(udx)
    }
  }

  func flushLater(_ udx: UnsafeMutablePointer<udx_t>) {
    guard !isFlushDue else { return }
    isFlushDue = true
    host.defer { [self] in
      isFlushDue = false
      if let instance { withExtendedLifetime(instance) { udx_driver_flush(udx) } }
    }
  }

  func stop() {
    timer?.cancel()
    timer = nil
    deadline = udxNever
  }
}

/// `UDX_NEVER` of udx_driver.h, which Swift does not import.
let udxNever = UInt64.max

/// The carrier of one C socket.
final class SocketPort {
  let carrier: any DatagramSocket
  var options: [UInt32: Int32] = [
    UDX_OPTION_SEND_BUFFER.rawValue: 1 << 20, UDX_OPTION_RECV_BUFFER.rawValue: 1 << 20, UDX_OPTION_TTL.rawValue: 64,
    UDX_OPTION_MULTICAST_LOOP.rawValue: 1,
  ]

  init(context: DriverContext) {
    carrier = context.host.makeSocket()
  }
}

private func context(_ udx: UnsafeMutablePointer<udx_t>?) -> DriverContext? {
  udx?.pointee.driver_ctx.map { Unmanaged<DriverContext>.fromOpaque($0).takeUnretainedValue() }
}

private func port(_ socket: UnsafeMutablePointer<udx_socket_t>?) -> SocketPort? {
  socket?.pointee.driver_data.map { Unmanaged<SocketPort>.fromOpaque($0).takeUnretainedValue() }
}

nonisolated(unsafe) private let simulatedDriver: UnsafePointer<udx_driver_t> = {
  let driver = UnsafeMutablePointer<udx_driver_t>.allocate(capacity: 1)
  driver.initialize(to: udx_driver_t())
  driver.pointee.size = MemoryLayout<udx_driver_t>.size
  driver.pointee.stop = { context($0)?.stop() }
  driver.pointee.now = { context($0)?.host.now ?? 0 }
  driver.pointee.random = { udx, bytes, length in
    guard let bytes else { return UV_EINVAL.rawValue }
    context(udx)?.host.randomBytes(UnsafeMutableRawBufferPointer(start: bytes, count: length))
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
    socket.pointee.driver_data = Unmanaged.passRetained(SocketPort(context: context)).toOpaque()
    return 0
  }
  driver.pointee.socket_bind = { _, socket, address, _ in bind(socket, address) }
  driver.pointee.socket_close = { _, socket in close(socket) }
  driver.pointee.socket_name = { _, socket, name, length in socketName(socket, name, length) }
  driver.pointee.socket_option = { _, socket, option, isSet, value in
    guard let port = port(socket), let value else { return UV_EBADF.rawValue }
    if isSet {
      port.options[option.rawValue] = value.pointee
    } else {
      value.pointee = port.options[option.rawValue] ?? 0
    }
    return 0
  }
  driver.pointee.transmit = { _, socket, datagrams, count in transmit(socket, datagrams, count) }
  return UnsafePointer(driver)
}()

private func bind(_ socket: UnsafeMutablePointer<udx_socket_t>?, _ address: UnsafePointer<sockaddr>?) -> Int32 {
  guard let socket, let port = port(socket), let endpoint = Endpoint(socketAddress: address) else {
    return UV_EINVAL.rawValue
  }
  do throws(TransportError) {
    try port.carrier.bind(host: endpoint.host, port: endpoint.port)
  } catch {
    return error.code
  }
  port.carrier.onMessage = { bytes, source in
    // The engine may change the bytes.
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 16)
    defer { copy.deallocate() }
    copy.copyMemory(from: bytes)
    source.withSocketAddress { address in
      var received = udx_received_t()
      received.data = copy.baseAddress?.assumingMemoryBound(to: UInt8.self)
      received.length = bytes.count
      received.from = address
      udx_driver_receive(socket, &received, 1)
    }
  }
  return 0
}

private func close(_ socket: UnsafeMutablePointer<udx_socket_t>?) {
  guard let socket, let port = port(socket) else { return }
  port.carrier.onMessage = nil
  port.carrier.close {
    udx_driver_socket_closed(socket)
    Unmanaged.passUnretained(port).release()
  }
}

private func socketName(
  _ socket: UnsafeMutablePointer<udx_socket_t>?, _ name: UnsafeMutablePointer<sockaddr>?,
  _ length: UnsafeMutablePointer<Int32>?
) -> Int32 {
  guard let endpoint = port(socket)?.carrier.localEndpoint, let name, let length,
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
  guard let port = port(socket), let datagrams else { return count }
  for index in 0..<Int(count) {
    let datagram = datagrams[index]
    guard let destination = Endpoint(socketAddress: datagram.to) else { continue }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(datagram.length))
    for piece in 0..<Int(datagram.bufs_len) {
      bytes.append(
        contentsOf: UnsafeRawBufferPointer(start: datagram.bufs[piece].base, count: datagram.bufs[piece].len))
    }
    port.carrier.send(bytes, to: destination, ttl: UInt8(clamping: datagram.ttl))
  }
  return count
}
