import Foundation
import HyperEncoding
import XCTest

@testable import hyperswarm_cli

/// `--udp`: packets over datagrams.
final class TunnelPacketTests: TunnelTestCase {
  /// Sends packets back, with a byte more.
  private final class Echo: Sendable {
    let port: UInt16
    private let task: Task<Void, Never>

    init() async throws {
      let (socket, _) = try await XCTUnwrap(LocalAddress("0")).bindPackets()
      port = socket.localAddress.port
      task = Task {
        while !Task.isCancelled {
          guard await Poller.shared.wait(socket.descriptor, for: Int32(POLLIN), seconds: 1) else { continue }
          while let (packet, source) = socket.receive() { socket.send(packet + [9], to: source) }
        }
      }
    }

    deinit { task.cancel() }
  }

  /// The answer; packets may get lost, but not for long.
  private func ask(_ socket: PacketSocket, _ packet: [UInt8]) async -> [UInt8]? {
    for _ in 0..<40 {
      socket.send(packet[...])
      guard await Poller.shared.wait(socket.descriptor, for: Int32(POLLIN), seconds: 0.5) else { continue }
      while let (answer, _) = socket.receive() { if answer.dropLast() == packet[...] { return answer } }
    }
    return nil
  }

  private func socket(to process: ToolProcess) async throws -> PacketSocket {
    let place = try XCTUnwrap(LocalAddress("\(try port(process))"))
    return try PacketSocket(connectedTo: try await place.packetAddress())
  }

  func testPackets_ofAllSizesAndSenders() async throws {
    let echo = try await Echo()
    let expose = try run(["expose", "--udp", "\(echo.port)"], until: "--udp PORT")
    let forward = try run(["forward", "--udp", "0", try XCTUnwrap(keys(expose).first)], until: "->")
    let (first, second) = (try await socket(to: forward), try await socket(to: forward))
    // The larger ones do not fit into a datagram of the connection.
    for size in [0, 1, 1_000, 1_400, 9_000, 60_000] {
      let packet = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 3 &+ size) }
      let answer = await ask(first, packet)
      XCTAssertEqual(answer, packet + [9], "\(size) bytes")
    }
    for index in 0..<20 {
      let (a, b) = (await ask(first, [1, UInt8(index)]), await ask(second, [2, UInt8(index)]))
      XCTAssertEqual(a, [1, UInt8(index), 9])
      XCTAssertEqual(b, [2, UInt8(index), 9])
    }
    try end(forward, expose)
  }

  func testPackets_aPeerWithoutThemIsNamed() async throws {
    let service = try await Service { _ in }
    let expose = try run(["expose", "\(service.port)"], until: "forward PORT")
    let forward = try run(["forward", "--udp", "0", try XCTUnwrap(keys(expose).first)], until: "->")
    let socket = try await socket(to: forward)
    socket.send([1])
    try forward.wait(for: "the peer does not take UDP")
    try end(forward, expose)
  }

  func testPackets_sendersAreBounded() {
    var table = SenderTable<Int, Int>(limit: 3)
    let start = ContinuousClock.now
    for key in 0..<3 { XCTAssertEqual(table.add(key * 10, for: key, at: start + .seconds(key)), []) }
    XCTAssertEqual(table.use(0, at: start + .seconds(10)), 0)
    XCTAssertEqual(table.add(30, for: 3, at: start + .seconds(11)), [10], "the one that was silent the longest")
    XCTAssertNil(table.value(of: 1))
    XCTAssertEqual(table.count, 3)
    XCTAssertEqual(Set(table.expire(at: start + .seconds(161))), [20, 0])
    XCTAssertEqual(table.count, 1)
  }

  func testPackets_frames() throws {
    let frame = PacketFrame(sender: 0x0102_0304, content: [7, 8])
    XCTAssertEqual(frame.message, [0, 4, 3, 2, 1, 7, 8])
    XCTAssertEqual(PacketFrame(message: frame.message), frame)
    for message in [[], [0, 1, 2, 3], TunnelOffer.datagrams.question, [UInt8](repeating: 0, count: 65_513)] {
      XCTAssertNil(PacketFrame(message: message))
    }
    let key = Bytes32(repeating: 3)
    XCTAssertEqual(PacketFrame.message(with: key), [1] + [UInt8](repeating: 3, count: 32))
    XCTAssertEqual(PacketFrame.key(in: PacketFrame.message(with: key)), key)
    XCTAssertNil(PacketFrame.key(in: [1, 2]))
    let sealed = try XCTUnwrap(frame.sealed(key, from: .asking, number: 258))
    XCTAssertEqual(sealed.count, 9 + 16 + 6)
    XCTAssertEqual(sealed[..<9], [2, 2, 1, 0, 0, 0, 0, 0, 0])
    XCTAssertEqual(PacketFrame(sealed: sealed, key, from: .asking), frame)
    XCTAssertNil(PacketFrame(sealed: sealed, key, from: .listening), "not what the other side has sent itself")
    XCTAssertNil(PacketFrame(sealed: sealed, Bytes32(repeating: 4), from: .asking))
    XCTAssertNil(PacketFrame(sealed: Array(sealed.dropLast()), key, from: .asking))
    XCTAssertEqual(TunnelOffer.channels.question, Array("hyperswarm-tunnel".utf8) + [1, 1, 0])
    XCTAssertEqual(TunnelOffer.datagrams.answer, Array("hyperswarm-tunnel".utf8) + [1, 2, 1])
  }

  func testPackets_usage() throws {
    let key = String(repeating: "ab", count: 32)
    for arguments in [
      ["expose", "--udp", "/tmp/x"], ["expose", "--udp", "--mux", "1"], ["forward", "--udp", "/tmp/x", key],
      ["forward", "--udp", "--mux", "1", key],
    ] {
      let result = try runTool(arguments)
      XCTAssertEqual(result.status, 64, "\(arguments): \(result.errors)")
    }
  }
}
