import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

/// The virtual network that the engine tests stand on.
final class VirtualNetworkTests: XCTestCase {
  private func pair(
    _ network: VirtualNetwork, _ configure: (any TransportStream, any TransportStream) -> Void = { _, _ in }
  ) throws -> (any TransportStream, any TransportStream) {
    let a = network.makeHost()
    let b = network.makeHost()
    let socketA = a.makeSocket()
    let socketB = b.makeSocket()
    try socketA.bind(host: .any, port: 1000)
    try socketB.bind(host: .any, port: 2000)
    let streamA = a.makeStream(localID: 1)
    let streamB = b.makeStream(localID: 2)
    configure(streamA, streamB)
    try streamA.connect(socket: socketA, remoteID: 2, to: Endpoint(host: b.address, port: 2000))
    try streamB.connect(socket: socketB, remoteID: 1, to: Endpoint(host: a.address, port: 1000))
    return (streamA, streamB)
  }

  func testEqualSeedsGiveEqualRuns() throws {
    func run(_ seed: UInt64) throws -> [UInt64] {
      let network = VirtualNetwork(seed: seed)
      let host = network.makeHost()
      let socket = host.makeSocket()
      try socket.bind(host: .any, port: 0)
      var times: [UInt64] = [UInt64(socket.localEndpoint?.port ?? 0), UInt64(host.randomUInt32())]
      socket.onMessage = { _, _ in times.append(network.now) }
      for _ in 0..<10 { socket.send([1], to: Endpoint(host: host.address, port: socket.localEndpoint?.port ?? 0)) }
      network.advance(by: 10)
      return times
    }
    XCTAssertEqual(try run(1), try run(1))
    XCTAssertNotEqual(try run(1), try run(2))
    XCTAssertEqual(try run(1).count, 12)
  }

  func testTimersRunInOrderAndCancel() {
    let network = VirtualNetwork(seed: 1)
    let host = network.makeHost()
    var order: [Int] = []
    for (delay, value) in [(30, 3), (10, 1), (20, 2), (10, 11)] as [(UInt64, Int)] {
      _ = host.schedule(after: delay) { order.append(value) }
    }
    let cancelled = host.schedule(after: 15) { order.append(99) }
    _ = host.schedule(after: 10) { host.defer { order.append(12) } }
    cancelled.cancel()
    host.defer { order.append(0) }
    XCTAssertEqual(order, [])
    network.advance(by: 20)
    XCTAssertEqual(order, [0, 1, 11, 12, 2])
    network.advance(by: 10)
    XCTAssertEqual(order, [0, 1, 11, 12, 2, 3])
    XCTAssertTrue(network.runUntilIdle())
  }

  func testStreamsDeliverInOrderDespiteLoss() throws {
    let network = VirtualNetwork(seed: 5)
    var random = SeededRandom(seed: 9)
    network.shouldDrop = { _ in random.next() % 3 == 0 }
    var received: [UInt8] = []
    var events: [String] = []
    var acknowledged = 0
    let (a, b) = try pair(network)
    b.onData = { received += Array($0) }
    b.onEnd = {
      events.append("end")
      b.end()
    }
    a.onEnd = { events.append("end back") }
    a.onClose = { events.append("close a \($0 == nil)") }
    b.onClose = { events.append("close b \($0 == nil)") }
    var sent: [UInt8] = []
    for index in 0..<200 {
      let bytes = [UInt8](repeating: UInt8(index), count: 10)
      sent += bytes
      a.write(OwnedBuffer(bytes)) { if $0 { acknowledged += 1 } }
    }
    a.end()
    network.runUntilIdle()
    XCTAssertEqual(received, sent)
    XCTAssertEqual(acknowledged, 200)
    XCTAssertEqual(events.filter { $0.hasPrefix("close") }.sorted(), ["close a true", "close b true"])
    XCTAssertTrue(events.contains("end") && events.contains("end back"))
    XCTAssertGreaterThan(a.statistics.retransmissions, 0)
  }

