import CHyperLoop
import Synchronization

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// What the process does around the library: forks, and unloads of shared objects.
enum Process {
  /// Forks between the process that loaded the library and this one.
  private static let forks = Atomic<UInt>(0)
  /// Bits of a handle's number that name the process which made it.
  private static let forkBits = 8
  private static var shift: Int { UInt.bitWidth - forkBits }
  private static let forkMask: UInt = 1 << UInt(forkBits) - 1

  private static let isPrepared: Bool = {
    // No other thread of the parent is in the tables at that moment: the child has no threads that would leave them.
    pthread_atfork(
      { Handles.lock() }, { Handles.unlock() },
      {
        Process.forks.add(1, ordering: .relaxed)
        Handles.unlock()
        Handles.operations.withLock { $0 = 0 }
      })
    // `done` comes from code of this library, which goes on after it: a program that unloads the library there must not
    // take the code away.
    hyper_stay_loaded()
    return true
  }()

  /// Called before anything is made that a fork or an unload would break.
  static func prepare() { precondition(isPrepared) }

  /// The threads of a handle exist only in the process that made it: the number tells which one that was, without a
  /// lock that another thread may have held while the process forked.
  static func mark(_ number: UInt) -> UInt { number | (forks.load(ordering: .relaxed) & forkMask) << UInt(shift) }

  /// Whether the handle was made by a process that this one is a fork of.
  static func isInherited(_ handle: OpaquePointer?) -> Bool { isInherited(UInt(bitPattern: handle)) }

  static func isInherited(_ number: UInt) -> Bool {
    number >> UInt(shift) < forks.load(ordering: .relaxed) & forkMask
  }
}

/// What the last failed call on a thread has to say beyond its number, as C reads it.
enum LastError {
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    pthread_key_create(&key) { free($0) }
    return key
  }()

  static var text: UnsafePointer<CChar>? {
    pthread_getspecific(key).map { UnsafePointer($0.assumingMemoryBound(to: CChar.self)) }
  }

  static func set(_ text: String?) {
    if let old = pthread_getspecific(key) { free(old) }
    pthread_setspecific(key, text.flatMap { strdup($0) })
  }
}
