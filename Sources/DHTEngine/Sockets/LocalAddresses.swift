import HyperEncoding
import HyperEnvironment

/// Addresses of this host that peers on the same network can use (hyperdht.md 14.5).
enum LocalAddresses {
  /// Every external interface with the server socket's port; only loopback when that is where the socket is bound.
  static func list(environment: any Environment, serverSocket: (any DatagramSocket)?) -> [Endpoint] {
    guard let bound = serverSocket?.localEndpoint else { return [] }
    if bound.host == .loopback { return [bound] }
    let hosts = environment.interfaces().filter { !$0.isInternal }.map(\.address)
    return (hosts.isEmpty ? [.loopback] : hosts).map { Endpoint(host: $0, port: bound.port) }
  }
}

/// Self-test of local addresses: which of them can receive at all. Results are kept for the node's lifetime.
final class LocalAddressValidator {
  private enum Verdict {
    case testing([() -> Void], cancel: () -> Void)
    case usable
    case unusable
  }

  private let environment: any Environment
  private var verdicts: [IPv4Address: Verdict] = [:]

  init(environment: any Environment) { self.environment = environment }

  /// The usable ones of `endpoints`, in their order. Completes at once when all are known.
  func validate(_ endpoints: [Endpoint], _ completion: @escaping ([Endpoint]) -> Void) {
    var open = 0
    var isComplete = false
    let finish = { [weak self] in
      guard open == 0, !isComplete else { return }
      isComplete = true
      completion(endpoints.filter { self?.isUsable($0.host) ?? false })
    }
    let leave = {
      open -= 1
      finish()
    }
    var seen: Set<IPv4Address> = []
    for host in endpoints.map(\.host) where seen.insert(host).inserted {
      switch verdicts[host] {
      case .usable, .unusable: continue
      case .testing(let waiters, let cancel):
        open += 1
        verdicts[host] = .testing(waiters + [leave], cancel: cancel)
      case nil:
        open += 1
        test(host, leave)
      }
    }
    finish()
  }

  private func isUsable(_ host: IPv4Address) -> Bool {
    if case .usable = verdicts[host] { true } else { false }
  }

  /// Ends tests that are under way; their addresses count as unusable.
  func destroy() {
    for verdict in verdicts.values {
      if case .testing(_, let cancel) = verdict { cancel() }
    }
  }

  private func test(_ host: IPv4Address, _ waiter: @escaping () -> Void) {
    let socket = environment.makeSocket()
    var timer: (any ScheduledAction)?
    let settle = { [weak self, environment] (isUsable: Bool) in
      guard let self, case .testing(let waiters, _) = verdicts[host] else { return }
      verdicts[host] = isUsable ? .usable : .unusable
      timer?.cancel()
      socket.onMessage = nil
      socket.close()
      environment.defer { for waiter in waiters { waiter() } }
    }
    verdicts[host] = .testing([waiter], cancel: { settle(false) })
    do {
      try socket.bind(host: host, port: 0)
    } catch {
      return settle(false)
    }
    guard let own = socket.localEndpoint else { return settle(false) }
    socket.onMessage = { _, source in
      if source == own { settle(true) }
    }
    timer = environment.schedule(after: Limits.localAddressTimeout) { settle(false) }
    socket.send([0], to: own)
  }
}
