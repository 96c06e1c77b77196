import CHyperUV
import XCTest

@testable import HyperRuntime

/// A loop that the test runs itself, on the test's thread.
func withManualLoop(_ body: (UVEventLoop) throws -> Void) throws {
  let loop = try UVEventLoop()
  try body(loop)
  // A test that runs the loop ends it itself; the others leave it to us.
  loop.beginShutdown(nil)
  if loop.phase != .closed { loop.run() }
}

/// An embedder's loop.
final class Host {
  let uv = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)

  init() { uv_loop_init(uv) }

  func close() -> Int32 {
    defer { uv.deallocate() }
    return uv_loop_close(uv)
  }
}

func openDescriptors() -> Int {
  (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
}

func threadCount() -> Int {
  (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count) ?? 0
}
