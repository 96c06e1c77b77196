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

/// An address of either family of one of this host's interfaces.
package struct LocalAddress: Hashable, Sendable {
  /// The system's name of the interface.
  package var name: String
  /// The system's index of it; 0 when it is gone.
  package var index: UInt32
  package var address: IPAddress
  /// Loopback and the like.
  package var isInternal: Bool
}

extension UVEventLoop {
  /// The addresses of this host's interfaces, of both families; empty when the system does not tell.
  package static func localAddresses() -> [LocalAddress] {
    var list = InterfaceList(family: AF_UNSPEC)
    defer { list.free() }
    list.read()
    return list.all
  }

  /// The IPv4 addresses of this host's interfaces; empty when the system does not tell.
  package static func interfaces() -> [InterfaceAddress] {
    var list = InterfaceList(family: AF_INET)
    defer { list.free() }
    list.read()
    return list.ipv4
  }

  /// Reports changes of the IPv4 addresses and of routes until cancelled (udx.md 6): at once where the system tells of
  /// them, else by comparing the addresses every `milliseconds`.
  package func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction {
    watch(AF_INET, every: milliseconds) { onChange($0.ipv4) }
  }

  /// The same of both families. Routes are those of IPv4.
  package func watchLocalAddresses(
    every milliseconds: UInt64, _ onChange: @escaping ([LocalAddress]) -> Void
  ) -> any ScheduledAction {
    watch(AF_UNSPEC, every: milliseconds) { onChange($0.all) }
  }

  private func watch(
    _ family: Int32, every milliseconds: UInt64, _ onChange: @escaping (InterfaceList) -> Void
  ) -> any ScheduledAction {
    let watch = InterfaceWatch(
      loop: self, family: family, interval: max(milliseconds, Limits.interfaceInterval), onChange: onChange)
    watch.start()
    return watch
  }

  /// The ways of packets to these destinations; `nil` where there is none, and where its interface is down. No list at
  /// all when the system cannot be asked, for want of a descriptor.
  package static func routes(to destinations: [IPv4Address]) -> [Route?]? {
    guard !destinations.isEmpty else { return [] }
    var routes = [hyper_route_t](repeating: hyper_route_t(), count: destinations.count)
    guard hyper_routes(destinations.map(\.value), Int32(destinations.count), &routes) == 0 else { return nil }
    // Reading the list takes longer than the question: private networks on loopback do without.
    lazy var up = Set(interfaces().map(\.address))
    return routes.map { route in
      let source = IPv4Address(value: route.source)
      guard source.isLoopback || up.contains(source) else { return nil }
      return Route(source: source, gateway: IPv4Address(value: route.gateway), interface: route.interface)
    }
  }
}

extension UVEventLoop {
  /// One source of events for all watches of the loop; where there is none their timers remain.
  fileprivate func add(_ watch: InterfaceWatch) {
    interfaceWatches.append(watch)
    guard interfaceEvents == nil, hearsInterfaceEvents else { return }
    _ = hyper_watch_start(
      uv, &interfaceEvents,
      { data, seen in
        guard let data else { return }
        let isRoute = seen & Int32(HYPER_WATCH_ROUTE) != 0
        Unmanaged<UVEventLoop>.fromOpaque(data)._withUnsafeGuaranteedRef { $0.interfacesMoved(isRoute: isRoute) }
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  fileprivate func remove(_ watch: InterfaceWatch) {
    interfaceWatches.removeAll { $0 === watch }
    if interfaceWatches.isEmpty { stopInterfaceEvents() }
  }

  func stopInterfaceEvents() {
    guard let events = interfaceEvents else { return }
    interfaceEvents = nil
    hyper_watch_stop(events)
  }

  private func interfacesMoved(isRoute: Bool) {
    for watch in interfaceWatches { watch.heard(isRoute: isRoute) }
  }
}

/// A list of libuv's.
struct InterfaceList {
  /// What `poll` compares: `AF_INET`, or both families with `AF_UNSPEC`.
  private let family: Int32
  private var entries: UnsafeMutablePointer<uv_interface_address_t>?
  private var count: Int32 = 0

  init(family: Int32) { self.family = family }

  mutating func read() { _ = hyper_interfaces_read(&entries, &count) }

  /// Reads again.
  /// - Returns: whether the addresses of the family have changed.
  mutating func poll() -> Bool { hyper_interfaces_poll(&entries, &count, family) > 0 }

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

  var all: [LocalAddress] {
    UnsafeBufferPointer(start: entries, count: Int(count)).compactMap { entry in
      let address: IPAddress
      switch Int32(entry.address.address4.sin_family) {
      case AF_INET: address = .v4(IPv4Address(value: UInt32(bigEndian: entry.address.address4.sin_addr.s_addr)))
      case AF_INET6: address = .v6(IPv6Address(entry.address.address6.sin6_addr))
      default: return nil
      }
      return LocalAddress(
        name: String(cString: entry.name), index: if_nametoindex(entry.name), address: address,
        isInternal: entry.is_internal != 0)
    }
  }
}

final class InterfaceWatch: ScheduledAction {
  private let interval: UInt64
  private weak var loop: UVEventLoop?
  private var onChange: ((InterfaceList) -> Void)?
  private var timer: (any ScheduledAction)?
  private var list: InterfaceList

  init(loop: UVEventLoop, family: Int32, interval: UInt64, onChange: @escaping (InterfaceList) -> Void) {
    self.loop = loop
    list = InterfaceList(family: family)
    self.interval = interval
    self.onChange = onChange
  }

  deinit { list.free() }

  func start() {
    list.read()
    loop?.add(self)
    arm()
  }

  private func arm() {
    // The timer holds the watch, so that it lives until cancelled without another reference.
    guard let loop else { return }
    let wait = loop.interfaceEvents == nil ? interval : max(interval, Limits.interfaceRecheck)
    timer = loop.schedule(after: wait) { self.tick() }
  }

  private func tick() {
    if list.poll() { onChange?(list) }
    if onChange != nil { arm() }
  }

  func heard(isRoute: Bool) {
    if list.poll() || isRoute { onChange?(list) }
  }

  func cancel() {
    onChange = nil
    timer?.cancel()
    timer = nil
    loop?.remove(self)
  }
}
