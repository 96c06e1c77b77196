import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream

extension HyperDHT {
  /// Begins to connect to the peer that listens with this public key: `connect` for programs that show how far it is.
  /// Returns at once, never fails: `Dial.connection` says how it went.
  public func dial(_ publicKey: Bytes32, options: ConnectOptions = ConnectOptions()) -> Dial {
    Dial(self, publicKey, options)
  }

  /// A connection that is being made. Letting go of it before the connection is taken gives it up; afterwards the
  /// connection is the caller's. May be used from any thread.
  public final class Dial: Sendable {
    /// The key that is dialled.
    public let publicKey: Bytes32
    private let loop: UVEventLoop
    private let board = StateBoard()
    private let attempt = LoopBound(Attempt())
    private let settled = ClosingFlag<DHTError>()
    private let result = Locked(Outcome())

    /// Confined to the loop.
    private final class Attempt {
      /// `nil` once it is open or closed.
      var stream: EncryptedStream?
      /// Of the steps so far; holds nothing else of the attempt.
      var timeline: (() -> [String])?
    }

    private struct Outcome {
      /// Held until the first caller takes it.
      var unclaimed: Connection?
      weak var claimed: Connection?
      var failure: DHTError?
    }

    init(_ dht: HyperDHT, _ publicKey: Bytes32, _ options: ConnectOptions) {
      self.publicKey = publicKey
      loop = dht.loop
      let (node, loop, board, attempt, settled, result) = (dht.node, dht.loop, board, attempt, settled, result)
      let traced = TracedProcess(TracedCall("hyperdht.dial", publicKey), countsAnswers: false)
      let isPosted = loop.post {
        let stream = node.value.connect(to: publicKey, options: .init(options))
        attempt.value.stream = stream
        attempt.value.timeline = stream.pathTimeline
        // The stream goes on with the connection, and must not keep it.
        stream.onOpen = { [unowned stream] in
          stream.onOpen = nil
          attempt.value.stream = nil
          let connection = Connection(loop: loop, node: node.value, stream: stream, board: board)
          stream.onClose = connection.closed
          result.withLock { $0.unclaimed = connection }
          traced.end(.success(()))
          settled.close()
        }
        stream.onClose = { error in
          attempt.value.stream = nil
          let failure = DHTError(closing: error)
          board.closed(ConnectionError(EncryptedStreamError(failure)))
          result.withLock { $0.failure = failure }
          traced.end(.failure(failure))
          settled.close()
        }
      }
      guard !isPosted else { return }
      board.closed(ConnectionError(EncryptedStreamError(DHTError.nodeDestroyed)))
      result.withLock { $0.failure = .nodeDestroyed }
      traced.end(.failure(.nodeDestroyed))
      settled.close()
    }

    deinit {
      // Comes after what `init` has posted.
      let attempt = attempt
      loop.post { attempt.value.stream?.destroy() }
    }

    /// `connecting`, then the state of the connection; `closed` with the reason's code when none was made.
    public var state: Connection.State { board.current }

    /// The present state, then each change, also of the connection: bounds as of `Connection.states`.
    public var states: Events<Connection.State, Never> { Events(board.reader()) }

    /// Waits for the connection. Every caller gets the same one, as long as the program has it.
    /// - Throws: as `connect`; `cancelled` with the task, and the dial goes on; `requestDestroyed` when the connection
    ///   was taken and let go of, or the dial was cancelled.
    public nonisolated(nonsending) func connection() async throws(DHTError) -> Connection {
      do throws(CallFailure) {
        _ = try await settled.wait()
      } catch {
        throw .cancelled
      }
      let outcome = result.withLock { outcome -> Result<Connection, DHTError> in
        if let failure = outcome.failure { return .failure(failure) }
        guard let connection = outcome.unclaimed ?? outcome.claimed else { return .failure(.requestDestroyed) }
        outcome.unclaimed = nil
        outcome.claimed = connection
        return .success(connection)
      }
      return try outcome.get()
    }

    /// How far it is, one line per step; also when it has failed.
    package nonisolated(nonsending) func pathTimeline() async -> [String] {
      let attempt = attempt
      return await onLoop(loop) { attempt.value.timeline?() ?? [] } ?? []
    }

    /// Gives the dial up, or aborts the connection that it has made. Returns at once; those that wait for the
    /// connection get `requestDestroyed`.
    public func cancel() {
      let attempt = attempt
      let result = result
      loop.post {
        if let stream = attempt.value.stream { return stream.destroy() }
        let connection = result.withLock { outcome in
          defer { outcome.unclaimed = nil }
          return outcome.unclaimed ?? outcome.claimed
        }
        connection?.destroy()
      }
    }
  }
}
