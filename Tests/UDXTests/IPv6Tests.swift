import CHyperUV
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import XCTest

@testable import HyperUDX

/// Sockets and streams at IPv6 addresses, over loopback; skipped where the host has none.
final class IPv6Tests: XCTestCase {
  private func bind(
    _ transport: UDXTransport, _ address: String = "[::1]:0", isIPv6Only: Bool = false
  ) async throws -> UDXPort {
    guard let address = UDXAddress(address) else { throw UDXError.invalid }
    do {
      return try await transport.bind(address, isIPv6Only: isIPv6Only)
    } catch {
      if address.isIPv6 { throw XCTSkip("no IPv6 here: \(error)") }
      throw error
    }
  }

  private func loopback(_ port: UDXPort) -> UDXAddress {
    UDXAddress(host: .v6(.loopback), port: port.localAddress.port)
  }

  func testTextOfAddresses() {
    for (text, short) in [
      ("[::1]:5000", "[::1]:5000"), ("[2001:DB8:0:0:1:0:0:1]:1", "[2001:db8::1:0:0:1]:1"), ("[::]:0", "[::]:0"),
      ("[1:2:3:4:5:6:7:8]:65535", "[1:2:3:4:5:6:7:8]:65535"), ("[fe80::7%2]:9", "[fe80::7%2]:9"),
      ("[1:0:3:4:5:6:7:8]:2", "[1:0:3:4:5:6:7:8]:2"), ("[1::]:2", "[1::]:2"), ("192.0.2.7:80", "192.0.2.7:80"),
    ] {
      let address = UDXAddress(text)
      XCTAssertEqual(address?.description, short)
      XCTAssertEqual(UDXAddress(short), address)
    }
    for text in ["::1", "[::1]", "[::1]5", "[::1]:", "[::1]:70000", "[1.2.3.4]:5", "[fe80::1%eth0]:1", "name:5", ""] {
      XCTAssertNil(UDXAddress(text), text)
    }
    XCTAssertEqual(UDXAddress("192.0.2.7:80")?.endpoint, Endpoint("192.0.2.7:80"))
    XCTAssertNil(UDXAddress("[::1]:80")?.endpoint)
    XCTAssertEqual(UDXAddress("[2001:db8::1]:2")?.host, .v6(IPv6Address(high: 0x2001_0db8_0000_0000, low: 1)))
  }

  func testAddressesOfTheSystem() {
    for text in ["[2001:db8::102:304]:513", "[fe80::1%3]:1", "192.0.2.1:258"] {
      let address = UDXAddress(text)
      XCTAssertNotNil(address)
      XCTAssertEqual(address?.withSocketAddress { UDXAddress(socketAddress: $0) }, address, text)
    }
    XCTAssertNil(UDXAddress("[::1]:1")?.withSocketAddress { Endpoint(socketAddress: $0) })
  }

  func testBytesBothWays() async throws {
    let transports = [try await UDXTransport(), try await UDXTransport()]
    let ports = [try await bind(transports[0]), try await bind(transports[1])]
    XCTAssertEqual(ports[0].localAddress.host, .v6(.loopback))
    XCTAssertEqual(ports[0].address, Endpoint(host: .any, port: ports[0].localAddress.port))
    let a = try await ports[0].connect(localID: 1, remoteID: 2, to: ports[1].localAddress)
    let b = try await ports[1].connect(localID: 2, remoteID: 1, to: ports[0].localAddress)
    var source = ByteSource(seed: 6)
    let sent = (0..<20).map { _ in source.nextArray(70_001) }
    let writer = Task {
      for piece in sent { try await a.write(piece) }
      try await a.flush()
      a.end()
    }
    let echo = Task {
      for try await bytes in b.inbound { try await b.write(bytes) }
      b.end()
    }
    let remotes = await a.withStream { ($0.remoteAddress, $0.remote) }
    XCTAssertEqual(remotes?.0, ports[1].localAddress)
    XCTAssertEqual(remotes?.1, .some(nil))
    var received: [UInt8] = []
    for try await bytes in a.inbound { received += bytes }
    try await writer.value
    try await echo.value
    XCTAssertTrue(received == sent.flatMap { $0 })
    for transport in transports { await transport.close() }
  }

  func testDatagramsWithTheirSource() async throws {
    let transport = try await UDXTransport()
    let ports = [try await bind(transport), try await bind(transport)]
    ports[0].send([1, 2, 3], to: ports[1].localAddress)
    let datagram = await ports[1].nextDatagram()
    XCTAssertEqual(datagram?.bytes, [1, 2, 3])
    XCTAssertEqual(datagram?.sourceAddress, ports[0].localAddress)
    XCTAssertEqual(datagram?.source, ports[0].address)
    await transport.close()
  }

