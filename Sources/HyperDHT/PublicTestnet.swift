import HyperCollections
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperUDX

extension HyperDHT {
  /// A private network of permanent nodes inside this process, on real sockets: for tests, demonstrations and
  /// development. Letting go of it destroys the nodes; `destroy` does it and waits.
  public final class Testnet: Sendable {
    /// The loop that the nodes live on.
    public let loop: UVEventLoop
    /// For `Options.bootstrap` of nodes that should join: the address of the first node.
    public let bootstrap: [String]

    typealias Engine = (network: HyperDHTEngine.Testnet, environments: [UVEnvironment])

    let engine: LoopBound<Engine>
    private let ownsLoop: Bool
    private let destruction = Destruction()

    /// Starts the nodes, one after another, and waits until they know each other.
    /// - `size`: nodes, at least 1.
    /// - `host`: the address that the nodes bind to and reach each other under.
    /// - `port`: of the first node, 0 for any; the others take any.
    /// - `loop`: the loop to live on, which has to run until the network is destroyed; `nil` is a thread of its own.
    /// - Throws: `bindFailed`; `other` when the system has no room for so many nodes; `nodeDestroyed` when the given
    ///   loop has ended; `cancelled` with the task. What has been started is destroyed then.
    public convenience init(
      size: Int = 5, host: IPv4Address = .loopback, port: UInt16 = 0, loop: UVEventLoop? = nil
    ) async throws(DHTError) {
      try await self.init(size: size, host: host, port: port, place: try LoopPlace(loop))
    }

    private nonisolated(nonsending) init(
      size: Int, host: IPv4Address, port: UInt16, place: LoopPlace
    ) async throws(DHTError) {
      loop = place.loop
      ownsLoop = place.isOwned
      let loop = place.loop
      do throws(DHTError) {
        let made = try await place.make { environment throws(DHTError) -> Engine in
          // One instance each, like separate processes.
          var environments = [environment]
          while environments.count < max(size, 1) {
            guard let next = try? UVEnvironment(loop: loop) else {
              for made in environments.dropFirst() { made.close() }
              throw .other("cannot open the sockets")
            }
            environments.append(next)
          }
          let network = HyperDHTEngine.Testnet(
            environments: environments, size: environments.count, host: host, port: port)
          return (network, environments)
        }
        engine = made
        do throws(DHTError) {
          bootstrap = try await awaitOperation(
            on: loop, cancelled: DHTError.cancelled, gone: .nodeDestroyed
          ) { settle in
            made.value.network.start { settle($0.map { made.value.network.bootstrap.map(\.description) }) }
            return nil
          }
        } catch {
          let destruction = Destruction()
          Testnet.close(made, on: loop) { destruction.finish() }
          await destruction.wait()
          throw error
        }
      } catch {
        if place.isOwned { await loop.shutdown() }
        throw error
      }
    }

    deinit { if destruction.claim() { tearDown() } }

    /// Destroys all nodes and waits for it, also in a task that is cancelled. A second call waits for the first one.
    public nonisolated(nonsending) func destroy() async {
      if destruction.claim() { tearDown() }
      await destruction.wait()
      if ownsLoop { await loop.shutdown() }
    }

    private func tearDown() {
      let (destruction, loop, ownsLoop) = (destruction, loop, ownsLoop)
      Testnet.close(engine, on: loop) {
        destruction.finish()
        if ownsLoop { loop.beginShutdown(nil) }
      }
    }

    /// `done` runs once, on the loop if that has not ended.
    private static func close(
      _ engine: LoopBound<Engine>, on loop: UVEventLoop, _ done: @escaping @Sendable () -> Void
    ) {
      let isPosted = loop.post {
        engine.value.network.destroy {
          let group = Countdown(done)
          for environment in engine.value.environments { environment.close(group.enter()) }
          group.seal()
        }
      }
      if !isPosted { done() }
    }
  }
}
