import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

/// What the virtual network does to packets, by its public controls.
final class VirtualConditionsTests: XCTestCase {
  private struct Site {
    var host: VirtualHost
    var socket: any DatagramSocket
    var endpoint: Endpoint { Endpoint(host: host.address, port: 1000) }
  }

  private func site(_ host: VirtualHost) throws -> Site {
    let socket = host.makeSocket()
    try socket.bind(host: .any, port: 1000)
    return Site(host: host, socket: socket)
  }

  /// The numbers of the datagrams that arrive of 1,000 sent a millisecond apart, and their delays in microseconds.
  private func arrivals(_ conditions: LinkConditions, seed: UInt64 = 1) throws -> (numbers: [Int], delays: [UInt64]) {
    let network = VirtualNetwork(seed: seed)
    network.conditions = conditions
    let a = try site(network.makeHost())
    let b = try site(network.makeHost())
    var numbers: [Int] = []
    var delays: [UInt64] = []
    let start = network.now
    b.socket.onMessage = { bytes, _ in
      let number = Int(bytes[0]) << 8 | Int(bytes[1])
      numbers.append(number)
      delays.append(network.now - start - UInt64(number) * 1000)
    }
    for number in 0..<1000 {
      a.socket.send([UInt8(number >> 8), UInt8(number & 255)], to: b.endpoint)
      network.advance(by: .milliseconds(1))
    }
    network.advance(by: .seconds(2))
    return (numbers, delays)
  }

  func testLatencyAndJitter() throws {
    let (numbers, delays) = try arrivals(LinkConditions(latency: .milliseconds(50), jitter: .milliseconds(20)))
    XCTAssertEqual(numbers.sorted(), Array(0..<1000))
    XCTAssertNotEqual(numbers, numbers.sorted(), "jitter lets packets overtake")
    XCTAssertGreaterThanOrEqual(try XCTUnwrap(delays.min()), 50_000)
    XCTAssertLessThanOrEqual(try XCTUnwrap(delays.max()), 70_000)
    XCTAssertEqual(delays.reduce(0, +) / 1000, 60_000, accuracy: 1000)
    let exact = try arrivals(LinkConditions(latency: .milliseconds(5), jitter: .zero))
    XCTAssertEqual(Set(exact.delays), [5000])
  }

