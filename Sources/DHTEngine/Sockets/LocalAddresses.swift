import HyperEncoding
import HyperEnvironment

/// Addresses of this host that peers on the same network can use (hyperdht.md 14.5).
enum LocalAddresses {
  /// What the server socket receives at, with its port: every external interface when it is bound to all addresses
  /// (loopback if there is none), else the address that it is bound to.
  static func list(environment: any Environment, serverSocket: (any DatagramSocket)?) -> [Endpoint] {
    guard let bound = serverSocket?.localEndpoint else { return [] }
    guard bound.host == .any else { return [bound] }
    let hosts = environment.interfaces().filter { !$0.isInternal }.map(\.address)
    return (hosts.isEmpty ? [.loopback] : hosts).map { Endpoint(host: $0, port: bound.port) }
  }
}

/// Self-test of local addresses: which of them can receive at all.
///
/// An address that has passed stays usable. One that has failed is tested again with growing pauses, by itself the
/// first times, later when it is asked for; a change of interfaces begins that anew. Only the first test of an address
/// is waited for.
final class LocalAddressValidator {
  private final class Entry {
    var isUsable: Bool?
    var failures = 0
    /// Milliseconds: when a failed address may be tested again.
    var retryAt: UInt64 = 0
    var test: Test?
    var retry: (any ScheduledAction)?
    var waiters: [() -> Void] = []
  }

  /// One under way.
  private struct Test {
    let socket: any DatagramSocket
    var timers: [any ScheduledAction] = []
  }

  private let environment: any Environment
  private var entries: [IPv4Address: Entry] = [:]
  private var isDestroyed = false

  init(environment: any Environment) { self.environment = environment }

  /// The usable ones of `endpoints`, in their order. Completes at once when all are known, and after `destroy`: then
  /// with none.
  func validate(_ endpoints: [Endpoint], _ completion: @escaping ([Endpoint]) -> Void) {
    guard !isDestroyed else { return completion([]) }
    var open = 0
    var isComplete = false
    let finish = { [weak self] in
      guard open == 0, !isComplete else { return }
      isComplete = true
      completion(endpoints.filter { self?.entries[$0.host]?.isUsable == true })
    }
    var seen: Set<IPv4Address> = []
    for host in endpoints.map(\.host) where seen.insert(host).inserted {
      let entry = entry(for: host)
      if entry.isUsable == nil {
        open += 1
        entry.waiters.append {
          open -= 1
          finish()
        }
      }
      let isDue = entry.isUsable == false && environment.nowMilliseconds >= entry.retryAt
      if entry.isUsable == nil || isDue { test(host, entry) }
    }
    finish()
  }

  private func entry(for host: IPv4Address) -> Entry {
    if let known = entries[host] { return known }
    let entry = Entry()
    entries[host] = entry
    return entry
  }

  /// What has failed may work now. Addresses that have gone are forgotten.
  func interfacesChanged() {
    guard !entries.isEmpty else { return }
    let present = Set(environment.interfaces().map(\.address))
    for (host, entry) in entries {
      if !present.contains(host), entry.test == nil {
        entry.retry?.cancel()
        entries[host] = nil
      } else if entry.isUsable == false {
        entry.failures = 0
        test(host, entry)
      }
    }
  }

  /// Ends tests that are under way; their addresses count as unusable.
  func destroy() {
    isDestroyed = true
    for (host, entry) in entries {
      settle(host, entry, isUsable: false)
      entry.retry?.cancel()
    }
  }

  private func test(_ host: IPv4Address, _ entry: Entry) {
    guard entry.test == nil, !isDestroyed else { return }
    entry.retry?.cancel()
    entry.retry = nil
    var test = Test(socket: environment.makeSocket())
    entry.test = test
    do {
      try test.socket.bind(host: host, port: 0)
    } catch {
      return settle(host, entry, isUsable: false)
    }
    guard let own = test.socket.localEndpoint else { return settle(host, entry, isUsable: false) }
    test.socket.onMessage = { [weak self, weak entry] _, source in
      if source == own, let entry { self?.settle(host, entry, isUsable: true) }
    }
    for delay in Limits.localAddressProbes {
      let probe = environment.schedule(after: delay) { [weak socket = test.socket] in socket?.send([0], to: own) }
      test.timers.append(probe)
    }
    let end = environment.schedule(after: Limits.localAddressTimeout) { [weak self, weak entry] in
      if let entry { self?.settle(host, entry, isUsable: false) }
    }
    test.timers.append(end)
    entry.test = test
    test.socket.send([0], to: own)
  }

  private func settle(_ host: IPv4Address, _ entry: Entry, isUsable: Bool) {
    guard let test = entry.test else { return }
    entry.test = nil
    for timer in test.timers { timer.cancel() }
    test.socket.onMessage = nil
    test.socket.close()
    entry.isUsable = isUsable
    if isUsable { entry.failures = 0 } else { planRetry(host, entry) }
    let waiters = entry.waiters
    entry.waiters = []
    environment.defer { for waiter in waiters { waiter() } }
  }

  private func planRetry(_ host: IPv4Address, _ entry: Entry) {
    let pause = min(Limits.localAddressRetry << UInt64(min(entry.failures, 16)), Limits.localAddressLongestRetry)
    entry.failures += 1
    entry.retryAt = environment.nowMilliseconds + pause
    guard entry.failures <= Limits.localAddressRetries, !isDestroyed else { return }
    entry.retry = environment.schedule(after: pause) { [weak self, weak entry] in
      guard let self, let entry else { return }
      entry.retry = nil
      test(host, entry)
    }
  }
}
