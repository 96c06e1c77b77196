import HyperEncoding
import HyperEnvironment
import XCTest

@testable import HyperSecretStream

/// What shows that bytes from another address are the peer's.
final class StreamSourcesTests: XCTestCase {
  /// A stream that the test feeds with what another one has written.
  private final class Scene {
    let pair = StreamPair()
    let wire: WireTransport
    let source: WireTransport

    init(confirms: Bool = false) {
      wire = WireTransport(pair.environment)
      source = WireTransport(pair.environment)
      pair.a.sendsConfirmation = confirms
      pair.a.start(transport: source, keys: pair.keysA)
      pair.b.start(transport: wire, keys: pair.keysB)
      pair.run()
    }

    /// The frame of one message.
    func frame(_ count: Int, _ byte: UInt8 = 7) -> [UInt8] {
      let before = source.writes.count
      pair.a.write([UInt8](repeating: byte, count: count))
      pair.run()
      return source.writes[before...].flatMap { $0 }
    }

    func judge(_ pieces: [UInt8]...) -> SourceVerdict {
      let copies = pieces.map { OwnedBuffer($0) }
      return withExtendedLifetime(copies) { pair.b.judge(copies.map(\.bytes)) }
    }
  }

  func testTheHeaderProves() {
    let scene = Scene()
    let header = scene.source.written
    XCTAssertEqual(header.count, 59)
    XCTAssertEqual(scene.judge(header), .proven)
    XCTAssertEqual(scene.judge(Array(header[..<10]), Array(header[10...])), .proven)
    XCTAssertEqual(scene.judge(Array(header[..<2])), .needs(3))
    XCTAssertEqual(scene.judge(Array(header[..<58])), .needs(59))
    for index in 0..<35 {
      var wrong = header
      wrong[index] ^= 1
      XCTAssertNotEqual(scene.judge(wrong), .proven, "byte \(index)")
    }
    XCTAssertEqual(scene.judge([UInt8](repeating: 0, count: 100)), .forged)
    scene.wire.feed(Array(header[..<20]))
    XCTAssertEqual(scene.judge(Array(header[20...])), .proven, "the rest of what is kept")
    XCTAssertEqual(scene.judge(Array(header[20..<58])), .needs(39))
    scene.wire.feed(Array(header[20...]))
    XCTAssertNotEqual(scene.judge(header), .proven, "once")
  }

  /// Any byte of a frame, and only the frame that is next; looking does not take it.
  func testTheNextFrameProves() {
    let scene = Scene()
    scene.wire.feed(scene.source.written)
    let first = scene.frame(100)
    let second = scene.frame(3_000, 9)
    XCTAssertEqual(scene.judge(first), .proven)
    XCTAssertEqual(scene.judge(first), .proven, "nothing was taken")
    XCTAssertEqual(scene.judge(first + second), .proven)
    XCTAssertEqual(scene.judge(second), .forged, "not the next")
    for index in 3..<first.count {
      var wrong = first
      wrong[index] ^= 0x80
      XCTAssertEqual(scene.judge(wrong), .forged, "byte \(index)")
    }
    XCTAssertEqual(scene.pair.recordB.messages.count, 0)
    scene.wire.feed(first)
    XCTAssertEqual(scene.judge(first), .forged, "a replay")
    scene.wire.feed(Array(second[..<1_000]))
    XCTAssertEqual(scene.judge(Array(second[1_000..<2_000])), .needs(second.count - 1_000))
    XCTAssertEqual(scene.judge(Array(second[1_000..<2_000]), Array(second[2_000...])), .proven)
    XCTAssertEqual(scene.judge(Array(second[1_001...]) + [0]), .forged)
    scene.wire.feed(Array(second[1_000...]))
    XCTAssertEqual(scene.pair.recordB.messages.map(\.count), [100, 3_000])
    XCTAssertEqual(scene.judge([16, 0, 0]), .forged, "too short for any frame")
    XCTAssertEqual(scene.pair.recordB.closeCount, 0)
  }

  /// Frames that wait for a reader come first, and a frame that is too large to be held proves nothing.
  func testWhatCannotBeTold() {
    let scene = Scene()
    XCTAssertEqual(Scene().judge(), .needs(3))
    scene.wire.feed(scene.source.written)
    scene.wire.feed(scene.frame(10))
    scene.pair.b.pause()
    let kept = scene.frame(10)
    let next = scene.frame(10)
    scene.wire.feed(kept)
    XCTAssertEqual(scene.judge(next), .undecided)
    scene.pair.b.resume()
    scene.pair.run()
    XCTAssertEqual(scene.judge(next), .proven)
    let large = scene.frame(65_536)
    XCTAssertEqual(scene.judge(large), .forged, "not the next")
    scene.wire.feed(next)
    XCTAssertEqual(scene.judge(large), .proven)
    scene.wire.feed(large)
    XCTAssertEqual(scene.judge(scene.frame(65_537)), .undecided)
    scene.pair.b.destroy()
    XCTAssertEqual(scene.judge(next), .undecided)
  }

  /// The sender's key changes with a frame; the next one proves all the same.
  func testAfterTheFinalTag() {
    let scene = Scene()
    scene.wire.feed(scene.source.written)
    scene.pair.a.sendsFinal = true
    let before = scene.source.writes.count
    scene.pair.a.end()
    scene.pair.run()
    let final = scene.source.writes[before...].flatMap { $0 }
    XCTAssertEqual(scene.judge(final), .proven)
    scene.wire.feed(final)
    XCTAssertTrue(scene.pair.b.receivedFinal)
    XCTAssertEqual(scene.judge(final), .forged)
  }

  /// One message of each side shows where it is.
  func testPathProofs() {
    let scene = Scene()
    let (a, b) = (scene.pair.keysA, scene.pair.keysB)
    XCTAssertEqual(a.pathProof, b.remotePathProof)
    XCTAssertEqual(b.pathProof, a.remotePathProof)
    XCTAssertNotEqual(a.pathProof, b.pathProof)
    XCTAssertNotEqual(a.pathProof, a.migrationSendKey)
    func isProof(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { scene.pair.b.isPathProof($0) } }
    XCTAssertTrue(isProof(a.pathProof.bytes))
    XCTAssertFalse(isProof(b.pathProof.bytes), "its own")
    XCTAssertFalse(isProof(a.pathProof.bytes + [0]))
    XCTAssertFalse(isProof(Array(a.pathProof.bytes.dropLast())))
    XCTAssertFalse(isProof(a.pathProof.bytes.map { $0 ^ 1 }))
    XCTAssertFalse(isProof([]))
    scene.pair.b.destroy()
    XCTAssertFalse(isProof(a.pathProof.bytes))
  }
}
