import HyperDHT
import HyperRuntime
import XCTest

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Nodes on a loop of the program's own, which goes on when they are gone: what is left of them can still be asked, and
/// what could not be made leaves nothing behind.
final class GivenLoopTests: XCTestCase {
  private func options(_ loop: UVEventLoop, bootstrap: [String] = []) -> HyperDHT.Options {
    var options = HyperDHT.Options(bootstrap: bootstrap, port: 0, host: .loopback)
    options.loop = loop
    return options
  }

  func testServersOutliveTheirNode() async throws {
    let loop = try UVEventLoop.startThread()
    let options = options(loop)
    let make = { () async throws -> (HyperDHT.Server, HyperDHT.RelayServer) in
      let node = try await HyperDHT(options)
      let server = try await node.listen()
      let relay = try await node.serveRelay(keyPair: HyperDHT.keyPair())
      await node.destroy()
      return (server, relay)
    }
    let (server, relay) = try await make()
    // The node's last turn is over.
    await onLoop(loop) {}
    let address = await server.address()
    XCTAssertEqual(address?.publicKey, server.publicKey)
    await server.suspend()
    server.resume()
    server.refresh()
    do {
      try await server.share(with: [])
      XCTFail("shared what is closed")
    } catch {
      XCTAssertEqual(error, .nodeDestroyed)
    }
    let next = try await server.accept()
    XCTAssertNil(next)
    await server.close()
    let statistics = await relay.statistics()
    XCTAssertEqual(statistics, .init())
    await relay.close()
    await loop.shutdown()
  }

  func testASuspendedServerIsNotShared() async throws {
    let loop = try UVEventLoop.startThread()
    let node = try await HyperDHT(options(loop))
    let server = try await node.listen()
    try await node.suspend()
    do {
      try await server.share(with: [])
      XCTFail("shared what has no address")
    } catch {
      XCTAssertEqual(error, .suspended)
    }
    await node.destroy()
    await loop.shutdown()
  }

  /// The first announcement waits for nodes that do not answer.
  func testListenOfANodeThatIsDestroyedMeanwhileFails() async throws {
    let loop = try UVEventLoop.startThread()
    let node = try await HyperDHT(options(loop, bootstrap: ["127.0.0.1:9"]))
    let listen = Task { try await node.listen() }
    let relay = Task { try await node.serveRelay(keyPair: HyperDHT.keyPair()) }
    while await node.status().servers < 2 {}
    await node.destroy(force: true)
    for result in [await listen.result.map { _ in }, await relay.result.map { _ in }] {
      XCTAssertThrowsError(try result.get()) { XCTAssertEqual($0 as? DHTError, .nodeDestroyed) }
    }
    await loop.shutdown()
  }

  /// Bound by no socket of this process or another one.
  private static func isFree(_ port: UInt16) -> Bool {
    #if canImport(Glibc)
      let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    #else
      let descriptor = socket(AF_INET, SOCK_DGRAM, 0)
    #endif
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let length = socklen_t(MemoryLayout<sockaddr_in>.size)
    return withUnsafePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) } == 0
    }
  }

  func testATestnetThatIsGivenUpLeavesNothing() async throws {
    let loop = try UVEventLoop.startThread()
    let node = try await HyperDHT(options(loop))
    let bound = await node.localAddress()
    let port = try XCTUnwrap(bound?.port)
    await node.destroy()
    let starting = Task { try await HyperDHT.Testnet(size: 40, port: port, loop: loop) }
    // On the loop, so that the testnet does not bind meanwhile.
    while await onLoop(loop, { Self.isFree(port) }) == true {}
    starting.cancel()
    switch await starting.result {
    case .success(let testnet): await testnet.destroy()  // A fast machine.
    case .failure(let error): XCTAssertEqual(error as? DHTError, .cancelled)
    }
    let isFree = await onLoop(loop) { Self.isFree(port) }
    XCTAssertEqual(isFree, true)
    await loop.shutdown()
  }
}
