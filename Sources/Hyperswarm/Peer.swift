import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

extension Hyperswarm {
  /// What the swarm knows about the peer of a connection.
  public final class Peer: Sendable {
    public let publicKey: Bytes32
    /// Joined topics that the peer was found under when the connection opened; a peer that dialled us has none.
    public let topics: [Bytes32]
    /// We have dialled.
    public let isClient: Bool
    private let loop: UVEventLoop
    private let info: LoopBound<PeerInfo>

    init(loop: UVEventLoop, info: PeerInfo) {
      self.loop = loop
      self.info = LoopBound(info)
      publicKey = info.publicKey
      topics = info.topics
      isClient = info.isClient
    }

    /// As of now.
    public func status(isolation: isolated (any Actor)? = #isolation) async -> PeerStatus? {
      let info = info
      return await onLoop(loop, isolation: isolation) { PeerStatus(info.value) }
    }

    /// Never dials, accepts or retries the peer, or lifts that again. The connection stays.
    public func ban(_ isBanned: Bool = true) {
      let info = info
      loop.post { info.value.ban(isBanned) }
    }

    /// Whether to dial the peer again when the connection has ended.
    public func reconnect(_ isEnabled: Bool) {
      let info = info
      loop.post { info.value.reconnect(isEnabled) }
    }
  }

  /// A peer at one moment.
  public struct PeerStatus: Hashable, Sendable {
    public var publicKey: Bytes32
    public var relayAddresses: [Endpoint]
    public var topics: [Bytes32]
    public var isClient: Bool
    public var isProven: Bool
    public var isBanned: Bool
    /// Named by `joinPeer`.
    public var isExplicit: Bool
    /// In line to be dialled, or waiting for the next try.
    public var isQueued: Bool
    public var isWaiting: Bool
    /// Failed dials in a row.
    public var attempts: Int

    init(_ info: PeerInfo) {
      publicKey = info.publicKey
      relayAddresses = info.relayAddresses
      topics = info.topics
      isClient = info.isClient
      isProven = info.isProven
      isBanned = info.isBanned
      isExplicit = info.isExplicit
      isQueued = info.isQueued
      isWaiting = info.isWaiting
      attempts = info.attempts
    }
  }
}

extension HyperDHT.Connection {
  /// What the swarm knows about the peer; `nil` for connections that were made without a swarm.
  public var peer: Hyperswarm.Peer? { attachment as? Hyperswarm.Peer }
}
