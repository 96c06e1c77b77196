import CHyperswarm
import Dispatch
import HyperEncoding
import XCTest

@testable import HyperswarmABI

/// How streams move is tested in the engine: here it is what a C program sees.
final class PathEventTests: XCTestCase {
  private final class Seen {
    let isPath = DispatchSemaphore(value: 0)
    let isClosed = DispatchSemaphore(value: 0)
    let areNumbers = DispatchSemaphore(value: 0)
    var paths: [String] = []
    var numbers: [Int] = []

    static func from(_ user: UnsafeMutableRawPointer?) -> Seen {
      Unmanaged<Seen>.fromOpaque(user!).takeUnretainedValue()
    }
  }

  func testPathChangesAreEvents() throws {
    var options = hyperswarm_options_t()
    options.size = MemoryLayout<hyperswarm_options_t>.size
    var swarm: OpaquePointer?
    let code = "127.0.0.1".withCString { host in
      // Nothing answers at this port, so that an attempt lasts until it is interrupted.
      "127.0.0.1:9".withCString { bootstrap in
        options.host = host
        options.bootstrap = bootstrap
        return hyperswarm_create(&options, &swarm)
      }
    }
    XCTAssertEqual(code, Int32(HYPERSWARM_OK))
    let seen = Seen()
    var callbacks = hyperswarm_connection_callbacks_t()
    callbacks.size = MemoryLayout<hyperswarm_connection_callbacks_t>.size
    callbacks.user_data = Unmanaged.passUnretained(seen).toOpaque()
    callbacks.on_path = { _, path, user in
      guard let path = path?.pointee, path.size == MemoryLayout<hyperswarm_path_t>.size else { return }
      let seen = Seen.from(user)
      seen.paths.append("\(String(cString: path.remote_address)) \(path.is_relayed) \(path.changes)")
      seen.isPath.signal()
    }
    callbacks.on_close = { Seen.from($2).isClosed.signal() }
    var connection: OpaquePointer?
    let key = [UInt8](repeating: 5, count: Int(HYPERSWARM_KEY_SIZE))
    XCTAssertEqual(hyperswarm_connect(swarm, key, nil, &callbacks, &connection), Int32(HYPERSWARM_OK))
    let handle = try XCTUnwrap(Handles.connections.find(connection))
    let places = (1...2).map { Endpoint(host: IPv4Address(1, 1, 1, 1), port: $0) }
    XCTAssertTrue(
      handle.swarm.home.run {
        handle.stream?.isRelayed = true
        handle.stream?.pathChanged(to: places[0])
        handle.stream?.isRelayed = false
        handle.stream?.pathChanged(to: places[1])
      })
    for _ in 0..<2 { XCTAssertEqual(seen.isPath.wait(timeout: .now() + 20), .success) }
    XCTAssertEqual(seen.paths, ["1.1.1.1:1 1 1", "1.1.1.1:2 0 2"])
    let asked = hyperswarm_connection_statistics(
      connection,
      { _, numbers, user in
        let seen = Seen.from(user)
        seen.numbers = [Int(numbers!.pointee.is_relayed), Int(numbers!.pointee.path_changes)]
        seen.areNumbers.signal()
      }, callbacks.user_data)
    XCTAssertEqual(asked, Int32(HYPERSWARM_OK))
    seen.areNumbers.wait()
    XCTAssertEqual(seen.numbers, [0, 2])
    hyperswarm_connection_destroy(connection)
    seen.isClosed.wait()
    let isDestroyed = DispatchSemaphore(value: 0)
    hyperswarm_destroy(
      swarm, 1, { Unmanaged<DispatchSemaphore>.fromOpaque($0!).takeUnretainedValue().signal() },
      Unmanaged.passUnretained(isDestroyed).toOpaque())
    isDestroyed.wait()
  }
}
