import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperSecretStream

/// Configuration of a `DHTNode` (hyperdht.md 15.1).
package struct DHTOptions {
  /// Where to enter the network: `nil` is the public list, an empty list an isolated node.
  package var bootstrap: [BootstrapNode]?
  /// Nodes put into the routing table at start.
  package var nodes: [Endpoint] = []
  /// First port tried for the server socket, then the next four, then (with `anyPort`) any. 0 is any.
  package var port: UInt16 = DHTOptions.defaultPort
  package var anyPort = true
  /// Bind address, also of hole punching sockets.
  package var host: IPv4Address = .any
  /// Identity of connections and servers that are given none; `nil` draws a fresh one.
  package var keyPair: KeyPair?
  /// Milliseconds without a write after which a connection sends an empty frame; 0 is off.
  package var connectionKeepAlive: UInt64 = Limits.connectionKeepAlive
  /// Bytes of a message that peers may send at most: a larger one ends the connection when its length arrives.
  package var maximumMessage = HyperSecretStream.Limits.Stream.maximumMessage
  /// The same with what encryption adds.
  var maximumFrame: Int { maximumMessage + HyperSecretStream.Limits.Stream.messageOverhead }
  /// `nil` adapts: ephemeral until the node proves reachable for a while.
  package var ephemeral: Bool?
  package var adaptive = true
  /// Few wake-ups and bytes while nothing is asked of the node, which stays ephemeral then.
  package var isLowPower = false
  /// `false` trusts the server socket to be reachable from the start.
  package var firewalled = true
  package var quickFirewall = true
  /// An observation of the own address to start with (bootstrap nodes, which have no node to ask).
  package var knownAddress: Endpoint?
  /// Offer peers to move living streams when an address changes. `false` behaves as deployed peers do.
  package var migration = true
  /// Whether requests of a connect that stay without an answer are repeated with the token of the node asked. Deployed
  /// peers do not.
  package var showsTokens = true
  /// Milliseconds between random hole punches of this node.
  package var randomPunchInterval = Limits.Punch.randomPunchInterval
  /// Start with the random-punch clock running.
  package var deferRandomPunch = false

  package static let defaultPort: UInt16 = 49_737

  package init() {}

  package init(bootstrap: [BootstrapNode]?, host: IPv4Address = .any, port: UInt16 = DHTOptions.defaultPort) {
    self.bootstrap = bootstrap
    self.host = host
    self.port = port
  }

  /// The entry points of the public network (hyperdht.md 16).
  package static let publicBootstrap = [
    "88.99.3.86@node1.hyperdht.org:49737",
    "142.93.90.113@node2.hyperdht.org:49737",
    "138.68.147.8@node3.hyperdht.org:49737",
  ]
}
