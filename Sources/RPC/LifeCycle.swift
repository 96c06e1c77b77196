import HyperEncoding
import HyperEnvironment

// Suspend, resume, destroy (dht-rpc.md 18).
extension RPCNode {
  /// Stops all traffic and closes the sockets; afterwards nothing of the node keeps the process busy. No-op when
  /// suspended or destroyed. `done` runs once, never inside this call.
  package func suspend(_ done: (() -> Void)? = nil) {
    if isSuspended { giveUpResuming() }
    guard !isDestroyed, !isSuspended else {
      if let done { environment.defer(done) }
      return
    }
    isSuspended = true
    stopTicking()
    delayedPings.cancelAll()
    clearWindow()
    failAllRequests(.suspended)
    for query in runningQueries { query.destroy(.suspended) }
    if let done { suspendCallbacks.append(done) }
    closeSockets { [weak self] in self?.finishSuspend() }
  }

  private func finishSuspend() {
    let callbacks = suspendCallbacks
    suspendCallbacks = []
    if !isDestroyed { onSuspend?() }
    for callback in callbacks { callback() }
    if !resumeCallbacks.isEmpty { finishResume() }
    finishDestroyIfClosed()
  }

  /// Binds again (the same ports if they are free) and refreshes. No-op unless suspended. `done` runs once, never
  /// inside this call. When the sockets cannot be opened it gets the error, and the node goes on trying, with growing
  /// pauses, until it is suspended again: `onResume` tells.
  package func resume(_ done: ((Result<Void, RPCError>) -> Void)? = nil) {
    guard isSuspended, !isDestroyed else {
      let result: Result<Void, RPCError> = isDestroyed ? .failure(.nodeDestroyed) : .success(())
      if let done { environment.defer { done(result) } }
      return
    }
    resumePause = Limits.resumeRetry
    resumeCallbacks.append(done ?? { _ in })
    // While the sockets are still closing their ports are taken.
    if closingSockets == 0 { environment.defer { [weak self] in self?.finishResume() } }
  }

  private func finishResume() {
    guard !resumeCallbacks.isEmpty, closingSockets == 0 else { return }
    let callbacks = resumeCallbacks
    resumeCallbacks = []
    let result = wakeAndBind()
    for callback in callbacks { callback(result) }
  }

  private func wakeAndBind() -> Result<Void, RPCError> {
    resumeTimer?.cancel()
    resumeTimer = nil
    guard !isDestroyed else { return .failure(.nodeDestroyed) }
    guard isSuspended else { return .success(()) }
    isSuspended = false
    if hasListened || isStarted {
      // Falls back to any port; what is left to fail is a host without sockets or without the address.
      do throws(TransportError) {
        try bind()
      } catch {
        isSuspended = true
        retryResuming()
        return .failure(.bind(error))
      }
    }
    wakeUp()
    if isStarted { startTicking() }
    if startsOnResume {
      startsOnResume = false
      start()
    } else if isBootstrapped {
      refresh()
    }
    onResume?()
    return .success(())
  }

  private func retryResuming() {
    resumeTimer = environment.schedule(after: resumePause) { [weak self] in _ = self?.wakeAndBind() }
    resumePause = min(2 * resumePause, Limits.longestResumeRetry)
  }

  private func giveUpResuming() {
    resumeTimer?.cancel()
    resumeTimer = nil
    let callbacks = resumeCallbacks
    resumeCallbacks = []
    environment.defer { for callback in callbacks { callback(.failure(.suspended)) } }
  }

  /// Ends everything; `onClose` and `done` run once the sockets are closed. Idempotent.
  package func destroy(_ done: (() -> Void)? = nil) {
    if isClosed {
      if let done { environment.defer(done) }
      return
    }
    if let done { destroyCallbacks.append(done) }
    guard !isDestroyed else { return }
    isDestroyed = true
    stopTicking()
    giveUpResuming()
    delayedPings.cancelAll()
    clearWindow()
    failAllRequests(.requestDestroyed)
    for query in runningQueries { query.destroy(.requestDestroyed) }
    finishBootstrap(.failure(.nodeDestroyed))
    // A suspend that is still closing the sockets ends first.
    if closingSockets > 0 { return }
    closeSockets { [self] in finishDestroyIfClosed() }
  }

  private func finishDestroyIfClosed() {
    guard isDestroyed, !isClosed, closingSockets == 0 else { return }
    isClosed = true
    onClose?()
    let callbacks = destroyCallbacks
    destroyCallbacks = []
    for callback in callbacks { callback() }
  }

  private var runningQueries: [Query] { queries.values.sorted { $0.serial < $1.serial } }
}
