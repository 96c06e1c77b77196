// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperUV
import CHyperswarm
import HyperRuntime

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A libuv loop for programs that have a loop of another kind: they wait for its descriptor and its timeout, and give
/// it turns. To swarms it is a caller's loop like any other.
final class PolledLoop: @unchecked Sendable {
  let uv: UnsafeMutablePointer<uv_loop_t>
  private let thread = pthread_self()
  private let process = Process.mark(0)
  private var isInTurn = false

  static let all = Locked<[UInt: PolledLoop]>([:])

  init() throws(Failure) {
    Process.prepare()
    uv = .allocate(capacity: 1)
    uv.initialize(to: uv_loop_t())
    let result = uv_loop_init(uv)
    guard result == 0 else {
      uv.deallocate()
      throw Failure(loop: result)
    }
    Self.all.withLock { $0[UInt(bitPattern: uv)] = self }
  }

  deinit { uv.deallocate() }

  static func find(_ uv: UnsafeMutablePointer<uv_loop_t>?) throws(Failure) -> PolledLoop {
    guard let loop = all.withLock({ $0[UInt(bitPattern: uv)] }) else { throw Failure(HYPERSWARM_ERR_BAD_HANDLE) }
    if loop.process != Process.mark(0) { throw Failure(HYPERSWARM_ERR_FORKED) }
    return loop
  }

  // MARK: On the thread of the loop

  static func findHere(_ uv: UnsafeMutablePointer<uv_loop_t>?) throws(Failure) -> PolledLoop {
    let loop = try find(uv)
    guard pthread_equal(loop.thread, pthread_self()) != 0 else { throw Failure(HYPERSWARM_ERR_WRONG_THREAD) }
    return loop
  }

  /// Milliseconds until the next turn is due; -1 for none.
  var timeout: Int32 {
    guard uv_loop_alive(uv) != 0 else { return -1 }
    // libuv counts from the time of the last turn, and the program may have been busy since then.
    uv_update_time(uv)
    return uv_backend_timeout(uv)
  }

  /// - Returns: whether anything lives on the loop.
  func turn() throws(Failure) -> Bool {
    try checkOutside()
    isInTurn = true
    defer { isInTurn = false }
    return uv_run(uv, UV_RUN_NOWAIT) != 0
  }

  func close() throws(Failure) {
    try checkOutside()
    let result = uv_loop_close(uv)
    guard result == 0 else { throw Failure(loop: result) }
    Self.all.withLock { $0[UInt(bitPattern: uv)] = nil }
  }

  private func checkOutside() throws(Failure) {
    if isInTurn { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
  }
}

extension Failure {
  /// What libuv said about a loop.
  fileprivate init(loop code: Int32) {
    self.init(HYPERSWARM_ERR_LOOP_FAILED, systemText(code, String(cString: uv_strerror(code))))
  }
}

@c @implementation
public func hyperswarm_loop_create(_ loop: UnsafeMutablePointer<UnsafeMutablePointer<uv_loop_t>?>?) -> Int32 {
  checked { () throws(Failure) in
    let loop = try require(loop)
    loop.pointee = nil
    loop.pointee = try PolledLoop().uv
  }
}

/// The number that a function answers, or its code.
private func number(_ body: () throws(Failure) -> Int32) -> Int32 {
  var number: Int32 = 0
  let code = checked { () throws(Failure) in number = try body() }
  return code == HYPERSWARM_OK ? number : code
}

@c @implementation
public func hyperswarm_loop_fd(_ loop: UnsafeMutablePointer<uv_loop_t>?) -> Int32 {
  number { () throws(Failure) in uv_backend_fd(try PolledLoop.find(loop).uv) }
}

@c @implementation
public func hyperswarm_loop_timeout(_ loop: UnsafeMutablePointer<uv_loop_t>?) -> Int32 {
  number { () throws(Failure) in try PolledLoop.findHere(loop).timeout }
}

@c @implementation
public func hyperswarm_process(_ loop: UnsafeMutablePointer<uv_loop_t>?) -> Int32 {
  number { () throws(Failure) in try PolledLoop.findHere(loop).turn() ? 1 : 0 }
}

@c @implementation
public func hyperswarm_loop_destroy(_ loop: UnsafeMutablePointer<uv_loop_t>?) -> Int32 {
  checked { () throws(Failure) in try PolledLoop.findHere(loop).close() }
}
