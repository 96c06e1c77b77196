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
  /// Resolves a host name to IPv4 addresses; `completion` runs exactly once, in a later turn, with an empty list on
  /// failure, at shutdown, and when too many look-ups are under way.
  ///
  /// Each look-up has a thread of its own, not one of libuv's: a request that runs there cannot be given up, and a loop
  /// with one cannot close. A resolver that does not answer would hold every shutdown for as long.
  package func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) {
    resolve(name, with: resolveName, completion)
  }

  /// As above, with any function that may block.
  func resolve(
    _ name: String, with resolver: @escaping @Sendable (String) -> [IPv4Address],
    _ completion: @escaping ([IPv4Address]) -> Void
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

  fileprivate func finishLookup(_ id: UInt64, _ addresses: [IPv4Address]) {
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
  let completion: ([IPv4Address]) -> Void
}

/// What a look-up's thread holds. Once abandoned, the thread knows no loop any more and only frees this.
final class LookupTicket: Sendable {
  private let loop: Locked<UVEventLoop?>
  private let id: UInt64
  private let name: String
  private let resolver: @Sendable (String) -> [IPv4Address]

  init(loop: UVEventLoop, id: UInt64, name: String, resolver: @escaping @Sendable (String) -> [IPv4Address]) {
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

@Sendable private func resolveName(_ name: String) -> [IPv4Address] {
  var hints = addrinfo()
  hints.ai_family = AF_INET
  // One entry per address.
  #if canImport(Glibc)
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
  #else
    hints.ai_socktype = SOCK_DGRAM
  #endif
  var list: UnsafeMutablePointer<addrinfo>?
  guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
  defer { freeaddrinfo(list) }
  var addresses: [IPv4Address] = []
  var entry = list
  while let current = entry, addresses.count < Limits.addressesPerLookup {
    if current.pointee.ai_family == AF_INET, let address = current.pointee.ai_addr {
      let ipv4 = IPv4Address(socketAddress: address)
      if !addresses.contains(ipv4) { addresses.append(ipv4) }
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

extension IPv4Address {
  /// The address of a `sockaddr_in`.
  init(socketAddress: UnsafePointer<sockaddr>) {
    self = UnsafeRawPointer(socketAddress).withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      IPv4Address(value: UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
    }
  }
}