  /// A socket at `::` speaks to both families; the peer of an IPv4 one sees an IPv4 address, and so do we.
  func testBothFamiliesOnOneSocket() async throws {
    let transport = try await UDXTransport()
    let both = try await bind(transport, "[::]:0")
    let four = try await bind(transport, "127.0.0.1:0")
    let six = try await bind(transport)
    four.send([4], to: Endpoint(host: .loopback, port: both.localAddress.port))
    let fromFour = await both.nextDatagram()
    XCTAssertEqual(fromFour?.sourceAddress, four.localAddress)
    XCTAssertEqual(fromFour?.source, four.address)
    six.send([6], to: loopback(both))
    let fromSix = await both.nextDatagram()
    XCTAssertEqual(fromSix?.sourceAddress, six.localAddress)
    both.send([40], to: four.localAddress)
    let atFour = await four.nextDatagram()
    XCTAssertEqual(atFour?.source, Endpoint(host: .loopback, port: both.localAddress.port))
    await transport.close()
  }

  /// With `isIPv6Only` the IPv4 port of the same number is another socket's.
  func testIPv6Only() async throws {
    let transport = try await UDXTransport()
    let four = try await bind(transport, "0.0.0.0:0")
    let number = four.localAddress.port
    guard
      let six = try? await transport.bind(UDXAddress(host: .v6(.any), port: number), isIPv6Only: true)
    else { throw XCTSkip("no IPv6 here, or another program has the port") }
    let sender = try await bind(transport)
    sender.send([6], to: loopback(six))
    let datagram = await six.nextDatagram()
    XCTAssertEqual(datagram?.bytes, [6])
    await transport.close()
  }

  /// A stream moves from IPv4 to IPv6 on a socket that has both; nothing is lost.
  func testAStreamChangesTheFamily() async throws {
    let transports = [try await UDXTransport(), try await UDXTransport()]
    let both = try await bind(transports[0], "[::]:0")
    let four = try await bind(transports[1], "127.0.0.1:0")
    let six = try await bind(transports[1])
    let a = try await both.connect(localID: 1, remoteID: 2, to: four.localAddress)
    let b = try await four.connect(
      localID: 2, remoteID: 1, to: Endpoint(host: .loopback, port: both.localAddress.port))
    try await a.write([1])
    let first = try await b.read()
    XCTAssertEqual(first, [1])
    let place = loopback(both)
    let (sixSocket, bothSocket) = (six.socket, both.socket)
    let moved = await a.withStream { stream in
      (try? stream.changeRemote(bothSocket.value, remoteID: 2, to: six.localAddress) {}) != nil
    }
    XCTAssertEqual(moved, true)
    let movedBack = await b.withStream { stream in
      (try? stream.changeRemote(sixSocket.value, remoteID: 1, to: place) {}) != nil
    }
    XCTAssertEqual(movedBack, true)
    try await a.write([2, 3])
    let second = try await b.read()
    XCTAssertEqual(second, [2, 3])
    try await b.write([4])
    let third = try await a.read()
    XCTAssertEqual(third, [4])
    let remotes = await a.withStream { ($0.remoteAddress, $0.remote) }
    XCTAssertEqual(remotes?.0, six.localAddress)
    XCTAssertEqual(remotes?.1, .some(nil))
    for transport in transports { await transport.close() }
  }

  /// Packets for a stream that is not connected: the firewall that knows both families decides, one for IPv4 alone
  /// refuses, and without one they are taken.
  func testFirewalls() throws {
    let pair = try Pair()
    let (from, to) = (UDXSocket(environment: pair.a.instance), UDXSocket(environment: pair.b.instance))
    guard let any = UDXAddress("[::1]:0"), (try? from.bind(any)) != nil, (try? to.bind(any)) != nil,
      let source = from.localAddress, let destination = to.localAddress
    else { throw XCTSkip("no IPv6 here") }
    XCTAssertNil(from.localEndpoint)
    var asked: [UDXAddress] = []
    var heard: [UInt32] = []
    for id in UInt32(100)..<104 {
      let receiver = UDXStream(environment: pair.b.instance, localID: id)
      receiver.onMessage = { _ in
        heard.append(id)
        if heard.contains(103) { pair.finish() }
      }
      switch id {
      case 100: receiver.setFirewall { _, _ in true }
      case 101, 102:
        receiver.setAddressFirewall { _, address in
          asked.append(address)
          return id == 102
        }
      default: break
      }
      let sender = UDXStream(environment: pair.a.instance, localID: id)
      try sender.connect(from, remoteID: id, to: destination)
      sender.sendMessage([1])
    }
    pair.run()
    XCTAssertEqual(heard, [102, 103])
    XCTAssertEqual(asked, [source, source])
  }

