import HyperDHT
import HyperProtomux
import XCTest

/// Peers that break the protocol, do not read, or go.
final class ProtomuxFailureTests: XCTestCase {
  func testBadPeersAndBadMessages() async throws {
    let cases: [(frames: [[UInt8]], code: String)] = [
      ([[0, 1, 5, 1, 0x78, 0]], "PROTOCOL_ERROR"), ([[0, 1, 1, 1, 0x78, 0], [1, 0, 0xfe]], "DECODING_FAILED"),
      ([[9]], "PROTOCOL_ERROR"),
    ]
    for (frames, expected) in cases {
      let (left, _) = MemoryStream.pair()
      let mux = Protomux(over: left)
      let channel = try mux.createChannel(protocol: "x")
      let number = channel.addMessage(.uint)
      try channel.open()
      for frame in frames { left.receive(frame) }
      let reason = try await mux.closed()
      XCTAssertEqual(reason?.code, expected)
      let channelReason = try await channel.closed()
      XCTAssertEqual(channelReason?.code, expected)
      do {
        for try await _ in number.messages {}
        XCTFail("its messages fail")
      } catch {
        XCTAssertEqual(error.code, expected)
      }
      XCTAssertThrowsError(try number.sendWithoutWaiting(1)) { XCTAssertEqual(($0 as? ProtomuxError)?.code, expected) }
    }
  }

  func testTheConnectionFails() async throws {
    let (left, _) = MemoryStream.pair()
    let mux = Protomux(over: left)
    let channel = try mux.createChannel(protocol: "x")
    try channel.open()
    left.fail(.reset)
    do {
      try await channel.opened()
      XCTFail("failed")
    } catch {
      XCTAssertEqual(error, .connection(.reset))
      XCTAssertEqual(error.code, "ECONNRESET")
    }
    let reason = try await mux.closed()
    XCTAssertEqual(reason, .connection(.reset))
  }

  func testAHandshakeThatCannotBeDecoded() async throws {
    let (a, b) = pair()
    let (here, there) = (try a.createChannel(protocol: "x"), try b.createChannel(protocol: "x"))
    try here.open()
    try there.open(handshake: [0xfe])
    do {
      _ = try await here.opened(.uint)
      XCTFail("not an integer")
    } catch {
      XCTAssertEqual(error.code, "DECODING_FAILED")
    }
    let reason = try await a.closed()
    XCTAssertEqual(reason?.code, "DECODING_FAILED")
    try await b.closed()
  }

  /// There is no half-open use.
  func testThePeerEndsItsHalf() async throws {
    let (left, right) = MemoryStream.pair()
    let mux = Protomux(over: left)
    let channel = try mux.createChannel(protocol: "x")
    right.end()
    let reason = try await channel.closed()
    XCTAssertNil(reason)
    let end = try await right.read()
    XCTAssertNil(end)
  }

  /// A peer that opens what is not wanted, and does not read the rejections.
  func testRejectionsWaitForRoom() async throws {
    let (left, _) = MemoryStream.pair()
    let mux = Protomux(over: left)
    left.hasRoom = false
    mux.start()
    for _ in 0..<4000 { left.receive([0, 1, 1, 1, 0x78, 0]) }
    try await Task.sleep(for: .milliseconds(200))
    let first = left.takeWritten().count
    XCTAssertGreaterThan(first, 1000)
    XCTAssertLessThan(first, 2000, "64 KiB of them")
    left.hasRoom = true
    var total = first
    try await eventually("all are answered") {
      total += left.takeWritten().count
      return total == 4000
    }
    mux.destroy()
  }

  func testTypesThatAreNotThereAreDropped() async throws {
    let (left, _) = MemoryStream.pair()
    let mux = Protomux(over: left)
    let channel = try mux.createChannel(protocol: "x")
    let numbers = channel.addMessage(.uint)
    try channel.open()
    for frame in [[0, 1, 1, 1, 0x78, 0], [1, 1, 9], [1, 2, 9], [1, 0, 7]] as [[UInt8]] { left.receive(frame) }
    let number = try await first(numbers.messages)
    XCTAssertEqual(number, 7)
    mux.destroy()
  }
}
