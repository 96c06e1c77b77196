import Foundation

/// How many files this process may open. Where none is left, the runtime of the language ends the process: commands
/// with many connections take fewer.
enum OpenFiles {
  /// For all else: the sockets of the node, its loop and standard streams, look-ups of names, what the runtime reads.
  static let reserve = 64

  /// Room for so many things of `each` files, or for fewer, which is said. The limit is raised as far as the system
  /// allows unless a child would have it, too.
  static func room(for wanted: Int, each: Int = 1, isInherited: Bool = false) -> Int {
    var limit = rlimit()
    guard getrlimit(resource, &limit) == 0 else { return wanted }
    let needed = rlim_t(wanted * each + reserve)
    if limit.rlim_cur < needed, !isInherited {
      var raised = limit
      raised.rlim_cur = min(needed, limit.rlim_max)
      if setrlimit(resource, &raised) == 0 { limit = raised }
    }
    guard limit.rlim_cur < needed else { return wanted }
    let room = max(1, (Int(limit.rlim_cur) - reserve) / each)
    Console.warn(
      "at most \(room) connections at a time instead of \(wanted): this process may open \(limit.rlim_cur) files "
        + "(ulimit -n)")
    return room
  }

  #if canImport(Darwin)
    private static let resource = RLIMIT_NOFILE
  #else
    private static let resource = __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
  #endif
}
