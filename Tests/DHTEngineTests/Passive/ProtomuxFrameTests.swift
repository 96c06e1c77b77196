import HyperEncoding
import HyperTestVectors
import XCTest

@testable import HyperDHTEngine

/// Protomux framing: hyperdht.md 10.6, and the frames of the relayed connection in `session-connect.json`.
final class ProtomuxFrameTests: XCTestCase {
  func testDHT_106_framesOfTheRelayedConnection() throws {
    var opens = 0
    var pairs = 0
    for session in try Vectors.cases("session-connect").map({ Fields($0) }) {
      for stream in try session.objects("streams") {
        for frame in try stream.objects("frames") {
          guard let protomux = try frame.optionalObject("protomux") else { continue }
          let bytes = try frame.bytes("plain")
          let decoded = try ProtomuxFrame(bytes)
          if let open = try protomux.optionalObject("open") {
            XCTAssertEqual(
              decoded,
              .open(
                localID: try open.uint("localId"), protocol: try open.string("protocol"), id: try open.bytes("id"),
                handshake: try open.bytes("handshake")))
            opens += 1
          } else {
            let pair = try protomux.object("pair").relayPair()
            XCTAssertEqual(
              decoded,
              .messages([
                ProtomuxMessage(
                  channel: try protomux.uint("channel"), type: try protomux.uint("type"), body: pair.encoded)
              ]))
            XCTAssertEqual(try protomux.uint("type"), RelayPairMessage.type)
            pairs += 1
          }
          XCTAssertEqual(decoded.encoded, bytes)
        }
      }
    }
    print("session-connect protomux: \(opens) open, \(pairs) pair frames")
    XCTAssertEqual(opens, 4)
    XCTAssertEqual(pairs, 4)
  }

  func testDHT_106_allFrames() throws {
    let a = ProtomuxMessage(channel: 1, type: 0, body: [7, 8])
    let b = ProtomuxMessage(channel: 1, type: 300, body: [])
    let c = ProtomuxMessage(channel: 2, type: 1, body: [9])
    let forms: [(ProtomuxFrame, [UInt8])] = [
      (.messages([a]), [1, 0, 7, 8]),
      (.messages([a, b, c]), [0, 0, 1, 3, 0, 7, 8, 3, 0xfd, 0x2c, 1, 0, 2, 2, 1, 9]),
      (.open(localID: 3, protocol: "ab", id: [], handshake: []), [0, 1, 3, 2, 0x61, 0x62, 0]),
      (.open(localID: 3, protocol: "ab", id: [5], handshake: [6, 6]), [0, 1, 3, 2, 0x61, 0x62, 1, 5, 6, 6]),
      (.reject(remoteID: 4), [0, 2, 4]), (.close(localID: 5), [0, 3, 5]), (.ignored, []),
    ]
    for (frame, bytes) in forms {
      XCTAssertEqual(frame.encoded, bytes)
      XCTAssertEqual(try ProtomuxFrame(bytes), frame)
    }
    XCTAssertEqual(try ProtomuxFrame([0, 9, 1, 2, 3]), .ignored)
    XCTAssertEqual(try ProtomuxFrame([0, 0, 1]), .messages([]))
    let broken: [[UInt8]] = [
      [0], [1], [0, 0], [0, 1], [0, 1, 3], [0, 1, 3, 9, 0x61], [0, 2], [0, 3], [0, 0, 1, 5, 0],
      [0, 0, 1, 0], [0, 0, 1, 1, 0xfd], [0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ]
    for bytes in broken { XCTAssertThrowsError(try ProtomuxFrame(bytes), "\(bytes)") }
  }
}
