import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Which addresses of this host are told to peers.
final class LocalAddressTests: XCTestCase {
  private let network = VirtualNetwork(seed: 21)

  private func usable(
    _ validator: LocalAddressValidator, _ host: VirtualHost, within milliseconds: UInt64
  ) -> [IPv4Address]? {
    var result: [Endpoint]?
    validator.validate([Endpoint(host: host.address, port: 1)]) { result = $0 }
    network.run(within: milliseconds) { result != nil }
    return result?.map(\.host)
  }

  /// Only what the socket is bound to is listed.
  func testOnlyAddressesThatTheSocketCovers() throws {
    let host = network.makeHost()
    let second = IPv4Address(10, 7, 7, 7)
    host.setInterfaces(
      host.interfaces() + [InterfaceAddress(name: "eth1", address: second, isInternal: false)])
    func list(_ bound: IPv4Address) throws -> [IPv4Address] {
      let socket = host.makeSocket()
      try socket.bind(host: bound, port: 0)
      defer { socket.close() }
      let list = LocalAddresses.list(environment: host, serverSocket: socket)
      XCTAssertTrue(list.allSatisfy { $0.port == socket.localEndpoint?.port })
      return list.map(\.host)
    }
    XCTAssertEqual(try list(.any), [host.address, second])
    XCTAssertEqual(try list(host.address), [host.address])
    XCTAssertEqual(try list(.loopback), [.loopback])
    XCTAssertEqual(try list(IPv4Address(127, 0, 0, 9)), [IPv4Address(127, 0, 0, 9)])
    host.setInterfaces([])
    XCTAssertEqual(try list(.any), [.loopback])
    XCTAssertEqual(LocalAddresses.list(environment: host, serverSocket: nil), [])
  }

  /// A server on one of two addresses tells its clients that one.
  func testAServerTellsOnlyTheAddressThatItIsBoundTo() throws {
    let net = Net(seed: 22)
    let host = net.network.makeHost()
    let list = host.interfaces()
    host.setInterfaces(list + [InterfaceAddress(name: "eth1", address: IPv4Address(10, 7, 7, 7), isInternal: false)])
    let node = net.makeNode(on: host) { $0.host = host.address }
    let (server, _) = net.listen(on: node)
    let client = net.makeNode()
    let peer = net.connect(client, to: server)
    net.wait { peer.opened == 1 }
    let all = LocalAddresses.list(environment: host, serverSocket: node.rpc.serverSocket)
    XCTAssertEqual(all.map(\.host), [host.address])
    net.destroy()
  }

  /// One datagram that is lost says nothing, and delays the answer by no more than its repetition.
  func testOneLostDatagramIsNoVerdict() {
    for lost in 1...Limits.localAddressProbes.count {
      let host = network.makeHost()
      var left = lost
      network.shouldDrop = {
        guard $0.source.host == host.address, left > 0 else { return false }
        left -= 1
        return true
      }
      let validator = LocalAddressValidator(environment: host)
      let begun = network.now
      XCTAssertEqual(usable(validator, host, within: 600), [host.address], "\(lost) lost")
      XCTAssertLessThanOrEqual(
        network.now - begun, (Limits.localAddressProbes[lost - 1] + 20) * 1000, "\(lost) lost")
      validator.destroy()
    }
  }

  /// All of a test is lost: the address is tested again soon, without being asked for.
  func testAFailedAddressIsTestedAgainByItself() {
    let host = network.makeHost()
    network.shouldDrop = { $0.source.host == host.address }
    let validator = LocalAddressValidator(environment: host)
    XCTAssertEqual(usable(validator, host, within: 600), [])
    network.shouldDrop = nil
    XCTAssertEqual(usable(validator, host, within: 0), [], "the verdict of now, at once")
    network.advance(by: Limits.localAddressRetry + 50)
    XCTAssertEqual(usable(validator, host, within: 0), [host.address])
    validator.destroy()
  }

  /// An address that never works costs less and less, and nothing while no peer asks.
  func testTestsOfADeadAddressBackOff() {
    let host = network.makeHost()
    var sent: [UInt64] = []
    network.shouldDrop = { [unowned network] in
      guard $0.source.host == host.address else { return false }
      sent.append(network.now)
      return true
    }
    let validator = LocalAddressValidator(environment: host)
    XCTAssertEqual(usable(validator, host, within: 600), [])
    network.advance(by: 3_600_000)
    let perTest = 1 + Limits.localAddressProbes.count
    XCTAssertEqual(sent.count, (1 + Limits.localAddressRetries) * perTest)
    let tests = stride(from: 0, to: sent.count, by: perTest).map { sent[$0] }
    let gaps = zip(tests, tests.dropFirst()).map { $1 - $0 }
    XCTAssertEqual(gaps, gaps.sorted())
    XCTAssertGreaterThan(gaps.last ?? 0, 10 * (gaps.first ?? .max))
    // A peer asks: the answer does not wait, and one test runs beside it.
    XCTAssertEqual(usable(validator, host, within: 0), [])
    network.advance(by: 10_000)
    XCTAssertEqual(usable(validator, host, within: 0), [])
    XCTAssertEqual(sent.count, (2 + Limits.localAddressRetries) * perTest)
    validator.destroy()
    XCTAssertTrue(network.runUntilIdle(within: 100_000))
  }

  /// A change of interfaces begins anew, and forgets what has gone.
  func testAChangeOfInterfacesTestsAgain() {
    let host = network.makeHost()
    network.shouldDrop = { $0.source.host == host.address }
    let validator = LocalAddressValidator(environment: host)
    XCTAssertEqual(usable(validator, host, within: 600), [])
    network.advance(by: 3_600_000)
    network.shouldDrop = nil
    XCTAssertEqual(usable(validator, host, within: 0), [])
    network.advance(by: 1000)
    validator.destroy()
    // Through the node: the report reaches the validator.
    let net = Net(seed: 23)
    let other = net.network.makeHost()
    let node = net.makeNode(on: other)
    net.network.shouldDrop = { $0.source.host == other.address && $0.destination.host == other.address }
    var result: [Endpoint]?
    let own = [Endpoint(host: other.address, port: 1)]
    node.localAddressValidator.validate(own) { result = $0 }
    net.network.advance(by: 100_000)
    XCTAssertEqual(result, [])
    net.network.shouldDrop = nil
    net.network.advance(by: 10_000)
    let container = InterfaceAddress(name: "veth", address: IPv4Address(172, 17, 0, 1), isInternal: false)
    other.setInterfaces(other.interfaces() + [container])
    net.network.advance(by: 50)
    node.localAddressValidator.validate(own) { result = $0 }
    XCTAssertEqual(result, own)
    net.destroy()
  }

  func testDestroySettles() {
    let host = network.makeHost()
    network.shouldDrop = { $0.source.host == host.address }
    let validator = LocalAddressValidator(environment: host)
    var results: [[Endpoint]] = []
    for _ in 0..<3 { validator.validate([Endpoint(host: host.address, port: 1)]) { results.append($0) } }
    XCTAssertEqual(host.openSocketCount, 1, "one test for all")
    validator.destroy()
    network.advance(by: 10)
    XCTAssertEqual(results, [[], [], []])
    validator.validate([Endpoint(host: .loopback, port: 1)]) { results.append($0) }
    XCTAssertEqual(results.count, 4, "nothing is tested any more")
    XCTAssertEqual(host.openSocketCount, 0)
    XCTAssertTrue(network.runUntilIdle(within: 10_000))
  }
}
