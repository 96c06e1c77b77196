import HyperEncoding
import HyperProtomuxEngine
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Channels: hyperdht.md 10.6.
final class RelayMuxTests: XCTestCase {
  /// One end, and what it has sent.
  private final class End {
    let mux = RelayMux()
    var outbox: [[UInt8]] = []
    var error: MuxViolation?

    init() {
      mux.send = { [unowned self] in outbox.append($0) }
      mux.onError = { [unowned self] in error = $0 }
    }

    func receive(_ bytes: [UInt8]) { bytes.withUnsafeBytes { mux.receive($0) } }
  }

  private struct Text: CompactEncodable {
    var text: String
    func encode(into writer: inout CompactWriter) { writer.string(text) }
  }

  private func exchange(_ a: End, _ b: End) {
    while !a.outbox.isEmpty || !b.outbox.isEmpty {
      let (fromA, fromB) = (a.outbox, b.outbox)
      a.outbox = []
      b.outbox = []
      for frame in fromA { b.receive(frame) }
      for frame in fromB { a.receive(frame) }
    }
  }

  func testDHT_106_bothOpenAndTalk() throws {
    let (a, b) = (End(), End())
    let first = try XCTUnwrap(a.mux.open("x", id: [1]))
    XCTAssertNil(a.mux.open("x", id: [1]), "one at a time")
    first.send(0, Text(text: "before it is open"))
    let second = try XCTUnwrap(b.mux.open("x", id: [1]))
    var opened = 0
    first.onOpen = { opened += 1 }
    second.onOpen = { opened += 1 }
    var got: [UInt64: String] = [:]
    second.onMessage = { type, body throws(CompactError) in
      var writer = CompactWriter()
      writer.raw(body)
      got[type] = String(decoding: body.dropFirst(), as: UTF8.self)
    }
    exchange(a, b)
    first.send(5, Text(text: "after"))
    exchange(a, b)
    XCTAssertEqual(opened, 2)
    XCTAssertEqual(got, [0: "before it is open", 5: "after"])
    var closed = 0
    first.onClose = { closed += 1 }
    second.onClose = { closed += 1 }
    first.close()
    exchange(a, b)
    XCTAssertEqual(closed, 2)
    XCTAssertEqual(a.mux.channelCount + b.mux.channelCount, 0)
    for _ in 0..<100 {
      let again = try XCTUnwrap(a.mux.open("x"), "ids are used again")
      let other = try XCTUnwrap(b.mux.open("x"))
      exchange(a, b)
      (again.isClosed ? other : again).close()
      exchange(a, b)
    }
    XCTAssertNil(a.error ?? b.error)
  }

  func testDHT_106_offersAndRejections() throws {
    let (a, b) = (End(), End())
    let wanted = try XCTUnwrap(b.mux.open("yes", id: [7]))
    let yes = try XCTUnwrap(a.mux.open("yes", id: [7]))
    let no = try XCTUnwrap(a.mux.open("no"))
    var opened = 0
    yes.onOpen = { opened += 1 }
    exchange(a, b)
    XCTAssertEqual(opened, 1)
    XCTAssertTrue(no.isClosed)
    XCTAssertFalse(yes.isClosed || wanted.isClosed)
    XCTAssertNil(a.error ?? b.error)
    a.receive([0, 3, 1])
    XCTAssertTrue(yes.isClosed)
    // Ids of channels that are not wanted can grow: nothing is kept of them.
    for id in 2...1000 as ClosedRange<UInt64> {
      b.receive(ProtomuxFrame.open(localID: id + 1, protocol: "no", id: [], handshake: []).encoded)
    }
    XCTAssertEqual(b.outbox.last, ProtomuxFrame.reject(remoteID: 1001).encoded)
    XCTAssertNil(b.error)
  }

  func testDHT_106_closedBeforeThePeerOpened() throws {
    let (a, b) = (End(), End())
    try XCTUnwrap(a.mux.open("x")).close()
    let late = try XCTUnwrap(b.mux.open("x"))
    exchange(a, b)
    XCTAssertTrue(late.isClosed)
    let again = try XCTUnwrap(a.mux.open("x"))
    let other = try XCTUnwrap(b.mux.open("x"))
    exchange(a, b)
    XCTAssertFalse(again.isClosed || other.isClosed)
    XCTAssertNil(a.error ?? b.error)
  }

