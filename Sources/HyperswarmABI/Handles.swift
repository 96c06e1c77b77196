import HyperRuntime

/// What C callers hold: never an address, always a number that is given out once per process, so that a stale one is
/// found out.
enum Handles {
  static let swarms = HandleTable<SwarmHandle>(parts: Limits.busyTableParts)
  static let connections = HandleTable<ConnectionHandle>(parts: Limits.busyTableParts)
  static let servers = HandleTable<ServerHandle>()
  static let muxes = HandleTable<MuxHandle>()
  static let channels = HandleTable<ChannelHandle>(parts: Limits.busyTableParts)
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

  // Around a fork: all locks at once, fewer than the 64 that the thread sanitizer can follow of one thread.
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

/// Every call looks its handle up, from the threads of all loops: a table that is used for each message has parts with
/// locks of their own, so that two loops rarely want the same one.
final class HandleTable<Object: AnyObject>: @unchecked Sendable {
  private typealias Part = LockedStorage<[UInt: Object]>

  /// Tables live as long as the process. Not counted, because the counts would be shared by all threads, too.
  private let parts: UnsafeMutableBufferPointer<Unmanaged<Part>>

  init(parts count: Int = 1) {
    parts = .allocate(capacity: count)
    for index in parts.indices { parts.initializeElement(at: index, to: .passRetained(Part.make([:]))) }
  }

  /// Numbers that follow each other are in different parts.
  private func withPart<R>(_ number: UInt, _ body: (inout [UInt: Object]) -> R) -> R {
    parts[Int(number >> 1) % parts.count]._withUnsafeGuaranteedRef { $0.withLock(body) }
  }

  func add(_ object: Object) -> OpaquePointer {
    let number = Handles.makeNumber()
    withPart(number) { $0[number] = object }
    return OpaquePointer(bitPattern: number)!
  }

  func find(_ handle: OpaquePointer?) -> Object? {
    guard let handle, !Process.isInherited(handle) else { return nil }
    let number = UInt(bitPattern: handle)
    return withPart(number) { $0[number] }
  }

  /// `nil` when another thread was faster.
  @discardableResult
  func remove(_ handle: OpaquePointer?) -> Object? {
    guard let handle, !Process.isInherited(handle) else { return nil }
    let number = UInt(bitPattern: handle)
    return withPart(number) { $0.removeValue(forKey: number) }
  }

  /// Those of this process.
  var count: Int {
    parts.reduce(0) { sum, part in
      sum + part.takeUnretainedValue().withLock { $0.keys.count { !Process.isInherited($0) } }
    }
  }

  func lock() { for part in parts { part.takeUnretainedValue().lock() } }
  func unlock() { for part in parts { part.takeUnretainedValue().unlock() } }
}
