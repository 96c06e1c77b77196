/// Runs `body` on the loop and brings its result back; `nil` when the loop has ended.
package nonisolated(nonsending) func onLoop<T: Sendable>(
  _ loop: UVEventLoop, _ body: @escaping @Sendable () -> T
) async -> T? {
  await withUnsafeContinuation { (continuation: UnsafeContinuation<T?, Never>) in
    if !loop.post({ continuation.resume(returning: body()) }) { continuation.resume(returning: nil) }
  }
}

/// An operation of an engine, awaited.
///
/// `start` runs on the loop and gets the closure that settles the call; it returns how to cancel the operation, if that
/// can be done. The call settles exactly once: by the engine, by cancellation of the task (at once, with `cancelled`),
/// or with `gone` when the loop has ended. A success that comes after the cancellation goes to
/// `undelivered`, on the loop: the caller knows nothing of it, so that what it stands for has to be undone.
package nonisolated(nonsending) func awaitOperation<T: Sendable, E: Error>(
  on loop: UVEventLoop, cancelled: E, gone: E,
  undelivered: (@Sendable (T) -> Void)? = nil,
  _ start: @escaping @Sendable (_ settle: @escaping (Result<T, E>) -> Void) -> (() -> Void)?
) async throws(E) -> T {
  let call = PendingCall<T, E>()
  let result = await withTaskCancellationHandler {
    await withUnsafeContinuation { (continuation: UnsafeContinuation<Result<T, E>, Never>) in
      guard call.wait(continuation) else { return continuation.resume(returning: .failure(cancelled)) }
      let isPosted = loop.post {
        guard !call.isSettled else { return }
        let cancel = start { result in
          if !call.settle(result), let undelivered, case .success(let value) = result { undelivered(value) }
        }
        call.setCancel(cancel)
      }
      if !isPosted { call.settle(.failure(gone)) }
    }
  } onCancel: {
    call.cancel(.failure(cancelled), on: loop)
  }
  return try result.get()
}

private final class PendingCall<T: Sendable, E: Error>: Sendable {
  private struct State {
    var continuation: UnsafeContinuation<Result<T, E>, Never>?
    var isSettled = false
    var cancel: LoopBound<() -> Void>?
  }

  private let state = Locked(State())

  var isSettled: Bool { state.withLock { $0.isSettled } }

  /// `false` when the call was cancelled before it began.
  func wait(_ continuation: UnsafeContinuation<Result<T, E>, Never>) -> Bool {
    state.withLock { state in
      guard !state.isSettled else { return false }
      state.continuation = continuation
      return true
    }
  }

  /// Whether the caller gets this result.
  @discardableResult
  func settle(_ result: Result<T, E>) -> Bool {
    let continuation = state.withLock { state -> UnsafeContinuation<Result<T, E>, Never>? in
      guard !state.isSettled else { return nil }
      state.isSettled = true
      state.cancel = nil
      defer { state.continuation = nil }
      return state.continuation
    }
    continuation?.resume(returning: result)
    return continuation != nil
  }

  /// On the loop. The operation may be over, or the caller gone, already.
  func setCancel(_ cancel: (() -> Void)?) {
    guard let cancel else { return }
    let isLate = state.withLock { state -> Bool in
      if !state.isSettled { state.cancel = LoopBound(cancel) }
      return state.isSettled
    }
    // Settled by the engine inside `start`, or cancelled meanwhile: engines ignore a late cancel.
    if isLate { cancel() }
  }

  /// What was settled before stays as it is, and the operation with it.
  func cancel(_ result: Result<T, E>, on loop: UVEventLoop) {
    let cancel = state.withLock { $0.cancel }
    if settle(result), let cancel { loop.post { cancel.value() } }
  }
}
