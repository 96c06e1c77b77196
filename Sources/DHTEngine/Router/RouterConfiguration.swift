import HyperCollections

/// The bounds and rules of one router; see ``Limits/Router`` for units and reasons.
package struct RouterConfiguration: Sendable {
  package var maximumEntries = Limits.Router.entries
  package var entriesPerHost = Limits.Router.entriesPerHost
  /// Milliseconds.
  package var maximumAge = Limits.Router.age
  package var forwards = Rate(burst: Limits.Router.forwardBurst, perSecond: Limits.Router.forwardsPerSecond)
  /// Towards one host.
  package var destinationForwards = Rate(
    burst: Limits.Router.destinationForwardBurst, perSecond: Limits.Router.destinationForwardsPerSecond)
  package var totalForwards = Rate(
    burst: Limits.Router.totalForwardBurst, perSecond: Limits.Router.totalForwardsPerSecond)
  package var maximumTrackedHosts = Limits.Router.trackedHosts
  /// Per generation, of which there are two.
  package var maximumTrackedRefusals = Limits.Router.trackedRefusals
  package var maximumPendingReplies = Limits.Router.pendingReplies
  /// Whether messages towards private and reserved addresses are dropped when they come from a public address: they
  /// would reach into this node's own network. Between such addresses (a LAN, a test network) everything is forwarded,
  /// and so is what goes to one that has lately sent such a message itself.
  package var refusesBogonDestinations = true
  package var maximumLocalPeers = Limits.Router.localPeers
  /// Milliseconds.
  package var localPeerAge = Limits.Router.localPeerAge
  /// Whether handshakes for servers that this node does not know are dropped even if the client names the relay to use.
  /// The reference forwards them, and its clients never ask.
  package var requiresRouteForNamedRelay = false

  package init() {}
}
