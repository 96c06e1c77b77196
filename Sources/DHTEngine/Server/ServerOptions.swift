import HyperEncoding

/// What a firewall hook decides about a client (hyperdht.md C-26).
package enum FirewallVerdict: Sendable {
  case accept
  /// The client gets no answer at all: it cannot tell that there is a server.
  case reject
}

/// Options of a `DHTServer` (hyperdht.md 15.4).
package struct ServerOptions {
  /// Decides about a client: its public key, its payload, its address. Call the last argument once, now or later; a
  /// verdict that does not come within `handshakeClearWait` is a rejection. `nil` accepts every client.
  package var firewall: ((Bytes32, NoisePayload, Endpoint, @escaping (FirewallVerdict) -> Void) -> Void)?
  /// `false`: never punch holes.
  package var allowsHolepunching = true
  /// Asked before punching, with both NAT states and address lists; `false` aborts.
  package var holepunch: HolepunchHook?
  /// Tell clients our (validated) local addresses.
  package var shareLocalAddress = true
  /// A blind relay that clients without a direct path are told to come over.
  package var relayThrough: RelayChoice?
  /// Whether to dial a relay that a client names, by its key; `nil` dials any (hyperdht.md B-4).
  package var acceptsRelay: ((Bytes32) -> Bool)?
  /// Milliseconds without a write after which the connection with a relay sends an empty frame.
  package var relayKeepAlive = Limits.Relay.keepAlive
  /// Milliseconds that a handshake is remembered after it ended.
  package var handshakeClearWait: UInt64 = Limits.Server.handshakeClearWait
  /// Milliseconds without a write after which a connection sends an empty frame; `nil` is the node's value.
  package var connectionKeepAlive: UInt64?

  /// Direct paths are kept for later connections with the same client, if it wants that, too (hyperdht.md 14.3).
  package var reusableSocket = false
  /// In the place of the network's own handshake; clients have to have the same.
  package var handshake: HandshakeHook?
  /// `false`: the key is announced by another server of this host, which hands handshakes over.
  package var isAnnounced = true
  /// Clients come over a relay or not at all.
  package var relayOnly = false

  package init() {}
}
