import HyperUDX
import XCTest

/// What a program can ask of sockets, streams and the host beside bytes.
final class SocketOptionTests: XCTestCase {
  private func pair(
    _ options: UDXStreamOptions, _ other: UDXStreamOptions
  ) async throws -> (UDXTransport, UDXPort, UDXPort, UDXConnection, UDXConnection) {
    let transport = try await UDXTransport()
    let (p, q) = (try await transport.bind(host: .loopback), try await transport.bind(host: .loopback))
    let a = try await p.connect(localID: 1, remoteID: 2, to: q.address, options: options)
    let b = try await q.connect(localID: 2, remoteID: 1, to: p.address, options: other)
    return (transport, p, q, a, b)
  }

  private func carry(_ count: Int, _ a: UDXConnection, _ b: UDXConnection) async throws {
    let writing = Task {
      try await a.write([UInt8](repeating: 7, count: count))
      a.end()
    }
    var received = 0
    for try await bytes in b.inbound { received += bytes.count }
    XCTAssertEqual(received, count)
    try await writing.value
  }

  func testCountersOfSocketsAndOfTheTransport() async throws {
    let (transport, p, q, a, b) = try await pair(.init(), .init())
    try await carry(200_000, a, b)
    p.send([1, 2, 3], to: q.address)
    let datagram = await q.nextDatagram()
    XCTAssertEqual(datagram?.bytes, [1, 2, 3])
    let (first, second) = (await p.statistics(), await q.statistics())
    XCTAssertGreaterThan(first.bytesSent, 200_000)
    XCTAssertGreaterThan(first.packetsSent, 100)
    XCTAssertGreaterThan(first.packetsReceived, 0)
    XCTAssertGreaterThan(second.bytesReceived, 200_000)
    let all = await transport.statistics()
    XCTAssertGreaterThanOrEqual(all.bytesSent, first.bytesSent + second.bytesSent)
    XCTAssertGreaterThanOrEqual(all.packetsReceived, first.packetsReceived)
    XCTAssertGreaterThan(all.acknowledgementsSent, 0)
    XCTAssertEqual(all.packetsInvalid, 0)
    await transport.close()
    let none = await transport.statistics()
    XCTAssertEqual(none, UDXStatistics())
  }

  func testBuffersAndHops() async throws {
    let transport = try await UDXTransport()
    let port = try await transport.bind(host: .loopback)
    let (before, after, hops) = try await port.withSocket { (socket) throws(UDXError) in
      let before = socket.kernelBuffers?.receive ?? 0
      try socket.setKernelBuffers(send: 65_536, receive: 65_536)
      try socket.setTimeToLive(9)
      return (before, socket.kernelBuffers, socket.timeToLive)
    }
    XCTAssertGreaterThan(before, 0)
    // Linux gives twice what it is asked for, others what they are asked for.
    XCTAssertTrue([65_536, 131_072].contains(after?.receive), "\(String(describing: after))")
    XCTAssertTrue([65_536, 131_072].contains(after?.send), "\(String(describing: after))")
    XCTAssertEqual(hops, 9)
    do {
      try await port.withSocket { (socket) throws(UDXError) in try socket.setTimeToLive(0) }
      XCTFail("no hops at all")
    } catch {
      XCTAssertLessThan(error.code, 0)
    }
    await transport.close()
  }

  func testWindowsSequencesAndCongestionControl() async throws {
    var (first, second) = (UDXStreamOptions(), UDXStreamOptions())
    first.congestionControl = .cubic
    first.firstSequence = UInt32.max - 3
    second.firstExpected = UInt32.max - 3
    second.receiveWindow = 32_768
    let (transport, _, _, a, b) = try await pair(first, second)
    let start = await a.withStream { ($0.sequence, $0.receiveWindow, $0.minimumRoundTripTime) }
    XCTAssertEqual(start?.0, UInt32.max - 3)
    XCTAssertEqual(start?.1, 4 << 20)
    XCTAssertNil(start?.2 ?? nil, "nothing has gone there and back yet")
    let window = await b.withStream { $0.receiveWindow }
    XCTAssertEqual(window, 32_768)
    try await a.write([1])
    try await a.flush()
    let one = try await b.read()
    XCTAssertEqual(one, [1])
    let offered = await a.withStream { $0.sendWindow }
    XCTAssertLessThanOrEqual(try XCTUnwrap(offered ?? nil), 32_768)
    let expected = await b.withStream { $0.expectedSequence }
    XCTAssertEqual(expected, UInt32.max - 2)
    // Past the end of the numbers.
    try await carry(300_000, a, b)
    let numbers = await a.withStream { ($0.bandwidth, $0.minimumRoundTripTime) }
    XCTAssertNotNil(numbers?.0 ?? nil)
    XCTAssertNotNil(numbers?.1 ?? nil)
    let late = await b.withStream { stream -> Int32 in
      do throws(UDXError) {
        try stream.setReceiveWindow(65_536)
        return 0
      } catch {
        return error.code
      }
    }
    XCTAssertEqual(late, 0)
    await transport.close()
  }

