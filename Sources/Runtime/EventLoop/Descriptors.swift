#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The descriptors that libuv takes once per process, with its first loop: it aborts when it does not get them.
enum Descriptors {
  private static let areTaken = Locked(false)

  /// Whether libuv can go on: 0, or the negative errno of what it would meet.
  static func probe() -> Int32 {
    guard !areTaken.withLock({ $0 }) else { return 0 }
    // A poll descriptor, the two ends of the signal pipe, and one to wake the loop.
    var ends: [Int32] = [-1, -1]
    var others: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return -errno }
    let failure = pipe(&others) == 0 ? 0 : -errno
    for end in ends + others where end >= 0 { close(end) }
    return failure
  }

  static func took() { areTaken.withLock { $0 = true } }
}
