import HyperEncoding

/// The tokens that requesters have got under the present secret: one that asks again, as every query does, costs no
/// hash. One place per remainder of the address, taken over by the next requester with the same.
struct IssuedTokens {
  private struct Entry {
    var host: IPv4Address
    var token: Bytes32
  }

  private var secret = Bytes32()
  /// Empty until a token is asked for.
  private var entries: [Entry?] = []

  mutating func token(for host: IPv4Address, from store: TokenStore) -> Bytes32 {
    if secret != store.current || entries.isEmpty {
      secret = store.current
      entries = Array(repeating: nil, count: Limits.issuedTokens)
    }
    let place = Int(host.value % UInt32(Limits.issuedTokens))
    if let entry = entries[place], entry.host == host { return entry.token }
    let token = store.issue(for: host)
    entries[place] = Entry(host: host, token: token)
    return token
  }
}
