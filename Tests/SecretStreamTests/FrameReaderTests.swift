import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

final class FrameReaderTests: XCTestCase {
  private let anyLength = 0...Limits.Stream.maximumBody

  private func read(_ reader: FrameReader, _ bytes: [UInt8], in bounds: ClosedRange<Int>? = nil) throws -> [[UInt8]] {
    var out: [[UInt8]] = []
    try bytes.withUnsafeBytes { chunk in
      reader.begin(chunk)
      while let next = try reader.next(in: bounds ?? anyLength) { out.append(Array(next.body)) }
      _ = reader.finish()
    }
    return out
  }

  func testEveryWayToCutInThree() throws {
    let bodies: [[UInt8]] = [[1], [], [2, 3, 4, 5, 6], [UInt8](repeating: 7, count: 300), [8]]
    let bytes = bodies.flatMap { frame($0) }
    for first in stride(from: 0, through: bytes.count, by: 3) {
      for second in stride(from: first, through: bytes.count, by: 5) {
        let reader = FrameReader()
        var found = try read(reader, Array(bytes[..<first]))
        found += try read(reader, Array(bytes[first..<second]))
        found += try read(reader, Array(bytes[second...]))
        XCTAssertEqual(found, bodies, "\(first) \(second)")
        XCTAssertEqual(reader.bufferedCount, 0)
      }
    }
  }

  /// BETTER 1: an announced length reserves nothing.
  func testMemoryGrowsWithArrivedBytesOnly() throws {
    let reader = FrameReader()
    let body = [UInt8](repeating: 9, count: Limits.Stream.maximumBody)
    let bytes = frame(body)
    XCTAssertEqual(try read(reader, Array(bytes[..<3])), [])
    XCTAssertLessThanOrEqual(reader.bufferCapacity, Limits.Stream.firstBuffer)
    var offset = 3
    while offset < bytes.count {
      let next = min(offset + 50_000, bytes.count)
      let found = try read(reader, Array(bytes[offset..<next]))
      offset = next
      XCTAssertLessThanOrEqual(reader.bufferCapacity, max(2 * offset, Limits.Stream.firstBuffer))
      if offset == bytes.count { XCTAssertTrue(found == [body]) }
    }
    reader.release(keeping: Limits.Stream.keptBuffer)
    XCTAssertEqual(reader.bufferCapacity, 0)
  }

  func testBadLengthsFailWithThePrefix() {
    for (prefix, length) in [([56, 0, 0], 56), ([54, 0, 0], 54), ([55, 1, 0], 311), ([0, 0, 0], 0)] as [([UInt8], Int)]
    {
      for cut in 0...3 {
        let reader = FrameReader()
        XCTAssertEqual(try read(reader, Array(prefix[..<min(cut, 2)]), in: 55...55), [])
        XCTAssertThrowsError(try read(reader, Array(prefix[min(cut, 2)...]), in: 55...55)) {
          XCTAssertEqual(($0 as? FrameReader.BadLength)?.length, length)
        }
      }
    }
  }

  func testHeldFramesStay() throws {
    let bytes = frame([1]) + frame([2, 2, 2]) + frame([3])
    for split in 0...bytes.count {
      let reader = FrameReader()
      var found: [[UInt8]] = []
      for part in [Array(bytes[..<split]), Array(bytes[split...])] {
        try part.withUnsafeBytes { chunk in
          reader.begin(chunk)
          while let next = try reader.next(in: anyLength, heldFrom: 3) { found.append(Array(next.body)) }
          _ = reader.finish()
        }
      }
      XCTAssertEqual(found, [[1]])
      XCTAssertTrue(reader.holdsFrame)
      XCTAssertEqual(reader.bufferedCount, bytes.count - 4)
      XCTAssertEqual(try read(reader, []), [[2, 2, 2], [3]])
    }
  }

  func testAppendIsBounded() {
    let reader = FrameReader()
    let chunk = [UInt8](repeating: 0, count: 4 << 20)
    var count = 0
    while chunk.withUnsafeBytes({ reader.append($0) }), count < 100 { count += 1 }
    XCTAssertEqual(count, Limits.Stream.maximumUnread / chunk.count)
  }

  func testRandomCutsAgainstTheWholeStream() throws {
    var random = SeededRandom(seed: 42)
    for _ in 0..<200 {
      let bodies = (0..<20).map { _ in
        random.bytes(Int(random.next() % 4) == 0 ? Int(random.next() % 9_000) : Int(random.next() % 40))
      }
      let bytes = bodies.flatMap { frame($0) }
      let reader = FrameReader()
      var found: [[UInt8]] = []
      var offset = 0
      while offset < bytes.count {
        let size = min(1 + Int(random.next() % 3_000), bytes.count - offset)
        found += try read(reader, Array(bytes[offset..<offset + size]))
        offset += size
      }
      XCTAssertEqual(found, bodies)
    }
  }
}

final class ReplayWindowTests: XCTestCase {
  /// Against the obvious model: a set of everything seen.
  func testAgainstAModel() {
    var random = SeededRandom(seed: 7)
    for start in [UInt64(0), 5, .max - 100, .max, 1 << 63] {
      var window = ReplayWindow()
      var seen: Set<UInt64> = []
      var top = start
      var isFirst = true
      for _ in 0..<20_000 {
        let step = random.next() % 100
        let counter: UInt64
        if step < 60 {
          counter = top &+ 1 &+ random.next() % 3
        } else if step < 62 {
          counter = top &+ 900 &+ random.next() % 300
        } else {
          counter = top &- random.next() % 1_400
        }
        let ahead = Int64(bitPattern: counter &- top)
        let expected = isFirst || ahead > 0 || (ahead > -1_024 && !seen.contains(counter))
        XCTAssertEqual(window.accept(counter), expected)
        if expected {
          seen.insert(counter)
          if isFirst || ahead > 0 { top = counter }
          isFirst = false
        }
      }
    }
  }

  func testFarJumps() {
    var window = ReplayWindow()
    XCTAssertTrue(window.accept(0))
    XCTAssertTrue(window.accept(1 << 62))
    XCTAssertFalse(window.accept(0))
    XCTAssertFalse(window.accept(1 << 62))
    XCTAssertTrue(window.accept((1 << 62) - 1_023))
    XCTAssertFalse(window.accept((1 << 62) - 1_024))
    XCTAssertFalse(window.accept((1 << 62) &+ (1 << 63)), "neither ahead nor behind: old")
  }
}
