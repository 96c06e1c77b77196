import Foundation

/// What a signal does while no `Interrupt` waits for it: the process ends at once, and no socket stays behind in the
/// file system.
enum Departure {
  /// Paths at most: every target of a command, and its counters.
  private static let capacity = TunnelLimits.targets + 1

  /// For the handler, which may neither allocate nor wait: it reads them while others are added.
  nonisolated(unsafe) private static let paths: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> = {
    let places = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: capacity)
    places.initialize(repeating: nil, count: capacity)
    return places
  }()

  /// Before anything else. A signal that the parent has had ignored stays ignored until the command runs.
  static func prepare() {
    _ = paths
    for number in [SIGINT, SIGTERM] where !isIgnored(number) { take(number) }
  }

  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    guard sigaction(number, nil, &action) == 0 else { return false }
    #if canImport(Darwin)
      return unsafeBitCast(action.__sigaction_u.__sa_handler, to: Int.self) == 1
    #else
      return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
    #endif
  }

  /// From now on this signal ends the process at once, with 128 plus its number.
  static func take(_ number: Int32) {
    signal(number) { number in
      for index in 0..<Departure.capacity {
        if let path = Departure.paths[index] { unlink(path) }
      }
      _exit(128 + number)
    }
  }

  /// A socket that this process has made. For one task at a time.
  static func add(_ path: String) {
    for index in 0..<capacity where paths[index] == nil {
      paths[index] = strdup(path)
      return
    }
  }

  /// Removes a socket if this process has made it. Its name is not freed: the handler may be reading it.
  static func remove(_ path: String) {
    for index in 0..<capacity {
      guard let known = paths[index], strcmp(known, path) == 0 else { continue }
      unlink(path)
      paths[index] = nil
    }
  }
}
