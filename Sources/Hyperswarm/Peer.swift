import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

extension Hyperswarm {
  /// What the swarm knows about a peer: live, from `swarm.peers[key]` and `connection.peer`.
  ///
  /// The properties are those of the loop's latest change, and each is read by itself: `snapshot` has them all of one
  /// moment. May be used from any thread; holds neither the connection nor the swarm.
  ///
  /// The swarm forgets a peer that is not connected, dialled, queued, waiting, explicit or banned. A forgotten one
  /// keeps its last values, and what is asked of it has no effect; one that is found again is a new object.
  public final class Peer: Sendable {
    /// The peer's identity.
    public let publicKey: Bytes32
    private let loop: UVEventLoop
    private let info: LoopBound<PeerInfo>
    private let latest: Locked<PeerStatus>

    /// On the loop. `found` is called with each topic that the peer is first found under.
    init(loop: UVEventLoop, info: PeerInfo, found: ((Bytes32) -> Void)? = nil) {
      self.loop = loop
      self.info = LoopBound(info)
      publicKey = info.publicKey
      latest = Locked(PeerStatus(info))
      info.onTopic = found
      info.onChange = { [weak self, unowned info] in
        let status = PeerStatus(info)
        self?.latest.withLock { $0 = status }
      }
    }

    /// All values, of one moment.
    public var snapshot: PeerStatus { latest.withLock { $0 } }
    /// Joined topics that the peer was found under, in the order of the first sight: grows while connected, too. A peer
    /// that dialled us is in none until a look-up of ours has found it.
    public var topics: [Bytes32] { snapshot.topics }
    /// Nodes that route to the peer, as the latest look-up that had any says.
    public var relayAddresses: [Endpoint] { snapshot.relayAddresses }
    /// We have dialled the last connection.
    public var isClient: Bool { snapshot.isClient }
    /// The peer has dialled the last connection, or there was none.
    public var isServer: Bool { !snapshot.isClient }
    /// A dial of ours has opened: the peer is dialled again sooner.
    public var isProven: Bool { snapshot.isProven }
    /// The peer is dialled before those that have failed three times in a row, or more.
    public var isPrioritized: Bool { snapshot.isPrioritized }
    /// Never dialled, accepted or retried, by `ban` or the firewall.
    public var isBanned: Bool { snapshot.isBanned }
    /// Named by `joinPeer`.
    public var isExplicit: Bool { snapshot.isExplicit }
    /// Whether the peer is dialled again when a connection that we have dialled has ended.
    public var isReconnecting: Bool { snapshot.isReconnecting }
    /// In line to be dialled.
    public var isQueued: Bool { snapshot.isQueued }
    /// Waiting for the next try.
    public var isWaiting: Bool { snapshot.isWaiting }
    /// Dials and dialled connections in a row that have ended; one that lasted 15 seconds counts as the first.
    public var attempts: Int { snapshot.attempts }

    /// As of the loop's turn in which the call arrives there: after what was asked of the peer before, `ban` for one.
    /// `nil` when the loop has ended.
    public nonisolated(nonsending) func status() async -> PeerStatus? {
      let info = info
      return await onLoop(loop) { PeerStatus(info.value) }
    }

    /// Never dials, accepts or retries the peer, or lifts that again. The connection stays. Takes effect when the loop
    /// gets to it, at once for a caller on the loop; the swarm remembers a banned peer until the ban is lifted. Then it
    /// is dialled when a look-up finds it next, at once if `joinPeer` has named it.
    public func ban(_ isBanned: Bool = true) {
      let info = info
      loop.post { info.value.ban(isBanned) }
    }

    /// Whether to dial the peer again by itself when a connection that we have dialled has ended, or a dial: `true`
    /// until set. A look-up that finds the peer, and `joinPeer`, have it dialled all the same. Takes effect as `ban`
    /// does.
    public func reconnect(_ isEnabled: Bool) {
      let info = info
      loop.post { info.value.reconnect(isEnabled) }
    }
  }

  /// A peer at one moment.
  public struct PeerStatus: Hashable, Sendable {
    /// The peer's identity.
    public var publicKey: Bytes32
    /// Nodes that route to the peer.
    public var relayAddresses: [Endpoint]
    /// Joined topics that the peer was found under, in the order of the first sight.
    public var topics: [Bytes32]
    /// We have dialled the last connection.
    public var isClient: Bool
    /// A dial of ours has opened.
    public var isProven: Bool
    /// Dialled before those that have failed three times in a row, or more.
    public var isPrioritized: Bool
    /// Never dialled, accepted or retried.
    public var isBanned: Bool
    /// Named by `joinPeer`.
    public var isExplicit: Bool
    /// Dialled again by itself when a connection that we have dialled has ended, or a dial.
    public var isReconnecting: Bool
    /// In line to be dialled.
    public var isQueued: Bool
    /// Waiting for the next try.
    public var isWaiting: Bool
    /// Dials and dialled connections in a row that have ended.
    public var attempts: Int

    init(_ info: PeerInfo) {
      publicKey = info.publicKey
      relayAddresses = info.relayAddresses
      topics = info.topics
      isClient = info.isClient
      isProven = info.isProven
      isPrioritized = info.isPrioritized
      isBanned = info.isBanned
      isExplicit = info.isExplicit
      isReconnecting = info.isReconnecting
      isQueued = info.isQueued
      isWaiting = info.isWaiting
      attempts = info.attempts
    }
  }
}

extension Hyperswarm.Peer: CustomStringConvertible {
  /// For a debugger: the key, what is true of the peer, and how many topics.
  public var description: String {
    let status = snapshot
    let flags = [
      status.isClient ? "dialled" : nil, status.isExplicit ? "explicit" : nil, status.isBanned ? "banned" : nil,
      status.isQueued ? "queued" : nil, status.isWaiting ? "waiting" : nil,
    ]
    let words = flags.compactMap { $0 } + ["\(status.topics.count) topics", "\(status.attempts) attempts"]
    return "Hyperswarm.Peer(\(publicKey.hex): \(words.joined(separator: ", ")))"
  }
}

extension HyperDHT.Connection {
  /// What the swarm knows about the peer; `nil` for connections that were made without a swarm.
  public var peer: Hyperswarm.Peer? { attachment as? Hyperswarm.Peer }
}
