import HyperCollections
import HyperEncoding
import HyperEnvironment
import HyperRPC

/// A private network of persistent nodes inside this process, for tests and demonstrations (hyperdht.md 16).
///
/// The first node is the entry point of the others. All of them share one environment, or are spread over several
/// (virtual hosts of a simulation), in turn.
package final class Testnet {
  package private(set) var nodes: [DHTNode] = []
  /// Nodes made by `createNode`, which are destroyed with the network.
  package private(set) var clients: [DHTNode] = []
  /// For the options of nodes that should join.
  package private(set) var bootstrap: [BootstrapNode] = []

  private let environments: [any Environment]
  private let size: Int
  private let host: IPv4Address?
  private let port: UInt16
  private let outerBootstrap: [BootstrapNode]
  private var isDestroyed = false

  /// `host` is where the nodes bind and reach each other; `nil` is the wildcard, for virtual hosts. `port` is that of
  /// the first node (0 is any), the others take any.
  package init(
    environments: [any Environment], size: Int = 10, host: IPv4Address? = .loopback, port: UInt16 = 0,
    bootstrap: [BootstrapNode] = []
  ) {
    self.environments = environments
    self.size = environments.isEmpty ? 0 : size
    self.host = host
    self.port = port
    outerBootstrap = bootstrap
  }

  package convenience init(
    environment: any Environment, size: Int = 10, host: IPv4Address? = .loopback, port: UInt16 = 0,
    bootstrap: [BootstrapNode] = []
  ) {
    self.init(environments: [environment], size: size, host: host, port: port, bootstrap: bootstrap)
  }

  /// Starts the nodes one after another; `completion` runs once, when all are bootstrapped or one has failed.
  package func start(_ completion: @escaping (Result<Void, DHTError>) -> Void) {
    bootstrap = outerBootstrap
    startNext(completion)
  }

  private func startNext(_ completion: @escaping (Result<Void, DHTError>) -> Void) {
    guard !isDestroyed else { return completion(.failure(.nodeDestroyed)) }
    guard nodes.count < size else { return completion(.success(())) }
    let environment = environments[nodes.count % environments.count]
    var options = DHTOptions(bootstrap: bootstrap, host: host ?? .any, port: nodes.isEmpty ? port : 0)
    options.anyPort = !nodes.isEmpty || port == 0
    options.ephemeral = false
    options.firewalled = false
    let node = DHTNode(environment: environment, options: options)
    nodes.append(node)
    if bootstrap.isEmpty {
      // There is no node to ask: the first one takes the address it is bound to for its own, so that a network of one
      // already stores announcements.
      do throws(TransportError) {
        try node.rpc.bind()
      } catch {
        return environment.defer { completion(.failure(.bindFailed(code: error.code, error.description))) }
      }
      if let address = endpoint(of: node) { node.rpc.assume(address) }
    }
    node.start()
    node.whenBootstrapped { [self] result in
      guard case .success = result else { return completion(result) }
      if bootstrap.isEmpty, let address = endpoint(of: node) { bootstrap = [.endpoint(address)] }
      startNext(completion)
    }
  }

  /// Where others reach a node of this network.
  private func endpoint(of node: DHTNode) -> Endpoint? {
    guard let bound = node.rpc.serverSocket?.localEndpoint else { return nil }
    let reachable = bound.host == .any ? node.rpc.localAddress?.host ?? .loopback : bound.host
    return Endpoint(host: reachable, port: bound.port)
  }

  /// An ephemeral node of this network, not started. `options.bootstrap` is filled in.
  package func createNode(
    environment: (any Environment)? = nil, options: DHTOptions? = nil
  ) -> DHTNode? {
    guard let environment = environment ?? environments.first, !isDestroyed else { return nil }
    var options = options ?? DHTOptions(bootstrap: nil, host: host ?? .any, port: 0)
    options.bootstrap = bootstrap
    let node = DHTNode(environment: environment, options: options)
    clients.append(node)
    return node
  }

  /// Closes servers, then nodes in the reverse order of their making. Nodes that are destroyed already count as done.
  package func destroy(_ completion: (() -> Void)? = nil) {
    isDestroyed = true
    // Servers first, while the nodes that hold their announcements are still there to be told.
    let all = nodes + clients
    let group = Countdown { self.destroyNext(of: all, left: all.count, completion) }
    for node in all {
      for server in node.servers { server.close(group.enter()) }
    }
    group.seal()
  }

  private func destroyNext(of all: [DHTNode], left: Int, _ completion: (() -> Void)?) {
    guard left > 0 else {
      completion?()
      return
    }
    all[left - 1].destroy { self.destroyNext(of: all, left: left - 1, completion) }
  }
}
