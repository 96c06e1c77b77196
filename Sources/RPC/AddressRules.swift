import HyperEncoding

/// Which addresses out of other nodes' messages may be contacted (dht-rpc.md C-7).
enum AddressRules {
  /// Anything a datagram can be sent to: no port 0, unspecified, multicast, reserved or broadcast address.
  static func isUsable(_ endpoint: Endpoint) -> Bool {
    let top = endpoint.host.value >> 24
    return endpoint.port != 0 && top != 0 && top < 224
  }

  /// Loopback, private, link-local and carrier-grade NAT ranges: reachable only from near by.
  static func isLocal(_ host: IPv4Address) -> Bool {
    let value = host.value
    switch value >> 24 {
    case 10, 127: return true
    case 100: return value >> 22 == (100 << 24 | 64 << 16) >> 22
    case 169: return value >> 16 == 169 << 8 | 254
    case 172: return value >> 20 == (172 << 24 | 16 << 16) >> 20
    case 192: return value >> 16 == 192 << 8 | 168
    default: return false
    }
  }

  /// The addresses of a reply that may be visited: at most 20, each once, usable, and local ones only when the replier
  /// or we ourselves live in such a network (tests and LANs).
  static func closerNodes(_ list: [Endpoint], from replier: IPv4Address, own: IPv4Address?) -> [Endpoint] {
    guard !list.isEmpty else { return [] }
    let allowsLocal = isLocal(replier) || own.map(isLocal) == true
    var result: [Endpoint] = []
    result.reserveCapacity(min(list.count, RPCLimits.k))
    for endpoint in list {
      guard result.count < RPCLimits.k else { break }
      guard isUsable(endpoint), allowsLocal || !isLocal(endpoint.host), !result.contains(endpoint) else { continue }
      result.append(endpoint)
    }
    return result
  }
}