  func testDHT_106_badOpensAreFatal() {
    let open: (UInt64) -> [UInt8] = { ProtomuxFrame.open(localID: $0, protocol: "x", id: [], handshake: []).encoded }
    let cases: [(String, [[UInt8]], MuxViolation?)] = [
      ("skips ids", [open(2)], .invalidOpen),
      ("skips many ids", [open(UInt64(Limits.Relay.channels) + 1)], .invalidOpen),
      ("the largest id", [open(.max)], .invalidOpen),
      ("rejects what nobody opened", [[0, 2, 1]], .invalidReject),
      ("rejects an impossible id", [ProtomuxFrame.reject(remoteID: .max).encoded], .invalidReject),
      ("control channel", [open(0)], nil),
      ("closes what nobody opened", [[0, 3, 9], ProtomuxFrame.close(localID: .max).encoded], nil),
      ("message for nobody", [[9, 0, 1], [0, 0, 9, 2, 0, 1], []], nil),
      ("broken", [[0, 1, 1]], .malformed),
    ]
    for (what, frames, error) in cases {
      let end = End()
      for frame in frames { end.receive(frame) }
      XCTAssertEqual(end.error, error, what)
      XCTAssertEqual(end.mux.isClosed, error != nil, what)
    }
    let end = End()
    _ = end.mux.open("x")
    end.receive(open(1))
    end.receive(open(1))
    XCTAssertEqual(end.error, .invalidOpen, "a live id")
    XCTAssertNil(end.mux.open("y"), "closed for good")
  }

  func testDHT_106_boundedChannels() {
    let end = End()
    for index in 0..<Limits.Relay.channels { XCTAssertNotNil(end.mux.open("\(index)")) }
    XCTAssertNil(end.mux.open("one more"))
  }

  /// The frames of the recorded connection, put into our ends: ours answer with the same bytes.
  func testDHT_106_recordedConversation() throws {
    var frames = 0
    for session in try Vectors.cases("session-connect").map({ Fields($0) }) {
      for stream in try session.objects("streams") {
        let end = End()
        var isOpen = false
        for frame in try stream.objects("frames") {
          guard let protomux = try frame.optionalObject("protomux") else { continue }
          let bytes = try frame.bytes("plain")
          if let open = try protomux.optionalObject("open") {
            if !isOpen {
              isOpen = true
              XCTAssertNotNil(end.mux.open(try open.string("protocol"), id: try open.bytes("id")))
              XCTAssertEqual(end.outbox, [bytes], "the same open on both sides")
            } else {
              end.receive(bytes)
            }
          } else {
            end.receive(bytes)
          }
          frames += 1
        }
        XCTAssertNil(end.error)
      }
    }
    print("recorded protomux frames: \(frames)")
    XCTAssertEqual(frames, 8)
  }

  func testFuzzedFramesNeverCrashAndStayBounded() {
    var random = SeededRandom(seed: 106)
    let seeds: [[UInt8]] = [
      [0, 1, 1, 1, 0x78, 0], [0, 2, 1], [0, 3, 1], [1, 0, 1, 2, 3], [0, 0, 1, 3, 0, 7, 8, 0, 2, 2, 1, 9],
    ]
    var fatal = 0
    for round in 0..<4000 {
      let end = End()
      if round % 2 == 0 { _ = end.mux.open("y") }
      let channel = end.mux.open("x")
      channel?.onMessage = { _, body throws(CompactError) in
        _ = try CompactReader.decode(RelayPairMessage.self, from: body)
      }
      for _ in 0..<20 {
        var frame = seeds[Int(random.next() % UInt64(seeds.count))]
        for _ in 0..<(random.next() % 6 == 0 ? random.next() % 4 : 0) {
          let index = Int(random.next() % UInt64(frame.count))
          switch random.next() % 3 {
          case 0: frame[index] = UInt8(truncatingIfNeeded: random.next())
          case 1: frame.insert(UInt8(truncatingIfNeeded: random.next()), at: index)
          default: if frame.count > 1 { frame.remove(at: index) }
          }
        }
        end.receive(frame)
        if random.next() % 8 == 0 { _ = end.mux.open("\(random.next() % 20)") }
      }
      XCTAssertLessThanOrEqual(end.mux.channelCount, Limits.Relay.channels)
      XCTAssertLessThanOrEqual(end.outbox.count, 80)
      if end.error != nil { fatal += 1 }
    }
    print("fuzzed protomux: 4000 connections, \(fatal) ended by an error")
    XCTAssertGreaterThan(fatal, 100)
  }
}