  func testTheControllerStaysWhilePacketsAreUnderWay() async throws {
    let transport = try await UDXTransport()
    let port = try await transport.bind(host: .loopback)
    // Nothing there acknowledges.
    let a = try await port.connect(localID: 1, remoteID: 9, to: port.address)
    let isFresh = await a.withStream { Self.takes(.cubic, $0) }
    XCTAssertEqual(isFresh, true)
    try await a.write([1])
    while await a.withStream({ $0.sequence }) == 0 { try await Task.sleep(for: .milliseconds(1)) }
    let isTaken = await a.withStream { Self.takes(.bbr, $0) }
    XCTAssertEqual(isTaken, false)
    await transport.close()
  }

  private static func takes(_ control: UDXCongestionControl, _ stream: UDXStream) -> Bool {
    (try? stream.setCongestionControl(control)) != nil
  }

  func testASocketSaysWhenItIsBusyAndIdle() async throws {
    let transport = try await UDXTransport()
    let port = try await transport.bind(host: .loopback)
    let (events, heard) = AsyncStream.makeStream(of: String.self)
    try await port.withSocket { (socket) throws(UDXError) in
      socket.onBusy = { heard.yield("busy") }
      socket.onIdle = { heard.yield("idle") }
    }
    let first = try await port.connect(localID: 1, remoteID: 9, to: port.address)
    let second = try await port.connect(localID: 2, remoteID: 9, to: port.address)
    first.destroy()
    second.destroy()
    var seen: [String] = []
    for await event in events {
      seen.append(event)
      if event == "idle" { break }
    }
    XCTAssertEqual(seen, ["busy", "idle"])
    await transport.close()
  }

  func testMulticast() async throws {
    let transport = try await UDXTransport()
    let group = IPv4Address(239, 3, 1, 4)
    let listener = try await transport.bind(reusesAddress: true)
    let second = try await transport.bind(port: listener.address.port, reusesAddress: true)
    let sender = try await transport.bind(host: .loopback)
    for port in [listener, second] {
      try await port.withSocket { (socket) throws(UDXError) in try socket.join(group: group, interface: .loopback) }
    }
    try await sender.withSocket { (socket) throws(UDXError) in
      try socket.setMulticastInterface(.loopback)
      try socket.setMulticastLoop(true)
    }
    let target = Endpoint(host: group, port: listener.address.port)
    let repeating = Task {
      while !Task.isCancelled {
        sender.send(Array("to all".utf8), to: target)
        try? await Task.sleep(for: .milliseconds(50))
      }
    }
    for port in [listener, second] {
      let datagram = await port.nextDatagram()
      XCTAssertEqual(datagram?.bytes, Array("to all".utf8))
      XCTAssertEqual(datagram?.source, sender.address)
    }
    repeating.cancel()
    try await listener.withSocket { (socket) throws(UDXError) in
      try socket.leave(group: group, interface: .loopback)
      // Of one sender and no other.
      try socket.join(group: group, interface: .loopback, source: .loopback)
    }
    sender.send([1], to: target)
    var datagram = await listener.nextDatagram()
    while let bytes = datagram?.bytes, bytes != [1] { datagram = await listener.nextDatagram() }
    XCTAssertEqual(datagram?.bytes, [1])
    await transport.close()
  }

  func testLookupAndInterfaces() async throws {
    let transport = try await UDXTransport()
    let numeric = await transport.lookup("127.0.0.1")
    XCTAssertEqual(numeric, [.loopback])
    let nothing = await transport.lookup("no such host")
    XCTAssertEqual(nothing, [])
    let either = await transport.lookup("127.0.0.1", port: 9)
    XCTAssertEqual(either, [UDXAddress(Endpoint(host: .loopback, port: 9))])
    let other = await transport.lookup("127.0.0.1", port: 9, family: .ipv6)
    XCTAssertEqual(other, [])
    let loopback = UDXTransport.interfaces.first { $0.address == .v4(.loopback) }
    XCTAssertEqual(loopback?.isInternal, true)
    XCTAssertEqual(loopback?.name.isEmpty, false)
    XCTAssertGreaterThan(loopback?.index ?? 0, 0)
    let changes = await transport.interfaceChanges(every: .milliseconds(20))
    let reading = Task {
      var count = 0
      for await _ in changes { count += 1 }
      return count
    }
    await transport.close()
    // Ended with the transport's loop.
    _ = await reading.value
  }
}
