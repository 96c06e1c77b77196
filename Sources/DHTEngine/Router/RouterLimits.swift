/// Bounds of the router (hyperdht.md 5.1, 17 and Part B).
package struct RouterLimits: Sendable {
  /// Announced servers per cache generation.
  package var maximumEntries = 65_536
  /// Announced servers per generation whose announcer has one and the same address.
  package var maximumEntriesPerHost = 16_384
  /// Milliseconds an announced server is kept without use.
  package var maximumAge: UInt64 = 20 * 60 * 1000
  /// Messages per second, and in one burst, that a host may have forwarded. A handshake with hole punching takes about
  /// five. Loopback is exempt: it cannot be forged from outside, and whole test networks live there. Announced servers
  /// answering through us are exempt too, they have signed for their address.
  package var forwardsPerSecond: UInt64 = 128
  package var forwardBurst: UInt64 = 512
  /// The same over all hosts together.
  package var totalForwardsPerSecond: UInt64 = 8192
  package var totalForwardBurst: UInt64 = 16_384
  /// Hosts whose rate is remembered per generation.
  package var maximumTrackedHosts = 4096
  /// Messages that local servers have not answered yet; more are dropped.
  package var maximumPendingReplies = 1024
  /// Whether messages towards private and reserved addresses are dropped when they come from a public address: they
  /// would reach into our own network. Between such addresses (a LAN, a test network) everything is forwarded, and so is
  /// what goes to one that has lately sent such a message itself.
  package var refusesBogonDestinations = true
  /// How many of those are remembered per generation, and for how long (milliseconds).
  package var maximumLocalPeers = 1024
  package var localPeerAge: UInt64 = 120_000
  /// Whether handshakes for servers that we do not know are dropped even if the client names the relay to use. The
  /// reference forwards them, and its clients never ask.
  package var requiresRouteForNamedRelay = false

  package init() {}
}