  func testDestroyResetsThePeerAndSilenceTimesOut() throws {
    let network = VirtualNetwork(seed: 6)
    let (a, b) = try pair(network)
    var errors: [String] = []
    a.onClose = { errors.append("a \($0.map { "\($0)" } ?? "-")") }
    b.onClose = { errors.append("b \($0.map { "\($0)" } ?? "-")") }
    a.destroy()
    a.destroy()
    network.runUntilIdle()
    XCTAssertEqual(errors, ["a -", "b reset"])
    XCTAssertEqual(a.socket?.streamCount, 0)

    let (c, d) = try pair(network)
    network.shouldDrop = { _ in true }
    var error: TransportStreamError?
    c.onClose = { error = $0 }
    var results: [Bool] = []
    c.write(OwnedBuffer([1])) { results.append($0) }
    network.runUntilIdle()
    XCTAssertEqual(error, .timedOut)
    XCTAssertEqual(results, [false])
    d.destroy()
  }

  func testFirewallDecidesBeforeConnect() throws {
    let network = VirtualNetwork(seed: 7)
    let a = network.makeHost()
    let b = network.makeHost()
    let socketA = a.makeSocket()
    let socketB = b.makeSocket()
    try socketA.bind(host: .any, port: 1000)
    try socketB.bind(host: .any, port: 2000)
    let streamA = a.makeStream(localID: 1)
    let streamB = b.makeStream(localID: 2)
    var asked: [Endpoint] = []
    var accepts = false
    var data: [UInt8] = []
    streamB.onData = { data += Array($0) }
    streamB.firewall = { socket, source in
      asked.append(source)
      guard accepts else { return false }
      try? streamB.connect(socket: socket, remoteID: 1, to: source)
      return true
    }
    try streamA.connect(socket: socketA, remoteID: 2, to: Endpoint(host: b.address, port: 2000))
    streamA.write(OwnedBuffer([1, 2]))
    network.advance(by: 5000)
    XCTAssertEqual(data, [])
    XCTAssertGreaterThan(asked.count, 1)
    accepts = true
    network.run(within: 5000) { data.count == 2 }
    XCTAssertEqual(data, [1, 2])
    let count = asked.count
    streamA.write(OwnedBuffer([3]))
    network.advance(by: 500)
    XCTAssertEqual(asked.count, count, "not asked again on the connected socket")
    XCTAssertEqual(Set(asked), [Endpoint(host: a.address, port: 1000)])
    streamA.destroy()
  }

  func testPausedReadersStopTheWriter() throws {
    let network = VirtualNetwork(seed: 8)
    let (a, b) = try pair(network)
    var received = 0
    var drained = false
    b.onData = { received += $0.count }
    a.onDrain = { drained = true }
    b.pauseReading()
    var isAccepted = true
    // Twice the window that a stream offers.
    for _ in 0..<512 { isAccepted = a.write(OwnedBuffer([UInt8](repeating: 1, count: 16_384))) }
    XCTAssertFalse(isAccepted)
    network.advance(by: 3000)
    XCTAssertEqual(received, 0)
    XCTAssertFalse(drained)
    b.resumeReading()
    network.advance(by: 3000)
    XCTAssertEqual(received, 512 * 16_384)
    XCTAssertTrue(drained)
    a.destroy()
  }

  func testNATsTranslateAndFilter() throws {
    let network = VirtualNetwork(seed: 9)
    let outside = network.makeHost()
    let other = network.makeHost()
    let nat = VirtualNAT(
      network: network, address: IPv4Address(5, 5, 5, 5), mapping: .addressAndPortDependent,
      filter: .addressAndPortDependent)
    let inside = network.makeHost(IPv4Address(192, 168, 0, 2), behind: nat)
    let sockets = try [outside, other, inside].map { host in
      let socket = host.makeSocket()
      try socket.bind(host: .any, port: 1000)
      return socket
    }
    var seen: [Endpoint] = []
    var back = 0
    for socket in sockets[..<2] { socket.onMessage = { _, source in seen.append(source) } }
    sockets[2].onMessage = { _, _ in back += 1 }
    sockets[2].send([1], to: Endpoint(host: outside.address, port: 1000))
    network.advance(by: 10)
    sockets[2].send([1], to: Endpoint(host: other.address, port: 1000))
    network.advance(by: 10)
    XCTAssertEqual(seen.map(\.host), [nat.address, nat.address])
    XCTAssertNotEqual(seen[0].port, seen[1].port)
    sockets[0].send([2], to: seen[0])
    network.advance(by: 10)
    XCTAssertEqual(back, 1)
    sockets[1].send([2], to: seen[0])  // was not sent to from this mapping
    sockets[1].send([2], to: Endpoint(host: inside.address, port: 1000))  // private
    network.advance(by: 10)
    XCTAssertEqual(back, 1)
  }
}
