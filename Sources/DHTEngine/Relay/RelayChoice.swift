import HyperEncoding
import HyperEnvironment

/// Which blind relay to use (hyperdht.md 6.1).
package enum RelayChoice {
  /// One is drawn per connection.
  case keys([Bytes32])
  /// Asked once per connection; `nil` is none.
  case choose(() -> Bytes32?)

  func pick(_ environment: any Environment) -> Bytes32? {
    switch self {
    case .choose(let choose): return choose()
    case .keys(let keys):
      guard !keys.isEmpty else { return nil }
      let count = min(keys.count, Limits.Relay.relayChoices)
      return keys[Int(environment.random(below: UInt32(count)))]
    }
  }
}

/// A relay, and the token by which both sides of one connection find each other there.
struct RelayTicket: Hashable {
  var publicKey: Bytes32
  var token: Bytes32
  /// Our role at the relay: the side that named it is the initiator, whichever side dialled (hyperdht.md 10.2).
  var isInitiator: Bool
}

enum BlindRelay {
  /// Name of the protomux channel (hyperdht.md 10.3).
  static let channel = "blind-relay"
}
