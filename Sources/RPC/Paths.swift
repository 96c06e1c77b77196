import HyperEncoding
import HyperEnvironment

// Whether a change of interfaces is one of ours: it is if packets to the nodes and peers that we talk to take another
// way than before. Containers and virtual machines that come and go change the interface list all day long.
extension RPCNode {
  /// Remembers the ways as they are.
  func notePaths() {
    pathTicks = Limits.pathTicks
    let hosts = judgedHosts
    if let routes = environment.routes(to: hosts) { knownPaths = Dictionary(uniqueKeysWithValues: zip(hosts, routes)) }
  }

  /// The system has reported a change.
  func judgeChange(_ interfaces: [InterfaceAddress]) {
    onInterfaces?()
    guard !isDestroyed, !isSuspended, havePathsChanged else { return }
    environment.routesChanged()
    notePaths()
    interfacesChanged()
    onNetworkChange?(interfaces)
    onNetworkUpdate?()
  }

  /// Once per tick. What the reports have not told is found here.
  func checkPaths(after ticks: Int) {
    pathTicks -= ticks
    guard pathTicks <= 0 else { return }
    if havePathsChanged { judgeChange(environment.interfaces()) } else { notePaths() }
  }

  private var havePathsChanged: Bool {
    let hosts = Array(knownPaths.keys)
    guard let routes = environment.routes(to: hosts) else { return false }
    return zip(hosts, routes).contains { host, route in knownPaths[host] != .some(route) }
  }

  /// A few say what all would: nodes that answered last, bootstrap nodes, peers; the Internet if there are none.
  private var judgedHosts: [IPv4Address] {
    var hosts: [IPv4Address] = []
    func add(_ more: [IPv4Address], atMost limit: Int) {
      for host in more where hosts.count < limit && !hosts.contains(host) { hosts.append(host) }
    }
    add(reachability.remembered.reversed().map(\.host), atMost: Limits.judgedNodes)
    add(configuration.bootstrap.flatMap { knownAddresses(of: $0) }.map(\.host), atMost: 2 * Limits.judgedNodes)
    add(otherHosts?() ?? [], atMost: 3 * Limits.judgedNodes)
    return hosts.isEmpty ? [Limits.farHost] : hosts
  }
}
