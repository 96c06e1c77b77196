import HyperRuntime

/// What C callers hold: never an address, always a number that is given out once per process, so that a stale one is
/// found out.
enum Handles {
  static let swarms = HandleTable<SwarmHandle>()
  static let connections = HandleTable<ConnectionHandle>()
  static let servers = HandleTable<ServerHandle>()
  static let muxes = HandleTable<MuxHandle>()
  static let channels = HandleTable<ChannelHandle>()
  static let incoming = HandleTable<IncomingHandle>()
  static let commits = HandleTable<CommitHandle>()
  static let testnets = HandleTable<TestnetHandle>()
  static let verdicts = HandleTable<VerdictHandle>()
  /// Completions that are still to come, of all swarms.
  static let operations = Locked(0)

  private static let next = Locked<UInt>(0)

  /// Odd, so that it cannot be taken for the address of anything.
  fileprivate static func makeNumber() -> UInt {
    next.withLock { next in
      next &+= 1
      return Process.mark(next &* 2 &+ 1)
    }
  }

  // Around a fork.
  static func lock() {
    swarms.lock()
    connections.lock()
    servers.lock()
    muxes.lock()
    channels.lock()
    incoming.lock()
    commits.lock()
    testnets.lock()
    verdicts.lock()
    operations.lock()
    next.lock()
    PolledLoop.all.lock()
  }

  static func unlock() {
    swarms.unlock()
    connections.unlock()
    servers.unlock()
    muxes.unlock()
    channels.unlock()
    incoming.unlock()
    commits.unlock()
    testnets.unlock()
    verdicts.unlock()
    operations.unlock()
    next.unlock()
    PolledLoop.all.unlock()
  }

  static var count: Int {
    swarms.count + connections.count + servers.count + muxes.count + channels.count + incoming.count + commits.count
      + testnets.count + verdicts.count + operations.withLock { $0 }
  }
}

final class HandleTable<Object: AnyObject>: @unchecked Sendable {
  private let objects = Locked<[UInt: Object]>([:])

  func add(_ object: Object) -> OpaquePointer {
    let number = Handles.makeNumber()
    objects.withLock { $0[number] = object }
    return OpaquePointer(bitPattern: number)!
  }

  func find(_ handle: OpaquePointer?) -> Object? {
    guard let handle, !Process.isInherited(handle) else { return nil }
    return objects.withLock { $0[UInt(bitPattern: handle)] }
  }

  /// `nil` when another thread was faster.
  @discardableResult
  func remove(_ handle: OpaquePointer?) -> Object? {
    guard let handle, !Process.isInherited(handle) else { return nil }
    return objects.withLock { $0.removeValue(forKey: UInt(bitPattern: handle)) }
  }

  /// Those of this process.
  var count: Int { objects.withLock { $0.keys.count { !Process.isInherited($0) } } }

  func lock() { objects.lock() }
  func unlock() { objects.unlock() }
}
