import HyperEncoding

enum CloserNodes {
  /// The addresses of a reply that may be visited: at most k, each once, usable, and private ones only when the replier
  /// or this node itself lives in such a network, as in tests and LANs (dht-rpc.md C-7).
  static func accepted(_ list: [Endpoint], from replier: IPv4Address, own: IPv4Address?) -> [Endpoint] {
    guard !list.isEmpty else { return [] }
    let allowsPrivate = replier.isPrivate || own?.isPrivate == true
    func isAccepted(_ endpoint: Endpoint) -> Bool {
      endpoint.isUsable && (allowsPrivate || !endpoint.host.isPrivate)
    }
    // Most lists are good as they are, and need no copy.
    if list.count <= Limits.k,
      list.indices.allSatisfy({ isAccepted(list[$0]) && !list[..<$0].contains(list[$0]) })
    {
      return list
    }
    var result: [Endpoint] = []
    result.reserveCapacity(min(list.count, Limits.k))
    for endpoint in list {
      guard result.count < Limits.k else { break }
      guard isAccepted(endpoint), !result.contains(endpoint) else { continue }
      result.append(endpoint)
    }
    return result
  }
}
