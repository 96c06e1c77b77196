import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

extension Hyperswarm {
  /// One interest in a topic, from `join`. The topic is left when its last interest is destroyed; letting go of the
  /// object does not destroy it, and it does not hold the swarm. May be used from any thread.
  public final class Discovery: Sendable {
    /// What was joined.
    public let topic: Bytes32
    let loop: UVEventLoop
    let session: LoopBound<DiscoverySession>

    init(loop: UVEventLoop, session: DiscoverySession) {
      self.loop = loop
      self.session = LoopBound(session)
      topic = session.topic
    }

    /// What the interest asks for.
    public struct Roles: Hashable, Sendable {
      /// Peers find us under the topic.
      public var isServer: Bool
      /// We look for peers and dial them.
      public var isClient: Bool
      /// Peers of the topic to keep connected or dialled at most, as this interest asks; `nil` is no limit.
      public var limit: Int?
      /// Destroyed, or its topic left: it asks for nothing.
      public var isDestroyed: Bool
    }

    /// As of now; `nil` when the loop has ended.
    public nonisolated(nonsending) func roles() async -> Roles? {
      let session = session
      return await onLoop(loop) {
        let session = session.value
        return Roles(
          isServer: session.isServer, isClient: session.isClient, limit: session.options.limit,
          isDestroyed: session.isDestroyed)
      }
    }

    /// Waits until the round under way has ended: the topic is announced and looked up, for all its interests. Without
    /// one it says what became of the latest.
    /// - Parameter limit: how long to wait, rounded up to milliseconds; `nil` is no limit.
    /// - Returns: `false` when the network did not answer, which is repeated by itself, or the swarm is suspended, or
    ///   was meanwhile.
    /// - Throws: `timedOut` after `limit`, and `cancelled`: the round goes on; `listen` when we cannot listen;
    ///   `sessionDestroyed`; `destroyed`.
    @discardableResult
    public nonisolated(nonsending) func flushed(within limit: Duration? = nil) async throws(HyperswarmError) -> Bool {
      let session = session
      let call = TracedCall("hyperswarm.flushed", topic)
      return try await round(call, on: loop, within: limit) { session.value.flushed($0) }
    }

    /// Announces and looks up now, or waits for the round under way.
    /// - Returns: `false` when the network did not answer, which is repeated by itself, or the topic was left or the
    ///   swarm suspended meanwhile. In a suspended swarm `false`, at once: the round begins with `resume`.
    /// - Throws: as `flushed`.
    @discardableResult
    public nonisolated(nonsending) func refresh() async throws(HyperswarmError) -> Bool {
      let session = session
      return try await round(TracedCall("hyperswarm.refresh", topic), on: loop) { session.value.refresh(nil, $0) }
    }

    /// Announces and looks up now, with other roles or another limit of this interest, which hold from now on. A topic
    /// without a server any more is no longer announced.
    /// - Parameters:
    ///   - server: whether peers find us under the topic.
    ///   - client: whether we look for peers and dial them.
    ///   - limit: peers of the topic to keep connected or dialled at most; `nil` is no limit.
    /// - Returns: as `refresh()`; in a suspended swarm the roles and the limit hold from `resume` on.
    /// - Throws: `noRoles` when neither; else as `flushed`.
    @discardableResult
    public nonisolated(nonsending) func refresh(
      server: Bool, client: Bool, limit: Int? = nil
    ) async throws(HyperswarmError) -> Bool {
      let session = session
      return try await round(TracedCall("hyperswarm.refresh", topic), on: loop) {
        session.value.refresh(JoinOptions(server: server, client: client, limit: limit), $0)
      }
    }