  /// What programs take for "never", up to the longest durations that there are.
  func testEndlessDurations() throws {
    for endless in [Duration.seconds(Int64.max), Duration.seconds(Int64.max) * 10] {
      let late = LinkConditions(latency: endless, jitter: endless, reordering: 0.5, reorderingDelay: endless)
      XCTAssertEqual(try arrivals(late).numbers, [])
      let early = LinkConditions(latency: .zero - endless, jitter: .zero - endless)
      XCTAssertEqual(Set(try arrivals(early).delays), [0])
    }
    let endless = Duration.seconds(Int64.max) * 10
    let years = Duration.seconds(1_000_000_000)
    let network = VirtualNetwork(seed: 1)
    let nat = VirtualNAT(
      network: network, address: IPv4Address(5, 5, 5, 5), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    nat.mappingLifetime = endless
    var isOver = false
    network.schedule(after: endless) { isOver = true }
    network.advance(by: years)
    XCTAssertFalse(isOver)
    XCTAssertFalse(network.run(within: .zero - endless) { false })
    XCTAssertEqual(network.elapsed, years)
    network.advance(by: endless)
    XCTAssertTrue(isOver)
    XCTAssertGreaterThan(network.elapsed, years * 1000)
  }

  func testLossDuplicationAndReordering() throws {
    let lost = try arrivals(LinkConditions(jitter: .zero, loss: 0.2)).numbers
    XCTAssertEqual(lost.count, 800, accuracy: 40)
    XCTAssertEqual(lost, lost.sorted())
    XCTAssertEqual(try arrivals(LinkConditions(jitter: .zero, loss: 1)).numbers, [])
    let doubled = try arrivals(LinkConditions(jitter: .zero, duplication: 0.1)).numbers
    XCTAssertEqual(Set(doubled).count, 1000)
    XCTAssertEqual(doubled.count, 1100, accuracy: 30)
    let reordered = try arrivals(
      LinkConditions(jitter: .zero, reordering: 0.1, reorderingDelay: .milliseconds(3))
    ).delays
    XCTAssertEqual(Set(reordered), [0, 3000])
    XCTAssertEqual(reordered.count { $0 > 0 }, 100, accuracy: 30)
    XCTAssertEqual(
      try arrivals(LinkConditions(loss: 0.5), seed: 4).numbers, try arrivals(LinkConditions(loss: 0.5), seed: 4).numbers
    )
  }

  func testConditionsOfOneHostArePacketsThatItSends() throws {
    let network = VirtualNetwork(seed: 1)
    let a = try site(network.makeHost())
    let b = try site(network.makeHost())
    var received = ""
    a.socket.onMessage = { _, _ in received += "a" }
    b.socket.onMessage = { _, _ in received += "b" }
    a.host.conditions = LinkConditions(loss: 1)
    a.socket.send([1], to: b.endpoint)
    b.socket.send([1], to: a.endpoint)
    network.advance(by: .seconds(1))
    XCTAssertEqual(received, "a")
    a.host.conditions = nil
    a.socket.send([1], to: b.endpoint)
    network.advance(by: .seconds(1))
    XCTAssertEqual(received, "ab")
  }

  func testPartitionsCutAndHeal() throws {
    let network = VirtualNetwork(seed: 1)
    let sites = try (0..<3).map { _ in try site(network.makeHost()) }
    var received: Set<String> = []
    for (index, site) in sites.enumerated() {
      site.socket.onMessage = { bytes, _ in received.insert("\(bytes[0])>\(index)") }
    }
    func exchange() -> Set<String> {
      received = []
      for (from, site) in sites.enumerated() {
        for (to, other) in sites.enumerated() where to != from {
          site.socket.send([UInt8(from)], to: other.endpoint)
        }
      }
      network.advance(by: .seconds(1))
      return received
    }
    network.partition([[sites[0].host, sites[1].host]])
    XCTAssertEqual(exchange(), ["0>1", "1>0"])
    network.partition([[sites[0].host], [sites[1].host]])
    XCTAssertEqual(exchange(), [])
    network.heal()
    XCTAssertEqual(exchange().count, 6)
    // What is on its way is lost, too.
    received = []
    sites[0].socket.send([0], to: sites[1].endpoint)
    network.partition([[sites[0].host]])
    network.advance(by: .seconds(1))
    XCTAssertEqual(received, [])
  }

  func testHostsMoveAndTellTheirWatchers() throws {
    let network = VirtualNetwork(seed: 1)
    let a = try site(network.makeHost())
    let b = try site(network.makeHost())
    let old = b.endpoint
    var seen: [IPv4Address] = []
    var changes: [[IPv4Address]] = []
    a.socket.onMessage = { _, source in seen.append(source.host) }
    var received = 0
    b.socket.onMessage = { _, _ in received += 1 }
    let watch = b.host.watchInterfaces(every: 1000) { changes.append($0.filter { !$0.isInternal }.map(\.address)) }
    let nat = network.makeNAT(mapping: .portPreserving, filter: .addressDependent)
    b.host.move(to: IPv4Address(192, 168, 1, 7), behind: nat)
    network.advance(by: .seconds(1))
    XCTAssertEqual(changes, [[IPv4Address(192, 168, 1, 7)]])
    a.socket.send([1], to: old)
    b.socket.send([1], to: a.endpoint)
    network.advance(by: .seconds(1))
    XCTAssertEqual(received, 0, "the old address is gone")
    XCTAssertEqual(seen, [nat.address])
    a.socket.send([1], to: Endpoint(host: nat.address, port: 1000))
    network.advance(by: .seconds(1))
    XCTAssertEqual(received, 1)
    watch.cancel()
    b.host.move(to: old.host)
    network.advance(by: .seconds(1))
    XCTAssertEqual(changes.count, 1)
  }

  /// RFC 4787: mappings, their lifetime, hairpinning.
  func testNATsOfEachKind() throws {
    let expected: [(VirtualNAT.Mapping, ports: Int)] = [
      (.portPreserving, 1), (.endpointIndependent, 1), (.addressDependent, 2), (.addressAndPortDependent, 3),
    ]
    for (mapping, ports) in expected {
      let network = VirtualNetwork(seed: 1)
      let nat = network.makeNAT(mapping: mapping, filter: .endpointIndependent)
      let inside = try site(network.makeHost(IPv4Address(10, 0, 0, 2), behind: nat))
      let near = try site(network.makeHost())
      let far = try site(network.makeHost())
      let second = near.host.makeSocket()
      try second.bind(host: .any, port: 1001)
      var sources: [Endpoint] = []
      for socket in [near.socket, second, far.socket] { socket.onMessage = { _, source in sources.append(source) } }
      let destinations = [near.endpoint, Endpoint(host: near.host.address, port: 1001), far.endpoint]
      for destination in destinations + destinations { inside.socket.send([1], to: destination) }
      network.advance(by: .seconds(1))
      XCTAssertEqual(sources.count, 6, "\(mapping)")
      XCTAssertEqual(Set(sources.map(\.host)), [nat.address], "\(mapping)")
      XCTAssertEqual(Set(sources.map(\.port)).count, ports, "\(mapping)")
      XCTAssertEqual(sources.allSatisfy { $0.port == 1000 }, mapping == .portPreserving, "\(mapping)")

      var received = 0
      inside.socket.onMessage = { _, _ in received += 1 }
      far.socket.send([1], to: sources[0])
      network.advance(by: .seconds(1))
      XCTAssertEqual(received, 1, "\(mapping): the filter lets everything in")
      nat.mappingLifetime = .seconds(30)
      network.advance(by: .seconds(31))
      far.socket.send([1], to: sources[0])
      network.advance(by: .seconds(1))
      XCTAssertEqual(received, 1, "\(mapping): the mapping is too old")
    }
  }

  func testHairpins() throws {
    let network = VirtualNetwork(seed: 1)
    let nat = network.makeNAT(mapping: .portPreserving, filter: .addressAndPortDependent)
    let a = try site(network.makeHost(IPv4Address(10, 0, 0, 2), behind: nat))
    let b = try site(network.makeHost(IPv4Address(10, 0, 0, 3), behind: nat))
    nat.forwards[5000] = b.endpoint
    var received = 0
    b.socket.onMessage = { _, _ in received += 1 }
    a.socket.send([1], to: Endpoint(host: nat.address, port: 5000))
    network.advance(by: .seconds(1))
    XCTAssertEqual(received, 1)
    nat.hairpins = false
    a.socket.send([1], to: Endpoint(host: nat.address, port: 5000))
    network.advance(by: .seconds(1))
    XCTAssertEqual(received, 1)
  }

  func testANetworkLetsGoOfHostsThatWereNotClosed() throws {
    weak var host: VirtualHost?
    weak var network: VirtualNetwork?
    weak var instance: AnyObject?
    try {
      let made = VirtualNetwork(seed: 1)
      let a = try site(made.makeHost())
      let b = try site(made.makeHost())
      let streams = [a.host.makeStream(localID: 1), b.host.makeStream(localID: 2)]
      try streams[0].connect(socket: a.socket, remoteID: 2, to: b.endpoint)
      try streams[1].connect(socket: b.socket, remoteID: 1, to: a.endpoint)
      streams[0].onClose = { _ in XCTFail("called after the network has gone") }
      streams[0].write(OwnedBuffer([1, 2, 3]))
      made.advance(by: .milliseconds(1))
      host = a.host
      network = made
      instance = a.host.instance
    }()
    XCTAssertNil(network)
    XCTAssertNil(host)
    XCTAssertNil(instance, "the transport has let go of its memory")
  }
}
