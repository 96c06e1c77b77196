import CHyperswarm
import HyperRuntime

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The loop that a handle's engines live on: the caller's, or a thread of its own. Keeps the threading rule of
/// `hyperswarm.h`.
struct LoopHome: Sendable {
  let loop: UVEventLoop
  let isEmbedded: Bool

  /// On the loop's thread for a loop of the caller.
  init(_ uv: UnsafeMutablePointer<uv_loop_t>?) throws(Failure) {
    Limits.check()
    Process.prepare()
    do throws(EventLoopError) {
      loop = if let uv { try UVEventLoop(embeddedIn: uv) } else { try UVEventLoop.startThread() }
    } catch {
      throw Failure(HYPERSWARM_ERR_LOOP_FAILED, error.text)
    }
    isEmbedded = uv != nil
  }

  func checkThread() throws(Failure) {
    if isEmbedded, !loop.isOnLoop { throw Failure(HYPERSWARM_ERR_WRONG_THREAD) }
  }

  /// Runs `body` on the loop, never inside this call. `false`: the loop has ended.
  func run(_ body: @escaping () -> Void) -> Bool {
    guard loop.isOnLoop else {
      let bound = LoopBound(body)
      return loop.post { bound.value() }
    }
    loop.defer(body)
    return true
  }

  /// Runs `body` on the loop and waits for it: only for making something, when no callback can be waiting for us.
  func runAndWait(_ body: @escaping () -> Int32) -> Int32 {
    guard !loop.isOnLoop else { return body() }
    let answer = Answer()
    let bound = LoopBound(body)
    guard loop.post({ answer.give(bound.value()) }) else { return Int32(HYPERSWARM_ERR_LOOP_FAILED) }
    return answer.wait()
  }

  /// After a failure to make something. A caller's loop closes our handles when it is run next.
  func abandon() {
    guard !isEmbedded else { return loop.beginShutdown(nil) }
    let answer = Answer()
    loop.beginShutdown { answer.give(0) }
    _ = answer.wait()
  }
}

extension EventLoopError {
  /// The number that the system gave, and its meaning.
  var text: String { systemText(code, description) }
}

func systemText(_ code: Int32, _ description: String) -> String { "errno \(-code): \(description)" }

/// A number that one thread waits for and another one gives.
private final class Answer: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var value: Int32?

  init() {
    mutex.initialize(to: pthread_mutex_t())
    condition.initialize(to: pthread_cond_t())
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  func give(_ value: Int32) {
    pthread_mutex_lock(mutex)
    self.value = value
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  func wait() -> Int32 {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while true {
      if let value { return value }
      pthread_cond_wait(condition, mutex)
    }
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }
}
