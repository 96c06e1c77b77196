import HyperRuntime
import XCTest

@testable import HyperUDX

/// The public interface of the transport, over loopback.
final class UDXAsyncTests: XCTestCase {
  private func pair() async throws -> (UDXConnection, UDXConnection, [UDXTransport]) {
    let transports = [try await UDXTransport(), try await UDXTransport()]
    let portA = try await transports[0].bind(host: .loopback)
    let portB = try await transports[1].bind(host: .loopback)
    let a = try await portA.connect(localID: 1, remoteID: 2, to: portB.address)
    let b = try await portB.connect(localID: 2, remoteID: 1, to: portA.address)
    return (a, b, transports)
  }

  private func pieces(_ count: Int) -> [[UInt8]] {
    var source = ByteSource(seed: 5)
    return (0..<count).map { _ in source.nextArray(70_001) }
  }

  func testBytesBothWaysThroughSequences() async throws {
    let (a, b, transports) = try await pair()
    let sent = pieces(100)
    let expected = sent.flatMap { $0 }
    let writer = Task {
      for piece in sent { try await a.write(piece) }
      try await a.flush()
      a.end()
    }
    let echo = Task {
      for try await bytes in b.inbound { try await b.write(bytes) }
      b.end()
    }
    var received: [UInt8] = []
    for try await bytes in a.inbound { received += bytes }
    try await writer.value
    try await echo.value
    XCTAssertEqual(received.count, expected.count)
    XCTAssertTrue(received == expected)
    let reason = try await a.waitUntilClosed()
    XCTAssertNil(reason)
    for transport in transports { await transport.close() }
  }

  /// The peer takes nothing, and resets.
  func testAFlushThatFailsSaysWhy() async throws {
    let transport = try await UDXTransport()
    var ports: [UDXPort] = []
    for _ in 0..<3 { ports.append(try await transport.bind(host: .loopback)) }
    let a = try await ports[0].connect(localID: 1, remoteID: 2, to: ports[2].address)
    let b = try await ports[1].connect(localID: 2, remoteID: 1, to: ports[0].address)
    await b.withStream { $0.setFirewall { _, _ in false } }
    try await a.write([1])
    // On the loop, and so before the reset.
    let flush = Task(executorPreference: transport.loop) { try await a.flush() }
    b.destroy()
    do {
      try await flush.value
      XCTFail("nothing was acknowledged")
    } catch {
      XCTAssertEqual(error as? UDXConnectionError, .reset)
    }
    await transport.close()
  }

  func testBorrowedReading() async throws {
    let (a, b, transports) = try await pair()
    let sent = pieces(20)
    let digest = Locked(StreamDigest())
    try await a.write(sent[0])
    try await a.flush()
    b.readBorrowed { bytes in digest.withLock { $0.update(bytes) } }
    for piece in sent.dropFirst() { try await a.write(piece) }
    try await a.flush()
    var expected = StreamDigest()
    for piece in sent { piece.withUnsafeBytes { expected.update($0) } }
    // Acknowledged means received; the reader ran before the acknowledgement left.
    XCTAssertEqual(digest.withLock { $0 }, expected)
    for transport in transports { await transport.close() }
  }

  func testMessagesDatagramsResetAndErrors() async throws {
    let (a, b, transports) = try await pair()
    a.sendMessage([1, 2, 3])
    let message = await b.nextMessage()
    XCTAssertEqual(message, [1, 2, 3])
    let port = try await transports[0].bind(host: .loopback)
    let other = try await transports[1].bind(host: .loopback)
    port.send([9, 9], to: other.address)
    let datagram = await other.nextDatagram()
    XCTAssertEqual(datagram, UDXPort.Datagram(bytes: [9, 9], sourceAddress: port.localAddress))
    do throws(UDXError) {
      _ = try await transports[0].bind(host: .loopback, port: port.address.port)
      XCTFail("the port is taken")
    } catch {
      XCTAssertEqual(error.code, -98)
    }
    do throws(UDXError) {
      _ = try await port.connect(localID: 1, remoteID: 5, to: other.address)
      XCTFail("the id is in use")
    } catch {
      XCTAssertLessThan(error.code, 0)
    }
    a.destroy()
    do throws(UDXConnectionError) {
      _ = try await b.read()
      XCTFail("must be reset")
    } catch {
      XCTAssertEqual(error, .reset)
    }
    await port.close()
    let none = await port.nextDatagram()
    XCTAssertNil(none)
    for transport in transports { await transport.close() }
  }
}
