import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// A blind relay that others reach by its public key: a server of the node whose connections are served as relay
/// sessions (hyperdht.md 10.1).
package final class RelayService {
  package let server: DHTServer
  package let relay: BlindRelayServer

  /// - Parameter options: the clients that may use the relay, among others. The relay itself is never relayed.
  package init(node: DHTNode, options: ServerOptions = .init(), bounds: BlindRelayServer.Bounds = .init()) {
    var options = options
    options.relayThrough = nil
    options.acceptsRelay = { _ in false }
    server = node.makeServer(options: options)
    relay = BlindRelayServer(environment: node.environment, bounds: bounds) { [weak node] in
      node?.makeTransportStream()
    }
    server.onConnection = { [relay] in relay.accept($0) }
  }

  package func listen(keyPair: KeyPair? = nil, completion: ((Result<Void, DHTError>) -> Void)? = nil) {
    server.listen(keyPair: keyPair, completion: completion)
  }

  /// Withdraws the announcement and ends all sessions; what was relayed stops.
  package func close(_ completion: (() -> Void)? = nil) {
    relay.close()
    server.close(completion)
  }
}
