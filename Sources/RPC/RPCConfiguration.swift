import HyperEncoding

/// A range of ports to try in order, `lower..<upper`; empty means any port (dht-rpc.md 10).
package struct PortRange: Hashable, Sendable, ExpressibleByIntegerLiteral {
  package var lower: UInt16
  /// Exclusive.
  package var upper: UInt32

  /// 0 is any port; p means p...p+4.
  package init(_ port: UInt16) {
    lower = port
    upper = port == 0 ? 0 : min(UInt32(port) + UInt32(Limits.portRangeSpan), 65_536)
  }

  package init(_ range: Range<UInt16>) {
    lower = range.lowerBound
    upper = UInt32(range.upperBound)
  }

  package init(integerLiteral value: UInt16) { self.init(value) }

  package var isAny: Bool { lower == 0 || upper <= UInt32(lower) }

  var ports: [UInt16] { isAny ? [] : (UInt32(lower)..<upper).map { UInt16($0) } }
}

/// How a node finds the network and behaves in it (dht-rpc.md 22.1).
package struct RPCConfiguration {
  package var bootstrap: [BootstrapNode] = []
  /// Put into the routing table at start, first one latest.
  package var nodes: [Endpoint] = []
  /// Of the server socket.
  package var port: PortRange = 0
  /// Bind address of both sockets.
  package var host: IPv4Address = .any
  /// Fall back to any port when the range is taken.
  package var anyPort = true
  /// `false` forces persistence where reachable, `true` forbids it, `nil` decides by `adaptive`.
  package var ephemeral: Bool?
  package var adaptive = true
  /// Few wake-ups and bytes while nothing is asked of the node: ``Limits/LowPower``. For ephemeral nodes.
  package var isLowPower = false
  /// Initial state; `false` trusts the server socket to be reachable.
  package var firewalled = true
  package var quickFirewall = true
  package var concurrency = Limits.concurrency
  package var maxWindow = Limits.maxWindow
  /// `false` keeps a node out of the routing table and out of queries.
  package var filterNode: ((Endpoint) -> Bool)?
  package var sendDownHints = true
  /// Per tick; -1 is unlimited, 0 none.
  package var downHintsRateLimit = Limits.downHintsPerTick
  /// Milliseconds; 0 means the default.
  package var maxPingDelay = Limits.maxPingDelay
  /// Waits for answers as long as the path needs instead of always 1 s, and no longer than useful in queries
  /// (dht-rpc.md C-3, C-6).
  package var adaptiveTimeout = true
  /// Bounds the nodes of one IP address and of one /24 in buckets, table and closest sets (dht-rpc.md C-10).
  package var limitsSubnets = true
  /// Primes the NAT sampler (bootstrappers know their address).
  package var natSample: Endpoint?

  package init() {}

  package init(bootstrap: [BootstrapNode], port: PortRange = 0, host: IPv4Address = .any) {
    self.bootstrap = bootstrap
    self.port = port
    self.host = host
  }

  /// A node that is the first of its network: persistent at once under the given public address (dht-rpc.md 16).
  /// Fails with `invalidAddress` unless `publicHost` is an IPv4 literal that a host can have, which 0.0.0.0 is not, and
  /// `port` is not 0.
  package static func bootstrapper(
    port: UInt16, publicHost: String, bindHost: IPv4Address = .any
  ) throws(RPCError) -> RPCConfiguration {
    guard port != 0, let address = IPv4Address(publicHost), address.isUnicast else { throw .invalidAddress }
    var configuration = RPCConfiguration(bootstrap: [], port: PortRange(port), host: bindHost)
    configuration.ephemeral = false
    configuration.firewalled = false
    configuration.anyPort = false
    configuration.natSample = Endpoint(host: address, port: port)
    return configuration
  }
}

/// Where to enter the network (dht-rpc.md 16).
package enum BootstrapNode: Hashable, Sendable {
  case endpoint(Endpoint)
  case name(String, UInt16)
  /// An address that is used if it answers, and the name to look up otherwise: `ip@name:port`.
  case suggested(IPv4Address, String, UInt16)

  /// `host:port`, `name:port`, `ip@name:port`, or a bare port number (on 127.0.0.1); `nil` for anything else, and for
  /// addresses that no node can have, such as 0.0.0.0.
  package init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":") else {
      guard let port = Endpoint.port(text), port != 0 else { return nil }
      self = .endpoint(Endpoint(host: .loopback, port: port))
      return
    }
    guard let port = Endpoint.port(text[text.index(after: colon)...]), port != 0 else { return nil }
    let host = text[..<colon]
    if let at = host.firstIndex(of: "@") {
      let name = host[host.index(after: at)...]
      guard let address = IPv4Address(host[..<at]), address.isUnicast, BootstrapNode.isName(name) else { return nil }
      self = .suggested(address, String(name), port)
    } else if let address = IPv4Address(host) {
      guard address.isUnicast else { return nil }
      self = .endpoint(Endpoint(host: address, port: port))
    } else {
      guard BootstrapNode.isName(host) else { return nil }
      self = .name(String(host), port)
    }
  }

  private static func isName(_ text: Substring) -> Bool {
    guard (1...253).contains(text.utf8.count) else { return false }
    let plausible = text.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        || byte == 0x2d || byte == 0x2e || byte == 0x5f
    }
    // All digits and dots is a mistyped address, not a name.
    return plausible && !text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2e }
  }
}

extension BootstrapNode: CustomStringConvertible {
  package var description: String {
    switch self {
    case .endpoint(let endpoint): return endpoint.description
    case .name(let name, let port): return "\(name):\(port)"
    case .suggested(let address, let name, let port): return "\(address)@\(name):\(port)"
    }
  }
}
