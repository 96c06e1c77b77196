#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A value behind a POSIX mutex.
///
/// Not `Synchronization.Mutex`: on Linux that one waits on a futex inside the (uninstrumented) standard library, so
/// ThreadSanitizer cannot see it and reports every access as a race.
package final class Locked<Value>: @unchecked Sendable {
  @usableFromInline package let mutex: UnsafeMutablePointer<pthread_mutex_t>
  // The mutex excludes others; the dynamic check would cost more than the lock.
  @usableFromInline @exclusivity(unchecked) package var value: Value

  package init(_ value: Value) {
    self.value = value
    mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
  }

  // Inlinable: a generic call into another module costs ten times the lock.
  @discardableResult
  @inlinable package func withLock<R>(_ body: (inout Value) throws -> R) rethrows -> R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&value)
  }

  /// For a fork: the child gets the lock free and the value whole.
  package func lock() { pthread_mutex_lock(mutex) }
  package func unlock() { pthread_mutex_unlock(mutex) }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deinitialize(count: 1)
    mutex.deallocate()
  }
}

/// A number that is different for every thread alive.
@inline(__always)
package func currentThreadID() -> UInt {
  #if canImport(Glibc)
    return pthread_self()
  #else
    return UInt(bitPattern: pthread_self())
  #endif
}

/// Carries a loop-confined value through code that wants `Sendable`. It is opened on the loop only.
package struct LoopBound<Value>: @unchecked Sendable {
  package let value: Value

  package init(_ value: Value) { self.value = value }
}
