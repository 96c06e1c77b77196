import CHyperUV
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import XCTest

@testable import HyperUDX

final class UDXSocketTests: XCTestCase {
  func testDatagramsWithTheirSource() throws {
    let pair = try Pair()
    var received: [[UInt8]] = []
    pair.socketB.onMessage = { bytes, source in
      XCTAssertEqual(source, pair.endpointA)
      received.append(Array(bytes))
      pair.socketB.send(Array(bytes), to: source, ttl: 5)
    }
    var echoed = 0
    pair.socketA.onMessage = { _, source in
      XCTAssertEqual(source, pair.endpointB)
      echoed += 1
      if echoed == 3 { pair.finish() }
    }
    let datagrams: [[UInt8]] = [[], [1, 2, 3], [UInt8](repeating: 0xFF, count: 1400)]
    for datagram in datagrams { pair.socketA.send(datagram, to: pair.endpointB, ttl: 0) }
    pair.run()
    XCTAssertEqual(received, datagrams)
  }

  func testLongDatagramsAreDroppedAndCounted() throws {
    let pair = try Pair()
    pair.socketA.send([UInt8](repeating: 1, count: 70_000), to: pair.endpointB, ttl: 0)
    pair.socketA.send([1], to: Endpoint(host: .loopback, port: 0), ttl: 0)
    XCTAssertEqual(pair.socketA.droppedSends, 2)
    pair.finish()
    pair.run()
    pair.socketA.send([1], to: pair.endpointB, ttl: 0)
    XCTAssertEqual(pair.socketA.droppedSends, 3)
  }

  func testPortInUseThrows() throws {
    let pair = try Pair()
    let socket = UDXSocket(environment: pair.a.instance)
    let port = pair.endpointB.port
    XCTAssertThrowsError(try socket.bind(host: .loopback, port: port)) { error in
      XCTAssertEqual((error as? TransportError)?.code, UV_EADDRINUSE.rawValue)
    }
    XCTAssertNil(socket.localEndpoint)
    // The same object may try another port.
    XCTAssertNoThrow(try socket.bind(host: .loopback, port: 0))
    XCTAssertThrowsError(try socket.bind(host: .loopback, port: 0))
    XCTAssertNotEqual(socket.localEndpoint?.port, port)
    pair.finish()
    pair.run()
    XCTAssertNil(socket.localEndpoint)
  }

  func testCloseWaitsForStreamsAndReportsOnce() throws {
    let pair = try Pair()
    let (a, b) = try pair.streams()
    var order: [String] = []
    pair.socketA.onIdle = { order.append("idle") }
    pair.socketA.close { order.append("closed") }
    XCTAssertFalse(pair.socketA.isClosed)
    a.onData = { _ in }
    b.onData = { _ in }
    b.onEnd = { b.end() }
    a.write(OwnedBuffer([1, 2, 3]))
    _ = pair.loop.schedule(after: 20) {
      order.append("ending")
      a.end()
    }
    _ = pair.loop.schedule(after: 200) {
      XCTAssertTrue(pair.socketA.isClosed)
      pair.socketA.close {
        order.append("again")
        pair.finish()
      }
    }
    pair.run()
    XCTAssertEqual(order, ["ending", "idle", "closed", "again"])
  }

  func testAnUnboundSocketCloses() throws {
    let pair = try Pair()
    let socket = UDXSocket(environment: pair.a.instance)
    var isInside = true
    socket.close {
      XCTAssertFalse(isInside)
      pair.finish()
    }
    isInside = false
    pair.run()
    XCTAssertTrue(socket.isClosed)
    XCTAssertThrowsError(try socket.bind(host: .loopback, port: 0))
  }

  func testClosingTheEnvironmentSettlesEverything() throws {
    let pair = try Pair()
    let (a, b) = try pair.streams()
    var log: [String] = []
    a.onClose = { _ in log.append("a") }
    b.onClose = { _ in log.append("b") }
    pair.socketA.close { log.append("socket A") }
    a.write(OwnedBuffer([UInt8](repeating: 0, count: 100_000))) { log.append("write \($0)") }
    pair.a.close {
      log.append("environment A")
      XCTAssertNil(try? UDXSocket(environment: pair.a.instance).bind(host: .loopback, port: 0))
      pair.b.close {
        log.append("environment B")
        pair.finish()
      }
    }
    pair.run()
    XCTAssertEqual(log.filter { $0 != "b" }, ["write false", "a", "socket A", "environment A", "environment B"])
    XCTAssertEqual(log.filter { $0 == "b" }.count, 1)
  }

  func testNothingIsLeakedByAWholeLife() throws {
    final class Weak {
      weak var value: AnyObject?
      init(_ value: AnyObject) { self.value = value }
    }
    var weak: [Weak] = []
    try {
      let pair = try Pair()
      let (a, b) = try pair.streams()
      weak = [pair.a, pair.b, pair.socketA, pair.socketB, a, b, pair.loop].map(Weak.init)
      a.onData = { _ in }
      b.onData = { _ in }
      b.onEnd = {
        b.end()
        _ = pair.loop.schedule(after: 20) { pair.finish() }
      }
      a.write(OwnedBuffer([1, 2, 3]))
      a.end()
      pair.run()
    }()
    XCTAssertEqual(weak.filter { $0.value != nil }.count, 0)
  }

  func testRandomAndClocks() throws {
    let pair = try Pair()
    XCTAssertNotEqual(pair.a.random(count: 32), pair.b.random(count: 32))
    let start = pair.a.now
    XCTAssertGreaterThanOrEqual(pair.a.now, start)
    XCTAssertGreaterThan(pair.a.wallClock, 1_700_000_000_000)
    pair.finish()
    pair.run()
  }
}
