import HyperEncoding

/// Nodes through which servers were reached, by server key (hyperdht.md 6.6, 12.1). Two generations without an
/// age; what is used moves to the young one.
final class RelayHintCache {
  private let limit: Int
  private var young: [Bytes32: [Endpoint]] = [:]
  private var old: [Bytes32: [Endpoint]] = [:]

  init(limit: Int) { self.limit = limit }

  subscript(publicKey: Bytes32) -> [Endpoint] {
    get {
      if let found = young[publicKey] { return found }
      guard let found = old.removeValue(forKey: publicKey) else { return [] }
      insert(publicKey, found)
      return found
    }
    set {
      old[publicKey] = nil
      if newValue.isEmpty { young[publicKey] = nil } else { insert(publicKey, newValue) }
    }
  }

  var count: Int { young.count + old.count }

  private func insert(_ publicKey: Bytes32, _ addresses: [Endpoint]) {
    young[publicKey] = Array(addresses.prefix(Limits.Connect.relayHints))
    if young.count >= limit {
      old = young
      young = [:]
    }
  }
}
