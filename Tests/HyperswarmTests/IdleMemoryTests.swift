import CHyperAllocations
import HyperDHT
import XCTest

/// What a connection costs on which nothing happens. `Benchmarks/run --only idle` has the same for thousands, each side
/// in a process of its own.
final class IdleMemoryTests: XCTestCase {
  /// Bytes of the heap on each side. With thousands of connections they are 5.9 KB, and the goal is 6 KiB; with these
  /// few the tables of both nodes, which double their sizes, add up to 2 KiB. A buffer of a connection that does not
  /// come back is 2 KiB.
  private static let limit = 8_500
  /// Looks at the heap, 100 ms apart: buffers come back with the second keepalive, late on a busy machine.
  private static let looks = 300

  func testAnIdleConnectionKeepsNoBuffers() async throws {
    try XCTSkipIf(hyper_heap_bytes() < 0, "not counted here")
    let testnet = try await HyperDHT.Testnet(size: 3)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let a = try await HyperDHT(options)
    let b = try await HyperDHT(options)
    var serverOptions = HyperDHT.ServerOptions()
    // What the server remembers of finished handshakes is not the connections'.
    serverOptions.handshakeMemory = .milliseconds(100)
    let server = try await a.listen(options: serverOptions)

    func open(_ count: Int) async throws -> [HyperDHT.Connection] {
      var held: [HyperDHT.Connection] = []
      for _ in 0..<count {
        held.append(try await b.connect(to: server.publicKey))
        let accepted = try await server.accept()
        held.append(try XCTUnwrap(accepted))
      }
      for connection in held { connection.setKeepAlive(.milliseconds(100)) }
      return held
    }

    // Tables and pools of the nodes have their sizes then.
    let first = try await open(48)
    try await Task.sleep(for: .milliseconds(500))
    let before = hyper_heap_bytes()
    let second = try await open(128)
    var each = Int.max
    for _ in 0..<Self.looks where each > Self.limit {
      try await Task.sleep(for: .milliseconds(100))
      each = Int(hyper_heap_bytes() - before) / second.count
    }
    XCTAssertLessThanOrEqual(each, Self.limit)
    XCTAssertTrue((first + second).allSatisfy { !$0.isClosed })
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }
}
