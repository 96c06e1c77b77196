// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import Synchronization

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Numbers of operations, each given out once per process, and the last one of each thread.
enum Operations {
  private static let count = Atomic<UInt64>(0)
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    pthread_key_create(&key, nil)
    return key
  }()

  static func next() -> UInt64 { count.add(1, ordering: .relaxed).newValue }

  /// Of this thread; 0 for none.
  static var last: UInt64 {
    get { UInt64(UInt(bitPattern: pthread_getspecific(key))) }
    set { pthread_setspecific(key, UnsafeRawPointer(bitPattern: UInt(newValue))) }
  }
}

@c @implementation
public func hyperswarm_last_operation() -> UInt64 { Operations.last }

@c @implementation
public func hyperswarm_cancel(_ swarm: OpaquePointer?, _ operation: UInt64) -> Int32 {
  checked { () throws(Failure) in try find(Handles.swarms, swarm).cancel(operation) }
}
