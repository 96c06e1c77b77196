import CHyperswarm
import Foundation
import XCTest

/// The shared library, loaded and unloaded by a program of another language.
final class UnloadTests: XCTestCase {
  private static let program = """
    import ctypes, _ctypes, sys, threading, time
    path, size, place = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    Done = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    nowhere = ctypes.create_string_buffer(b"")
    for _ in range(30):
        library = ctypes.CDLL(path)
        options = ctypes.create_string_buffer(size)
        ctypes.c_size_t.from_buffer(options).value = size
        ctypes.c_void_p.from_buffer(options, place).value = ctypes.addressof(nowhere)
        swarm = ctypes.c_void_p()
        assert library.hyperswarm_create(options, ctypes.byref(swarm)) == 0
        gone = threading.Event()
        done = Done(lambda _: gone.set())
        assert library.hyperswarm_destroy(swarm, 1, done, None) == 0
        assert gone.wait(20)
        _ctypes.dlclose(library._handle)
    time.sleep(0.2)
    """

  func testTheLibraryMayBeUnloadedOnceItIsDone() throws {
    let isInstrumented = ProcessInfo.processInfo.environment["SANITIZE"].map { !$0.isEmpty } ?? false
    try XCTSkipIf(isInstrumented, "an instrumented library needs an instrumented program")
    var folder = Bundle(for: UnloadTests.self).bundleURL
    if folder.pathExtension == "xctest" { folder.deleteLastPathComponent() }
    let library = folder.appendingPathComponent("libhyperswarm-c.so").path
    let python = "/usr/bin/python3"
    guard FileManager.default.isExecutableFile(atPath: python), FileManager.default.fileExists(atPath: library) else {
      throw XCTSkip("needs python3 and the shared library of a full build")
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: python)
    process.arguments = [
      "-c", Self.program, library, "\(MemoryLayout<hyperswarm_options_t>.size)",
      "\(try XCTUnwrap(MemoryLayout<hyperswarm_options_t>.offset(of: \.bootstrap)))",
    ]
    try process.run()
    process.waitUntilExit()
    XCTAssertEqual(process.terminationReason, .exit)
    XCTAssertEqual(process.terminationStatus, 0)
  }
}