  func testLookupAndInterfaces() async throws {
    let transport = try await UDXTransport()
    let loopback = await transport.lookup("::1", port: 7)
    XCTAssertEqual(loopback, [UDXAddress(host: .v6(.loopback), port: 7)])
    let six = await transport.lookup("::1", port: 7, family: .ipv6)
    XCTAssertEqual(six, loopback)
    let four = await transport.lookup("::1", port: 7, family: .ipv4)
    XCTAssertEqual(four, [])
    // The name of an interface becomes its number.
    let interface = try XCTUnwrap(UDXTransport.interfaces.first)
    let scoped = await transport.lookup("fe80::7%\(interface.name)", port: 0)
    XCTAssertEqual(scoped, [try XCTUnwrap(UDXAddress("[fe80::7%\(interface.index)]:0"))])
    _ = try await bind(transport)
    XCTAssertTrue(UDXTransport.interfaces.contains { $0.address == .v6(.loopback) && $0.isInternal })
    await transport.close()
  }

  /// In an interface-local group (RFC 4291 section 2.7), of which nothing leaves the host.
  func testMulticast() async throws {
    let transport = try await UDXTransport()
    guard let interface = UDXTransport.interfaces.first(where: { !$0.isInternal && $0.isIPv6 }) else {
      throw XCTSkip("no interface with an IPv6 address")
    }
    let name = interface.name
    let group = try XCTUnwrap(IPv6Address("ff11::3:104"))
    let (listener, sender) = (try await bind(transport, "[::]:0"), try await bind(transport, "[::]:0"))
    try await listener.withSocket { (socket) throws(UDXError) in try socket.join(group: group, interface: name) }
    try await sender.withSocket { (socket) throws(UDXError) in
      try socket.setMulticastInterface(name)
      try socket.setMulticastLoop(true)
    }
    let port = listener.localAddress.port
    sender.send([1], to: UDXAddress(host: .v6(group), port: port))
    let first = await listener.nextDatagram()
    XCTAssertEqual(first?.bytes, [1])
    let source = try XCTUnwrap(first?.sourceAddress)
    // The destination's scope says the same.
    sender.send([2], to: UDXAddress(host: .v6(group), port: port, scope: interface.index))
    let second = await listener.nextDatagram()
    XCTAssertEqual(second?.bytes, [2])
    // Of one sender only; a group that was not left cannot be joined again.
    guard case .v6(let host) = source.host else { return XCTFail("\(source)") }
    try await listener.withSocket { (socket) throws(UDXError) in
      try socket.leave(group: group, interface: name)
      try socket.join(group: group, interface: name, source: host)
    }
    sender.send([4], to: UDXAddress(host: .v6(group), port: port))
    let fourth = await listener.nextDatagram()
    XCTAssertEqual(fourth?.bytes, [4])
    try await listener.withSocket { (socket) throws(UDXError) in
      try socket.leave(group: group, interface: name, source: host)
      try socket.join(group: group, interface: name, source: .loopback)
    }
    sender.send([5], to: UDXAddress(host: .v6(group), port: port))
    sender.send([6], to: loopback(listener))
    let last = await listener.nextDatagram()
    XCTAssertEqual(last?.bytes, [6])
    await transport.close()
  }

  func testInterfacesAndFamiliesThatDoNotFit() async throws {
    let transport = try await UDXTransport()
    let (six, four) = (try await bind(transport), try await bind(transport, "127.0.0.1:0"))
    let group = try XCTUnwrap(IPv6Address("ff11::3:104"))
    func code(_ port: UDXPort, _ body: @escaping @Sendable (UDXSocket) throws(UDXError) -> Void) async -> Int32 {
      do throws(UDXError) {
        try await port.withSocket(body)
        return 0
      } catch {
        return error.code
      }
    }
    let noInterface = await code(six) { (socket) throws(UDXError) in
      try socket.join(group: group, interface: "no such interface")
    }
    XCTAssertEqual(noInterface, UV_ENODEV.rawValue)
    let noWay = await code(six) { (socket) throws(UDXError) in try socket.setMulticastInterface("no such interface") }
    XCTAssertEqual(noWay, UV_ENODEV.rawValue)
    let noFour = await code(four) { (socket) throws(UDXError) in try socket.join(group: group) }
    XCTAssertLessThan(noFour, 0)
    let noSix = await code(six) { (socket) throws(UDXError) in try socket.setMulticastInterface(.loopback) }
    XCTAssertLessThan(noSix, 0)
    await transport.close()
  }

  func testAnIPv4SocketHasNoWayToIPv6() throws {
    let pair = try Pair()
    guard let place = UDXAddress("[::1]:9") else { return XCTFail("address") }
    let stream = UDXStream(environment: pair.a.instance, localID: 7)
    XCTAssertThrowsError(try stream.connect(pair.socketA, remoteID: 8, to: place)) {
      XCTAssertEqual(($0 as? TransportError)?.code, UV_EINVAL.rawValue)
    }
    XCTAssertNil(stream.remoteAddress)
    pair.socketA.send([1], to: place)
    XCTAssertEqual(pair.socketA.droppedSends, 1)
    stream.destroy()
    pair.finish()
    pair.run()
  }
}

extension UDXTransport.Interface {
  fileprivate var isIPv6: Bool { if case .v6 = address { true } else { false } }
}
