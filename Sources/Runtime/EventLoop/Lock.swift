#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A value behind a POSIX mutex, both in one block of memory. Copies are the same value.
///
/// Not `Synchronization.Mutex`: on Linux that one waits on a futex inside the (uninstrumented) standard library, so
/// ThreadSanitizer cannot see it and reports every access as a race.
package struct Locked<Value>: @unchecked Sendable {
  @usableFromInline let storage: LockedStorage<Value>

  package init(_ value: Value) { storage = LockedStorage.make(value) }

  // Inlinable: a generic call into another module costs ten times the lock.
  @discardableResult
  @inlinable package func withLock<R>(_ body: (inout Value) throws -> R) rethrows -> R { try storage.withLock(body) }

  /// For a fork: the child gets the lock free and the value whole.
  package func lock() { storage.lock() }
  package func unlock() { storage.unlock() }
}

/// The block: the value, and behind it the mutex. The memory of neither moves.
package final class LockedStorage<Value>: ManagedBuffer<Value, pthread_mutex_t> {
  package static func make(_ value: Value) -> LockedStorage {
    let buffer = LockedStorage.create(minimumCapacity: 1) { _ in value }
    buffer.withUnsafeMutablePointerToElements { mutex in
      mutex.initialize(to: pthread_mutex_t())
      pthread_mutex_init(mutex, nil)
    }
    return unsafeDowncast(buffer, to: LockedStorage.self)
  }

  @discardableResult
  @inlinable package func withLock<R>(_ body: (inout Value) throws -> R) rethrows -> R {
    try withUnsafeMutablePointers { value, mutex in
      pthread_mutex_lock(mutex)
      defer { pthread_mutex_unlock(mutex) }
      return try body(&value.pointee)
    }
  }

  package func lock() { withUnsafeMutablePointerToElements { _ = pthread_mutex_lock($0) } }
  package func unlock() { withUnsafeMutablePointerToElements { _ = pthread_mutex_unlock($0) } }

  deinit {
    withUnsafeMutablePointerToElements { mutex in
      pthread_mutex_destroy(mutex)
      mutex.deinitialize(count: 1)
    }
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
