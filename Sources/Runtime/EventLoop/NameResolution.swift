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

/// An address that a name stands for.
package struct ResolvedAddress: Hashable, Sendable {
  package var host: IPAddress
  /// Of a link-local IPv6 address the index of its interface; 0 for any other.
  package var scope: UInt32

  var ipv4: IPv4Address? { if case .v4(let host) = host { host } else { nil } }
}

extension UVEventLoop {
  /// Resolves a host name to IPv4 addresses; `completion` runs exactly once, in a later turn, with an empty list on
  /// failure, at shutdown, and when too many look-ups are under way.
  package func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) {
    resolve(name, family: AF_INET) { completion($0.compactMap(\.ipv4)) }
  }

  /// The same for addresses of a family: `AF_INET`, `AF_INET6`, or both with `AF_UNSPEC`.
  ///
  /// Each look-up has a thread of its own, not one of libuv's: a request that runs there cannot be given up, and a loop
  /// with one cannot close. A resolver that does not answer would hold every shutdown for as long.
  package func resolve(_ name: String, family: Int32, _ completion: @escaping ([ResolvedAddress]) -> Void) {
    resolve(name, with: { resolveName($0, family) }, completion)
  }

  /// As above, with any function that may block.
  func resolve(
    _ name: String, with resolver: @escaping @Sendable (String) -> [ResolvedAddress],
    _ completion: @escaping ([ResolvedAddress]) -> Void
  ) {
    assertOnLoop()
    guard phase == .open, pendingLookups.count < Limits.lookups, (1...Limits.hostName).contains(name.utf8.count) else {
      return self.defer { completion([]) }
    }
    nextLookup += 1
    let id = nextLookup
    let ticket = LookupTicket(loop: self, id: id, name: name, resolver: resolver)
    guard ticket.start() else { return self.defer { completion([]) } }
    pendingLookups[id] = NameLookup(ticket: ticket, completion: completion)
    // The look-up keeps an embedded loop running.
    uv_ref(handles.asHandle(handles.async))
  }

  fileprivate func finishLookup(_ id: UInt64, _ addresses: [ResolvedAddress]) {
    guard let lookup = pendingLookups.removeValue(forKey: id) else { return }
    if pendingLookups.isEmpty, !ownsLoop { uv_unref(handles.asHandle(handles.async)) }
    lookup.completion(addresses)
  }

  /// Gives up what is under way; the threads end by themselves.
  func abandonLookups() {
    for id in pendingLookups.keys.sorted() {
      pendingLookups[id]?.ticket.abandon()
      finishLookup(id, [])
    }
  }
}

/// A look-up under way, as the loop sees it.
struct NameLookup {
  let ticket: LookupTicket
  let completion: ([ResolvedAddress]) -> Void
}

/// What a look-up's thread holds. Once abandoned, the thread knows no loop any more and only frees this.
final class LookupTicket: Sendable {
  private let loop: Locked<UVEventLoop?>
  private let id: UInt64
  private let name: String
  private let resolver: @Sendable (String) -> [ResolvedAddress]

  init(loop: UVEventLoop, id: UInt64, name: String, resolver: @escaping @Sendable (String) -> [ResolvedAddress]) {
    self.resolver = resolver
    self.loop = Locked(loop)
    self.id = id
    self.name = name
  }

  func start() -> Bool {
    var attributes = pthread_attr_t()
    guard pthread_attr_init(&attributes) == 0 else { return false }
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, Limits.lookupStack)
    // The code that the thread returns to must stay, also when the program unloads the library meanwhile.
    hyper_stay_loaded()
    let context = Unmanaged.passRetained(self)
    #if canImport(Darwin)
      var thread: pthread_t?
    #else
      var thread = pthread_t()
    #endif
    // No signal of the program is handled on this thread.
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    let result = pthread_create(&thread, &attributes, lookupThreadMain, context.toOpaque())
    pthread_sigmask(SIG_SETMASK, &before, nil)
    if result != 0 { context.release() }
    return result == 0
  }

  func abandon() { loop.withLock { $0 = nil } }

  fileprivate func run() {
    let addresses = resolver(name)
    let id = id
    guard let loop = loop.withLock({ $0 }) else { return }
    loop.post { loop.finishLookup(id, addresses) }
  }
}

private func resolveName(_ name: String, _ family: Int32) -> [ResolvedAddress] {
  var hints = addrinfo()
  hints.ai_family = family
  // One entry per address.
  #if canImport(Glibc)
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
  #else
    hints.ai_socktype = SOCK_DGRAM
  #endif
  var list: UnsafeMutablePointer<addrinfo>?
  guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
  defer { freeaddrinfo(list) }
  var addresses: [ResolvedAddress] = []
  var entry = list
  while let current = entry, addresses.count < Limits.addressesPerLookup {
    if let place = current.pointee.ai_addr, let address = ResolvedAddress(socketAddress: place),
      !addresses.contains(address)
    {
      addresses.append(address)
    }
    entry = current.pointee.ai_next
  }
  return addresses
}

#if canImport(Darwin)
  private func lookupThreadMain(_ context: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    Unmanaged<LookupTicket>.fromOpaque(context).takeRetainedValue().run()
    return nil
  }
#else
  private func lookupThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    Unmanaged<LookupTicket>.fromOpaque(context).takeRetainedValue().run()
    return nil
  }
#endif

extension ResolvedAddress {
  /// `nil` for other families.
  init?(socketAddress: UnsafePointer<sockaddr>) {
    let address = UnsafeRawPointer(socketAddress)
    switch Int32(socketAddress.pointee.sa_family) {
    case AF_INET:
      let ipv4 = address.assumingMemoryBound(to: sockaddr_in.self).pointee
      self.init(host: .v4(IPv4Address(value: UInt32(bigEndian: ipv4.sin_addr.s_addr))), scope: 0)
    case AF_INET6:
      let ipv6 = address.assumingMemoryBound(to: sockaddr_in6.self).pointee
      self.init(host: .v6(IPv6Address(ipv6.sin6_addr)), scope: ipv6.sin6_scope_id)
    default: return nil
    }
  }
}

extension IPv6Address {
  init(_ address: in6_addr) {
    self = withUnsafeBytes(of: address) { bytes in
      IPv6Address(
        high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
        low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
  }
}
