import HyperCollections
import HyperEncoding

/// Nodes through which servers were reached, by server key (hyperdht.md 6.6, 12.1): without an age, use extends life.
final class RelayHintCache {
  private var addresses: TwoGenerationCache<Bytes32, [Endpoint]>

  /// `limit` entries per generation.
  init(limit: Int) { addresses = TwoGenerationCache(.init(maximumEntries: limit, maximumAge: 0), now: 0) }

  subscript(publicKey: Bytes32) -> [Endpoint] {
    get { addresses.get(publicKey, now: 0) ?? [] }
    set {
      if newValue.isEmpty {
        addresses.remove(publicKey)
      } else {
        addresses.set(publicKey, Array(newValue.prefix(Limits.Connect.relayHints)), now: 0)
      }
    }
  }

  var count: Int { addresses.count }
}
