import CHyperLoop
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

extension UVEventLoop {
  /// The IPv4 addresses of this host's interfaces; empty when the system does not tell.
  package static func interfaces() -> [InterfaceAddress] {
    var list = InterfaceList()
    defer { list.free() }
    list.read()
    return list.ipv4
  }

  /// Compares the IPv4 addresses every `milliseconds` and reports changes until cancelled (udx.md 6).
  package func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    let watch = InterfaceWatch(
      loop: self, interval: max(milliseconds, Limits.interfaceInterval), onChange: onChange)
    watch.start()
    return watch
  }
}

/// A list of libuv's.
private struct InterfaceList {
  private var entries: UnsafeMutablePointer<uv_interface_address_t>?
  private var count: Int32 = 0

  mutating func read() { _ = hyper_interfaces_read(&entries, &count) }

  /// Reads again.
  /// - Returns: whether the IPv4 addresses have changed.
  mutating func poll() -> Bool { hyper_interfaces_poll(&entries, &count, AF_INET) > 0 }

  mutating func free() { hyper_interfaces_free(&entries, &count) }

  var ipv4: [InterfaceAddress] {
    UnsafeBufferPointer(start: entries, count: Int(count)).compactMap { entry in
      guard Int32(entry.address.address4.sin_family) == AF_INET else { return nil }
      return InterfaceAddress(
        name: String(cString: entry.name),
        address: IPv4Address(value: UInt32(bigEndian: entry.address.address4.sin_addr.s_addr)),
        isInternal: entry.is_internal != 0)
    }
  }
}

private final class InterfaceWatch: ScheduledAction {
  private let interval: UInt64
  private weak var loop: UVEventLoop?
  private var onChange: (([InterfaceAddress]) -> Void)?
  private var timer: (any ScheduledAction)?
  private var list = InterfaceList()

  init(loop: UVEventLoop, interval: UInt64, onChange: @escaping ([InterfaceAddress]) -> Void) {
    self.loop = loop
    self.interval = interval
    self.onChange = onChange
  }

  deinit { list.free() }

  func start() {
    list.read()
    arm()
  }

  private func arm() {
    // The timer holds the watch, so that it lives until cancelled without another reference.
    timer = loop?.schedule(after: interval) { self.tick() }
  }

  private func tick() {
    if list.poll() { onChange?(list.ipv4) }
    if onChange != nil { arm() }
  }

  func cancel() {
    onChange = nil
    timer?.cancel()
    timer = nil
  }
}
