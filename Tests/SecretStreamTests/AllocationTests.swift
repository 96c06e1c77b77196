import CHyperAllocations
import HyperEnvironment
import XCTest

@testable import HyperSecretStream

/// How much memory from the heap a message takes, in the debug build.
final class AllocationTests: XCTestCase {
  /// Takes everything, acknowledges at once, keeps nothing.
  private final class DropTransport: ByteTransport {
    var onData: ((UnsafeRawBufferPointer) -> Void)?
    var onEnd: (() -> Void)?
    var onDrain: (() -> Void)?
    var onClose: ((TransportStreamError?) -> Void)?
    private(set) var isClosed = false

    func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
      onAcknowledged?(true)
      return true
    }
    func end() {}
    func destroy() { isClosed = true }
    func pauseReading() {}
    func resumeReading() {}
  }

  /// Allocations per call of `body`.
  private func allocations(of count: Int, _ body: () -> Void) throws -> Double {
    body()
    let before = hyper_allocations()
    try XCTSkipIf(before < 0, "not counted here")
    for _ in 0..<count { body() }
    return Double(hyper_allocations() - before) / Double(count)
  }

  /// 64 messages a turn share buffers; libcrypto's contexts are there after the first.
  func testSending() throws {
    for (size, limit) in [(64, 0.3), (1_024, 0.3), (65_536, 6.5)] {
      let pair = StreamPair()
      let transport = DropTransport()
      pair.a.start(transport: transport, keys: pair.keysA)
      pair.run()
      let message = [UInt8](repeating: 7, count: size)
      let perTurn = try allocations(of: 20) {
        for _ in 0..<64 { pair.a.write(message) }
        pair.run()
      }
      XCTAssertLessThanOrEqual(perTurn / 64, limit, "\(size) bytes")
    }
  }

  /// One that the reader keeps takes its own memory, whatever its size. The rest is the debug build's: an optimised one
  /// takes nothing for a message that is lent.
  func testReceiving() throws {
    for size in [64, 1_024, 65_536] {
      for (isOwned, limit) in [(false, 7.0), (true, 9.0)] {
        let pair = StreamPair(reads: false)
        let source = WireTransport(pair.environment)
        let wire = WireTransport(pair.environment)
        pair.a.start(transport: source, keys: pair.keysA)
        pair.run()
        pair.b.start(transport: wire, keys: pair.keysB)
        wire.feed(source.written)
        var received = 0
        if isOwned {
          pair.b.onOwnedMessage = { received += $0.count }
        } else {
          pair.b.onMessage = { received += $0.count }
        }
        pair.run()
        let before = source.written.count
        for _ in 0..<41 { pair.a.write([UInt8](repeating: 7, count: size)) }
        pair.run()
        let frames = Array(source.written[before...])
        var offset = 0
        let step = size + Limits.Stream.frameOverhead
        let perMessage = try frames.withUnsafeBytes { all in
          try allocations(of: 40) {
            wire.onData?(UnsafeRawBufferPointer(rebasing: all[offset..<offset + step]))
            offset += step
          }
        }
        XCTAssertEqual(received, 41 * size)
        XCTAssertLessThanOrEqual(perMessage, limit, "\(size) bytes, owned \(isOwned)")
      }
    }
  }
}
