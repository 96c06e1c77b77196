import HyperCrypto
import HyperEncoding
import HyperEnvironment

/// What the swarm needs of a DHT node; `DHTNode` in production, a fake in tests. All calls and callbacks on the loop.
package protocol SwarmDHT: AnyObject {
  associatedtype Stream: SwarmStream
  associatedtype Server: SwarmServer where Server.Stream == Stream

  /// Our NAT maps every destination to another port, so that direct connections are unlikely.
  var isRandomizedNAT: Bool { get }
  var isOnline: Bool { get }

  /// Returns at once; the stream opens or closes later, never inside this call.
  func dial(_ publicKey: Bytes32, options: SwarmDialOptions) -> Stream

  func makeSwarmServer(_ options: SwarmServerOptions) -> Server

  /// Starts a query; `onFinished` runs exactly once, later, also after `destroy` of the query.
  func startQuery(
    _ request: SwarmQueryRequest, onPeers: @escaping ([SwarmPeerRecord]) -> Void,
    onFinished: @escaping (_ succeeded: Bool) -> Void
  ) -> any SwarmQuery

  /// The interfaces have changed, or the machine has slept: what was connected may not be any more. The result ends the
  /// observation; so below.
  func observeNetworkChange(_ observer: @escaping () -> Void) -> () -> Void
  /// The node has gone online, offline or degraded.
  func observeNetworkUpdate(_ observer: @escaping () -> Void) -> () -> Void

  func suspendNode(_ completion: @escaping () -> Void)
  /// `completion` gets why the sockets could not be opened.
  func resumeNode(_ completion: @escaping (SwarmStreamFailure?) -> Void)
  func destroyNode(force: Bool, _ completion: @escaping () -> Void)
}

package struct SwarmDialOptions {
  package var keyPair: KeyPair
  /// Nodes that may route the handshake, tried first.
  package var relayAddresses: [Endpoint]
  /// Public key of a blind relay to fall back on.
  package var relayThrough: Bytes32?
}

package struct SwarmServerOptions {
  /// Asked for every new handshake before anything is answered. `true` lets it pass; called exactly once, maybe later.
  package var firewall: (_ remote: SwarmFirewallRequest, _ verdict: @escaping (_ accept: Bool) -> Void) -> Void
  /// The blind relay to offer for an incoming handshake.
  package var relayThrough: () -> Bytes32?
  package var handshakeClearWait: UInt64
}

/// A listening identity of the DHT node.
package protocol SwarmServer: AnyObject {
  associatedtype Stream: SwarmStream
  /// An incoming stream whose handshake is answered. It has proved nothing yet.
  var onConnection: ((Stream) -> Void)? { get set }
  /// Nodes that route handshakes to us, known after `listen`.
  var relayAddresses: [Endpoint] { get }
  func listen(keyPair: KeyPair, _ completion: @escaping (Result<Void, SwarmStreamFailure>) -> Void)
  func suspendServer(_ completion: @escaping () -> Void)
  func resumeServer(_ completion: @escaping () -> Void)
  func closeServer(_ completion: @escaping () -> Void)
}

/// One DHT query of a topic (hyperswarm.md 10.2).
package struct SwarmQueryRequest {
  package enum Operation: Equatable {
    case lookup
    /// `clear`: also removes stale announces of this key on the way.
    case announce(relayAddresses: [Endpoint], clear: Bool)
    case lookupAndUnannounce
    /// Removes the announcement from the seeds, whatever else they hold. `onFinished` waits for a bounded time; what
    /// has not been answered by then goes on without the swarm, unless the query is destroyed.
    case withdraw
  }
  package var topic: Bytes32
  package var operation: Operation
  package var keyPair: KeyPair
  /// Nodes to ask first: the closest ones of the last query.
  package var seeds: [Endpoint]
  /// Ask the seeds and no other node.
  package var onlySeeds: Bool
}

package protocol SwarmQuery: AnyObject {
  /// The closest nodes that answered so far.
  var closestNodes: [Endpoint] { get }
  func destroy()
}

/// A peer as a lookup reply names it.
package struct SwarmPeerRecord: Hashable, Sendable {
  package var publicKey: Bytes32
  package var relayAddresses: [Endpoint]

  package init(publicKey: Bytes32, relayAddresses: [Endpoint] = []) {
    self.publicKey = publicKey
    self.relayAddresses = relayAddresses
  }
}

/// An encrypted stream as the swarm sees it; `EncryptedStream` in production.
package protocol SwarmStream: AnyObject {
  var remotePublicKey: Bytes32? { get }
  var isInitiator: Bool { get }
  /// The first frame of the peer has decrypted; before that an accepted stream may be a replay (secret-stream.md 12.1).
  var isAuthenticated: Bool { get }
  /// `destroy` was called or the stream is closed.
  var isDestroying: Bool { get }
  /// Bytes of data frames (secret-stream.md 12.5); keepalives count.
  var rawBytesRead: UInt64 { get }
  var rawBytesWritten: UInt64 { get }
  /// Bytes of messages, both ways; keepalives do not count.
  var messageBytes: UInt64 { get }
  /// Where the packets of the stream come from: the peer or its relay. `nil` without a transport.
  var remoteHost: IPv4Address? { get }
  /// The connection is being moved to a path of the new network.
  var isOnTheMove: Bool { get }
  /// `nil` as long as there is no transport.
  var transportStatistics: TransportStatistics? { get }

  /// The swarm's own observers; the application's callbacks stay free. `open` and `authenticated` run at most once,
  /// `close` exactly once and last.
  func observe(
    open: (() -> Void)?, authenticated: (() -> Void)?, close: ((SwarmStreamFailure?) -> Void)?)

  /// Sends an empty message; `acknowledged` runs at most once, with `true` when the peer's transport has it.
  func probe(_ acknowledged: ((Bool) -> Void)?)

  /// Aborts; the close observer runs in a later turn.
  func abort(_ reason: SwarmAbortReason)

  /// Keeps messages until `release`, which hands them to the
  /// application's callbacks as set by then.
  func hold()
  func release()
}

/// Why the swarm closes a stream.
package enum SwarmAbortReason: CodedError {
  case duplicateConnection
  case suspended
  case destroyed
  case banned
  case limit
  /// The connection does not work on the new network.
  case networkChanged

  package var code: String {
    switch self {
    case .duplicateConnection: "DUPLICATE_CONNECTION"
    case .suspended: "SUSPENDED"
    case .destroyed: "SWARM_DESTROYED"
    case .banned: "PEER_FIREWALLED"
    case .limit: "TOO_MANY_CONNECTIONS"
    case .networkChanged: "NETWORK_CHANGED"
    }
  }

  package var description: String {
    switch self {
    case .duplicateConnection: "Duplicate connection"
    case .suspended: "Swarm suspended"
    case .destroyed: "Swarm destroyed"
    case .banned: "Peer is firewalled"
    case .limit: "Too many connections"
    case .networkChanged: "The network has changed and the old path does not work"
    }
  }
}

/// Why a stream failed or could not be made: a stable code (hyperdht.md 15.6) and a sentence.
package struct SwarmStreamFailure: Error, Hashable, Sendable, CustomStringConvertible {
  package var code: String
  package var description: String

  package init(code: String, description: String) {
    self.code = code
    self.description = description
  }
}