    /// Ends this interest and waits until what follows from it is done: after the last one the topic is left, after the
    /// last server no longer announced. Takes about a second where nodes are silent, five at most. Cancellation does
    /// not end the wait.
    public nonisolated(nonsending) func destroy() async {
      let session = session
      let loop = loop
      await TracedCall("hyperswarm.discovery_destroy", topic).run {
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
          if !loop.post({ session.value.destroy { continuation.resume() } }) { continuation.resume() }
        }
      }
    }
  }

  /// A joined topic as a whole, whatever the number of its interests: from `status(of:)`. The values are those of the
  /// call's moment; the functions act on the topic as long as it is joined, and throw `sessionDestroyed` afterwards.
  public struct TopicStatus: Sendable {
    /// What was asked about.
    public let topic: Bytes32
    /// One of the interests announces us.
    public let isServer: Bool
    /// One of the interests looks for peers.
    public let isClient: Bool
    /// Peers to keep connected or dialled at most: the largest limit of the interests that look up; `nil` is no limit.
    public let limit: Int?
    /// Calls of `join` that are not destroyed.
    public let interests: Int
    /// Nodes of the network hold an announcement of ours, or may: from the first attempt until it is withdrawn.
    public let isAnnounced: Bool
    private let loop: UVEventLoop
    private let discovery: LoopBound<TopicDiscovery>

    /// On the loop.
    init(loop: UVEventLoop, discovery: TopicDiscovery) {
      self.loop = loop
      self.discovery = LoopBound(discovery)
      topic = discovery.topic
      isServer = discovery.sessions.contains(where: \.isServer)
      isClient = discovery.sessions.contains(where: \.isClient)
      limit = isClient ? discovery.limit : nil
      interests = discovery.sessions.count
      isAnnounced = discovery.isAnnounced
    }

    /// Waits until the topic is announced and looked up.
    /// - Parameter limit: how long to wait, rounded up to milliseconds; `nil` is no limit.
    /// - Returns: `false` when the network did not answer, or the swarm is suspended.
    /// - Throws: as `Discovery.flushed`.
    @discardableResult
    public nonisolated(nonsending) func flushed(within limit: Duration? = nil) async throws(HyperswarmError) -> Bool {
      let discovery = discovery
      let call = TracedCall("hyperswarm.flushed", topic)
      return try await round(call, on: loop, within: limit) { discovery.value.flushed($0) }
    }

    /// Announces and looks up now, as `Discovery.refresh`.
    /// - Returns: `false` when the network did not answer, or the swarm is suspended.
    /// - Throws: as `Discovery.flushed`.
    @discardableResult
    public nonisolated(nonsending) func refresh() async throws(HyperswarmError) -> Bool {
      let discovery = discovery
      return try await round(TracedCall("hyperswarm.refresh", topic), on: loop) { discovery.value.refresh($0) }
    }
  }

  /// The topic as it stands, and how to wait for its announcement; `nil` when it is not joined, or the swarm is
  /// destroyed. What was joined before the call counts.
  public nonisolated(nonsending) func status(of topic: Bytes32) async -> TopicStatus? {
    let loop = loop
    return await read { engine in
      engine.status(topic).map { TopicStatus(loop: loop, discovery: $0) }
    } ?? nil
  }
}

/// A round of announcing and looking up, awaited; throws `timedOut` when it takes longer than `limit`.
private nonisolated(nonsending) func round(
  _ call: TracedCall, on loop: UVEventLoop, within limit: Duration? = nil,
  _ start: @escaping @Sendable (@escaping (Result<Bool, SwarmError>) -> Void) -> Void
) async throws(HyperswarmError) -> Bool {
  try await call.run { () async throws(HyperswarmError) -> Bool in
    try await awaitOperation(
      on: loop, cancelled: HyperswarmError.cancelled, gone: .destroyed
    ) { settle in
      let timer = limit.map { limit in
        loop.schedule(after: limit.wholeMilliseconds) { settle(.failure(.timedOut)) }
      }
      start { result in
        timer?.cancel()
        settle(result.mapError(HyperswarmError.init))
      }
      return timer.map { timer in { timer.cancel() } }
    }
  }
}
