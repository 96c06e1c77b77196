import HyperCollections
import HyperEncoding
import HyperEnvironment

/// A caller that waits for the dials of this moment; see `SwarmCore.flush`.
package final class PendingFlush {
  fileprivate var outstanding: Set<Bytes32> = []
  fileprivate var deadline: (any ScheduledAction)?
  fileprivate var completion: ((Result<Bool, SwarmError>) -> Void)?
  /// A topic is not announced or looked up: the network does not answer.
  fileprivate var isIncomplete = false
  /// The discoveries have been awaited.
  fileprivate var isCounting = false

  fileprivate init(_ completion: @escaping (Result<Bool, SwarmError>) -> Void) { self.completion = completion }

  /// Gives up waiting; the completion gets `cancelled`.
  package func cancel() { settle(.failure(.cancelled)) }

  fileprivate func settle(_ result: Result<Bool, SwarmError>) {
    deadline?.cancel()
    deadline = nil
    let completion = self.completion
    self.completion = nil
    completion?(result)
  }

  fileprivate var isSettled: Bool { completion == nil }
}

// flush (hyperswarm.md 6.5). Instead of the reference's tick numbers a flush names the peers it waits for, so
// dials of explicit peers count too (hyperswarm.md 15, row 2).
extension SwarmCore {
  /// Waits until all refreshes in progress are done and every peer that is queued or dialled by then was tried once:
  /// `true`. `false` when the network did not answer a refresh, or when the swarm is suspended or destroyed, now or
  /// meanwhile. `timeout` in milliseconds.
  @discardableResult
  package func flush(
    timeout: UInt64? = nil, _ completion: @escaping (Result<Bool, SwarmError>) -> Void
  ) -> PendingFlush? {
    guard !isDestroyed, !isSuspended else {
      completion(.success(false))
      return nil
    }
    flushes.removeAll(where: \.isSettled)
    guard flushes.count < Limits.maxPendingFlushes else {
      completion(.failure(.tooManyFlushes))
      return nil
    }
    let flush = PendingFlush(completion)
    flushes.append(flush)
    if let timeout {
      flush.deadline = environment.schedule(after: timeout) { [weak flush] in flush?.settle(.failure(.timedOut)) }
    }
    let all = topics
    let countdown = Countdown { [weak self] in self?.beginCounting(flush) }
    for discovery in all {
      let leave = countdown.enter()
      discovery.flushed { [weak discovery] result in
        // A topic that was left meanwhile is nothing to wait for.
        if result != .success(true), discovery?.isDestroyed == false { flush.isIncomplete = true }
        leave()
      }
    }
    countdown.seal()
    return flush
  }

  private func beginCounting(_ flush: PendingFlush) {
    guard !flush.isSettled, !isDestroyed else { return }
    guard !isSuspended, !flush.isIncomplete else { return flush.settle(.success(false)) }
    flush.isCounting = true
    flush.outstanding = Set(queue.elements.map(\.publicKey)).union(screening)
    for link in links.values where link.state == .dialling { flush.outstanding.insert(link.peer.publicKey) }
    let now = environment.nowMilliseconds
    for peer in explicit
    where links[peer.publicKey] == nil && !peer.isBanned && peer.mayDialExplicitly(at: now) && !isSuspended {
      flush.outstanding.insert(peer.publicKey)
    }
    if flush.outstanding.isEmpty {
      flush.settle(.success(true))
    } else if connecting == 0 {
      completeFlushesIfStalled()
    }
  }

  /// The peer's dial has ended in some way.
  func countFlush(_ key: Bytes32) {
    guard !flushes.isEmpty else { return }
    for flush in flushes where flush.isCounting {
      if flush.outstanding.remove(key) != nil, flush.outstanding.isEmpty { flush.settle(.success(true)) }
    }
    flushes.removeAll(where: \.isSettled)
  }

  /// Nothing is being dialled: if nothing will be, either because nothing is queued or because a limit is reached, all
  /// flushes are done.
  func completeFlushesIfStalled() {
    guard !flushes.isEmpty, connecting == 0,
      queue.isEmpty || !isWithinMaxPeers || clientCount >= maxClientConnections
    else { return }
    for flush in flushes where flush.isCounting { flush.settle(.success(true)) }
    flushes.removeAll(where: \.isSettled)
  }

  func failFlushes() {
    let pending = flushes
    flushes = []
    for flush in pending { flush.settle(.success(false)) }
  }
}
