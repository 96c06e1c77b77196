import HyperEncoding
import HyperEnvironment

extension DHTOptions {
  /// A node that is the first of its network: persistent at once under the given public address (hyperdht.md 16). `nil`
  /// unless `host` is an address of one host, which 0.0.0.0 is not, and `port` is not 0.
  package static func bootstrapper(
    port: UInt16, host: IPv4Address, bindHost: IPv4Address = .any
  ) -> DHTOptions? {
    guard Endpoint(host: host, port: port).isUsable else { return nil }
    var options = DHTOptions(bootstrap: [], host: bindHost, port: port)
    options.anyPort = false
    options.ephemeral = false
    options.firewalled = false
    options.knownAddress = Endpoint(host: host, port: port)
    return options
  }
}

extension DHTNode {
  /// A bootstrap node, see `DHTOptions.bootstrapper`.
  package static func bootstrapper(
    environment: any Environment, port: UInt16, host: IPv4Address, bindHost: IPv4Address = .any
  ) throws(DHTError) -> DHTNode {
    guard let options = DHTOptions.bootstrapper(port: port, host: host, bindHost: bindHost) else {
      throw .invalidAddress
    }
    return DHTNode(environment: environment, options: options)
  }
}
