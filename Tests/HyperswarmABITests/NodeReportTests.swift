import CHyperswarm
import Dispatch
import HyperEncoding
import XCTest

@testable import HyperswarmABI

/// Events of the node that need a public network, or one that changes: when they come is tested at the node, here it is
/// what a C program sees of them.
final class NodeReportTests: XCTestCase {
  private final class Seen {
    let isEvent = DispatchSemaphore(value: 0)
    var events: [String] = []
    var lines: [String] = []

    static func from(_ user: UnsafeMutableRawPointer?) -> Seen {
      Unmanaged<Seen>.fromOpaque(user!).takeUnretainedValue()
    }
  }

  func testEveryEventOfTheNodeIsReported() throws {
    let seen = Seen()
    var options = hyperswarm_options_t()
    options.size = MemoryLayout<hyperswarm_options_t>.size
    options.user_data = Unmanaged.passUnretained(seen).toOpaque()
    options.on_event = { _, event, user in
      guard let event = event?.pointee, event.kind >= HYPERSWARM_EVENT_PERSISTENT else { return }
      let seen = Seen.from(user)
      XCTAssertNil(event.public_key)
      XCTAssertEqual(event.status, Int32(HYPERSWARM_OK))
      seen.events.append("\(event.kind) \(event.address.map { String(cString: $0) } ?? "-")")
      seen.isEvent.signal()
    }
    options.on_log = { Seen.from($3).lines.append(String(cString: $2!)) }
    var swarm: OpaquePointer?
    let code = "127.0.0.1".withCString { host in
      "".withCString { bootstrap in
        options.host = host
        options.bootstrap = bootstrap
        return hyperswarm_create(&options, &swarm)
      }
    }
    XCTAssertEqual(code, Int32(HYPERSWARM_OK))
    let handle = try XCTUnwrap(Handles.swarms.find(swarm))
    let old = Endpoint(host: IPv4Address(1, 1, 1, 1), port: 1)
    let new = Endpoint(host: IPv4Address(2, 2, 2, 2), port: 2)
    XCTAssertTrue(
      handle.home.run {
        let rpc = handle.node?.rpc
        rpc?.onPersistent?()
        rpc?.onEphemeral?()
        rpc?.onAddressChange?(old, new)
        rpc?.onAddressChange?(new, nil)
        rpc?.onNetworkChange?([])
      })
    // A change of the address is one of the network, too.
    for _ in 0..<7 { XCTAssertEqual(seen.isEvent.wait(timeout: .now() + 20), .success) }
    let isDestroyed = DispatchSemaphore(value: 0)
    hyperswarm_destroy(
      swarm, 1, { Unmanaged<DispatchSemaphore>.fromOpaque($0!).takeUnretainedValue().signal() },
      Unmanaged.passUnretained(isDestroyed).toOpaque())
    isDestroyed.wait()
    XCTAssertEqual(seen.events, ["10 -", "11 -", "12 2.2.2.2:2", "13 -", "12 -", "13 -", "13 -"])
    for line in [
      "node: serves the network", "node: does not serve the network any more", "node: public address 2.2.2.2:2",
      "node: public address unknown", "network: changed",
    ] { XCTAssertTrue(seen.lines.contains(line), line) }
  }
}
