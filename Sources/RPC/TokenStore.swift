import HyperCrypto
import HyperEncoding

/// Round-trip tokens (dht-rpc.md 9): a keyed hash of the requester's IP address under a secret that rotates
/// every 7.5 s. Issued from the current secret, accepted from the current and the previous one. Secrets are drawn
/// afresh: one that leaks says nothing about later ones (the reference hashes the older one).
struct TokenStore {
  var previous: Bytes32
  var current: Bytes32

  func issue(for host: IPv4Address) -> Bytes32 { TokenStore.token(for: host, secret: current) }

  /// Constant time in the token's bytes.
  func verify(_ token: Bytes32, for host: IPv4Address) -> Bool {
    let isCurrent = constantTimeEqual(token, TokenStore.token(for: host, secret: current))
    let isPrevious = constantTimeEqual(token, TokenStore.token(for: host, secret: previous))
    return isCurrent || isPrevious
  }

  mutating func rotate(to secret: Bytes32) {
    previous = current
    current = secret
  }

  private static func token(for host: IPv4Address, secret: Bytes32) -> Bytes32 {
    host.withText { text in secret.withUnsafeBytes { Blake2b.hash32(text, key: $0) } }
  }
}
