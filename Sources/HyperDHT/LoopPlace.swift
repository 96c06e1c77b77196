import HyperDHTEngine
import HyperEnvironment
import HyperRuntime
import HyperUDX

/// The loop that a facade object lives on: a given one, or a thread of its own.
package struct LoopPlace: Sendable {
  package let loop: UVEventLoop
  package let isOwned: Bool

  package init(_ given: UVEventLoop?) throws(DHTError) {
    Limits.check()
    if let given {
      loop = given
      isOwned = false
      return
    }
    do {
      loop = try UVEventLoop.startThread()
      isOwned = true
    } catch {
      throw .bindFailed(code: error.code, error.description)
    }
  }

  /// Makes an environment and, with it, something on the loop.
  package nonisolated(nonsending) func make<T>(
    _ body: @escaping @Sendable (UVEnvironment) throws(DHTError) -> T
  ) async throws(DHTError) -> LoopBound<T> {
    let loop = loop
    let result = await onLoop(loop) { () -> LoopBound<Result<T, DHTError>> in
      let environment: UVEnvironment
      do throws(TransportError) {
        environment = try UVEnvironment(loop: loop)
      } catch {
        return LoopBound(.failure(.bindFailed(code: error.code, error.description)))
      }
      do throws(DHTError) {
        return LoopBound(.success(try body(environment)))
      } catch {
        environment.close()
        return LoopBound(.failure(error))
      }
    }
    guard let result else { throw .nodeDestroyed }
    return LoopBound(try result.value.get())
  }
}
