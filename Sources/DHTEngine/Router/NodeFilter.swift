import HyperEncoding

/// Nodes of the public network that must stay out of routing tables (hyperdht.md 14.8).
package enum NodeFilter {
  package static func accepts(_ node: Endpoint) -> Bool {
    switch node.host {
    case IPv4Address(134, 209, 28, 98), IPv4Address(167, 99, 142, 185): node.port != 49738
    case IPv4Address(35, 233, 47, 252): node.port != 9400
    case IPv4Address(150, 136, 142, 116): false
    default: true
    }
  }
}
