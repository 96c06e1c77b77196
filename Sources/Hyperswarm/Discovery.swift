import HyperEncoding
import HyperRuntime
import HyperswarmEngine

extension Hyperswarm {
  /// One interest in a topic, from `join`. The topic is left when its last interest is destroyed; letting go of the
  /// object does not destroy it.
  public final class Discovery: Sendable {
    public let topic: Bytes32
    let loop: UVEventLoop
    let session: LoopBound<DiscoverySession>

    init(loop: UVEventLoop, session: DiscoverySession) {
      self.loop = loop
      self.session = LoopBound(session)
      topic = session.topic
    }

    /// Waits until the topic is announced and looked up.
    /// - Returns: `false` when that failed, or the swarm is suspended.
    @discardableResult
    public func flushed(isolation: isolated (any Actor)? = #isolation) async throws(HyperswarmError) -> Bool {
      let session = session
      return try await operation(isolation: isolation) { settle in
        session.value.flushed { settle($0.mapError(HyperswarmError.init)) }
        return nil
      }
    }

    /// Announces and looks up now, with other roles or another limit if given.
    /// - Returns: `false` when that failed.
    @discardableResult
    public func refresh(isolation: isolated (any Actor)? = #isolation) async throws(HyperswarmError) -> Bool {
      let session = session
      return try await operation(isolation: isolation) { settle in
        session.value.refresh(nil) { settle($0.mapError(HyperswarmError.init)) }
        return nil
      }
    }

    @discardableResult
    public func refresh(
      server: Bool, client: Bool, limit: Int? = nil, isolation: isolated (any Actor)? = #isolation
    ) async throws(HyperswarmError) -> Bool {
      let session = session
      return try await operation(isolation: isolation) { settle in
        session.value.refresh(JoinOptions(server: server, client: client, limit: limit)) {
          settle($0.mapError(HyperswarmError.init))
        }
        return nil
      }
    }

    /// Ends this interest and waits until what follows from it is done.
    public func destroy(isolation: isolated (any Actor)? = #isolation) async {
      let session = session
      let loop = loop
      await withUnsafeContinuation(isolation: isolation) { (continuation: UnsafeContinuation<Void, Never>) in
        if !loop.post({ session.value.destroy { continuation.resume() } }) { continuation.resume() }
      }
    }

    private func operation<T: Sendable>(
      isolation: isolated (any Actor)?,
      _ start: @escaping @Sendable (_ settle: @escaping (Result<T, HyperswarmError>) -> Void) -> (() -> Void)?
    ) async throws(HyperswarmError) -> T {
      try await awaitOperation(
        on: loop, cancelled: HyperswarmError.cancelled, gone: .destroyed, isolation: isolation, start)
    }
  }
}
