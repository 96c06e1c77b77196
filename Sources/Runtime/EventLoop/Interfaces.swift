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
    var list: UnsafeMutablePointer<uv_interface_address_t>?
    var count: Int32 = 0
    guard uv_interface_addresses(&list, &count) == 0, let list else { return [] }
    defer { uv_free_interface_addresses(list, count) }
    var result: [InterfaceAddress] = []
    for index in 0..<Int(count) {
      let entry = list[index]
      guard Int32(entry.address.address4.sin_family) == AF_INET else { continue }
      result.append(
        InterfaceAddress(
          name: String(cString: entry.name),
          address: IPv4Address(value: UInt32(bigEndian: entry.address.address4.sin_addr.s_addr)),
          isInternal: entry.is_internal != 0))
    }
    return result
  }

  /// Compares the interface list every `milliseconds` and reports changes until cancelled (udx.md 6).
  package func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    let watch = InterfaceWatch(loop: self, interval: max(milliseconds, 100), onChange: onChange)
    watch.start()
    return watch
  }
}

private final class InterfaceWatch: ScheduledAction {
  private let interval: UInt64
  private weak var loop: UVEventLoop?
  private var onChange: (([InterfaceAddress]) -> Void)?
  private var timer: (any ScheduledAction)?
  private var last: Set<InterfaceAddress> = []

  init(loop: UVEventLoop, interval: UInt64, onChange: @escaping ([InterfaceAddress]) -> Void) {
    self.loop = loop
    self.interval = interval
    self.onChange = onChange
  }

  func start() {
    last = Set(UVEventLoop.interfaces())
    arm()
  }

  private func arm() {
    // The timer holds the watch, so that it lives until cancelled even if nobody keeps it.
    timer = loop?.schedule(after: interval) { self.tick() }
  }

  private func tick() {
    let current = UVEventLoop.interfaces()
    let set = Set(current)
    if set != last {
      last = set
      onChange?(current)
    }
    if onChange != nil { arm() }
  }

  func cancel() {
    onChange = nil
    timer?.cancel()
    timer = nil
  }
}
