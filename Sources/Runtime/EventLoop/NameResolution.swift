import CHyperLoop
import CHyperUV
import HyperEncoding

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

extension UVEventLoop {
  /// Resolves a host name to IPv4 addresses on libuv's worker threads; `completion` runs exactly once, in a later turn,
  /// with an empty list on failure, at shutdown, and when too many look-ups are under way.
  package func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) {
    assertOnLoop()
    guard phase == .open, pendingLookups.count < Limits.lookups else { return self.defer { completion([]) } }
    let lookup = NameLookup(loop: self, completion: completion)
    if lookup.start(name) {
      pendingLookups.insert(lookup)
    } else {
      self.defer { completion([]) }
    }
  }
}

/// One `uv_getaddrinfo` request. libuv holds it from start to callback.
final class NameLookup {
  private let loop: UVEventLoop
  private let completion: ([IPv4Address]) -> Void
  private let request: UnsafeMutablePointer<uv_getaddrinfo_t>

  init(loop: UVEventLoop, completion: @escaping ([IPv4Address]) -> Void) {
    self.loop = loop
    self.completion = completion
    request = .allocate(capacity: 1)
    request.initialize(to: uv_getaddrinfo_t())
  }

  deinit { request.deallocate() }

  func start(_ name: String) -> Bool {
    let context = Unmanaged.passRetained(self)
    request.pointee.data = context.toOpaque()
    let result = hyper_lookup(loop.uv, request, name, AF_INET) { request, status, list in
      guard let request, let context = request.pointee.data else { return }
      Unmanaged<NameLookup>.fromOpaque(context).takeRetainedValue().finish(status: status, list: list)
    }
    if result != 0 { context.release() }
    return result == 0
  }

  func cancel() { _ = uv_cancel(UnsafeMutableRawPointer(request).assumingMemoryBound(to: uv_req_t.self)) }

  private func finish(status: Int32, list: UnsafeMutablePointer<addrinfo>?) {
    var addresses: [IPv4Address] = []
    var entry = list
    while status == 0, let current = entry, addresses.count < Limits.addressesPerLookup {
      if current.pointee.ai_family == AF_INET, let address = current.pointee.ai_addr {
        let ipv4 = IPv4Address(socketAddress: address)
        if !addresses.contains(ipv4) { addresses.append(ipv4) }
      }
      entry = current.pointee.ai_next
    }
    uv_freeaddrinfo(list)
    loop.pendingLookups.remove(self)
    completion(addresses)
    loop.closeHandlesWhenLookupsAreBack()
  }
}

extension NameLookup: Hashable {
  static func == (a: NameLookup, b: NameLookup) -> Bool { a === b }
  func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

extension IPv4Address {
  /// The address of a `sockaddr_in`.
  init(socketAddress: UnsafePointer<sockaddr>) {
    self = UnsafeRawPointer(socketAddress).withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      IPv4Address(value: UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
    }
  }
}
