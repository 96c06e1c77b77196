import HyperCrypto
import HyperEncoding

/// Options of one outgoing connection (hyperdht.md 15.3).
package struct ConnectOptions {
  /// Client identity; `nil` is the node's.
  package var keyPair: KeyPair?
  /// Nodes to try first: relays that the server is known to use.
  package var relayAddresses: [Endpoint] = []
  /// Tell the server our local addresses and try its local ones.
  package var localConnection = true
  /// Open our NAT towards the server with a short-lived probe before asking it to do the same.
  package var fastOpen = true
  /// Asked before punching, with both NAT states and address lists; `false` aborts.
  package var holepunch: HolepunchHook?
  /// A blind relay to go over while, and if, there is no direct path; not asked for the relay itself. The server's own
  /// choice wins.
  package var relayThrough: RelayChoice?
  /// Use the relay that the server names in its answer.
  package var followsServerRelay = true
  /// A direct path is kept for later connections with the same key, and one that was kept is tried first, if the server
  /// wants that, too (hyperdht.md 14.3).
  package var reusableSocket = false
  /// Over a relay or not at all: the server learns no address of ours but the one that its answers go to.
  package var relayOnly = false
  /// Milliseconds without a write after which the connection with the relay sends an empty frame.
  package var relayKeepAlive = Limits.Relay.keepAlive
  /// In the place of the network's own handshake; the server has to have the same.
  package var handshake: HandshakeHook?
  /// Overall time in milliseconds, 0 is none: then the phases bound it (hyperdht.md 6.7).
  package var deadline: UInt64 = 0

  package init() {}
}

/// Veto over hole punching: remote NAT state, own NAT state, remote addresses, own addresses. `false` aborts.
package typealias HolepunchHook = (_ remoteFirewall: UInt64, _ localFirewall: UInt64, [Endpoint], [Endpoint]) -> Bool
