import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperswarmEngine

/// A DHT on a virtual network: persistent nodes, each on a public host of its own, through which swarms find each
/// other. Confined to the thread of its network.
///
/// Eight nodes are enough for most tests; take more than 20 where look-ups should need several rounds.
public final class VirtualTestnet {
  /// The network that the nodes are on.
  public let network: VirtualNetwork
  /// The hosts of the nodes, in the order in which they came up. The first is the entry point of the others.
  public let hosts: [VirtualHost]
  package let testnet: Testnet
  private var relays: [RelayService] = []

  /// Virtual time in which the nodes of a sane network come up, per node: a node joins within two look-ups.
  private static let bootTime = Duration.seconds(60)

  /// Starts the nodes and runs the network until they are up, for a minute of virtual time per node at most. Not from
  /// inside a callback.
  /// - `size`: nodes, at least 1.
  /// - Throws: when they do not come up, on a network that loses too much for example.
  public init(network: VirtualNetwork, size: Int = 8) throws(VirtualSwarmError) {
    self.network = network
    hosts = (0..<max(size, 1)).map { _ in network.makeHost() }
    testnet = Testnet(environments: hosts, size: hosts.count, host: nil)
    var result: Result<Void, DHTError>?
    testnet.start { result = $0 }
    network.run(within: VirtualTestnet.bootTime * hosts.count) { result != nil }
    switch result {
    case .success: return
    case .failure(let error): throw VirtualSwarmError(description: "\(error)")
    case nil: throw VirtualSwarmError(description: "the nodes did not come up in time")
    }
  }

  /// A swarm on `host`, of the same network, that enters the DHT here. It finds and is found with the next `join`. Keep
  /// it: the testnet does not hold it.
  /// - `keyPair`: the identity; `nil` draws one from the host's random source.
  /// - `maxPeers`: connections up to which the swarm dials, at least 1. It accepts more.
  /// - `relays`: public keys of `makeRelay`, for hosts between which no hole can be punched.
  public func makeSwarm(
    on host: VirtualHost, keyPair: KeyPair? = nil, maxPeers: Int = 64, relays: [Bytes32] = []
  ) -> VirtualSwarm {
    var options = SwarmOptions()
    options.keyPair = keyPair ?? KeyPair(seed: host.random32())
    options.maxPeers = maxPeers
    if !relays.isEmpty { options.relayThrough = .keys(relays) }
    return makeSwarm(on: host, options: options) { _ in }
  }

  package func makeSwarm(
    on host: VirtualHost, options: SwarmOptions, adjust: (inout DHTOptions) -> Void
  ) -> VirtualSwarm {
    var dht = DHTOptions(bootstrap: testnet.bootstrap, host: .any, port: 0)
    adjust(&dht)
    let node = DHTNode(environment: host, options: dht)
    return VirtualSwarm(host: host, engine: SwarmEngine(environment: host, dht: node, options: options))
  }

  /// A blind relay on `host`, which should be public. The testnet holds it.
  /// - `ready`: called once: with its public key, or `nil` if it cannot listen.
  public func makeRelay(on host: VirtualHost, ready: @escaping (Bytes32?) -> Void) {
    var options = DHTOptions(bootstrap: testnet.bootstrap, host: .any, port: 0)
    options.firewalled = false
    guard let node = testnet.createNode(environment: host, options: options) else { return ready(nil) }
    node.start()
    let service = RelayService(node: node)
    relays.append(service)
    service.listen(keyPair: KeyPair(seed: host.random32())) { result in
      if case .success = result { ready(service.server.publicKey) } else { ready(nil) }
    }
  }

  /// Closes relays and nodes; `completion` runs once, later. Swarms are closed by their owner.
  public func destroy(_ completion: (() -> Void)? = nil) {
    for relay in relays { relay.close() }
    relays = []
    testnet.destroy(completion)
  }
}
