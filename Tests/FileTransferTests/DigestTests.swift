import HyperCrypto
import HyperEncoding
import XCTest

@testable import HyperFileTransfer

/// The digest does not depend on how the content comes: several leaves at once, or one after the other.
final class DigestTests: XCTestCase {
  /// As the document says it, with nothing shared.
  private func expected(_ content: [UInt8]) -> Bytes32 {
    var leaves: [UInt8] = []
    for start in stride(from: 0, to: content.count, by: Limits.leaf) {
      leaves += Blake2b.hash32(Array(content[start..<min(start + Limits.leaf, content.count)])).bytes
    }
    var writer = CompactWriter()
    writer.uint64(UInt64(content.count))
    return Blake2b.hash32(leaves, writer.bytes)
  }

  /// Repeats after a prime number of bytes: no two leaves are alike.
  private func content(_ count: Int) -> [UInt8] {
    var state: UInt64 = 88_172_645_463_325_252
    let period = (0..<4_093).map { _ -> UInt8 in
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return UInt8(truncatingIfNeeded: state)
    }
    var content: [UInt8] = []
    content.reserveCapacity(count + period.count)
    while content.count < count { content += period }
    content.removeLast(content.count - count)
    return content
  }

  private func digest(_ content: [UInt8], first: Int = 0, piece: Int = Limits.data) -> Bytes32 {
    let digest = FileDigest(usesLanes: FileDigest.hasLanes)
    content[..<first].withUnsafeBytes { digest.update($0) }
    var position = first
    while position < content.count {
      let end = min(position + piece, content.count)
      digest.update(content[position..<end])
      position = end
    }
    XCTAssertEqual(digest.count, UInt64(content.count))
    return digest.finalize()
  }

  func testDigest_isTheSameHoweverTheContentComes() {
    let all = content(2 * FileDigest.batch + Limits.leaf + 5)
    for count in [0, 1, Limits.data, Limits.leaf, FileDigest.batch - 1, FileDigest.batch, all.count] {
      let part = Array(all[..<count])
      XCTAssertEqual(digest(part), expected(part), "\(count) bytes")
      let plain = FileDigest(usesLanes: false)
      plain.update(part[...])
      XCTAssertEqual(plain.finalize(), expected(part), "\(count) bytes")
    }
    // From a place that is no multiple of a leaf, or of a message.
    XCTAssertEqual(digest(all, first: Limits.data), expected(all))
    XCTAssertEqual(digest(all, first: Limits.leaf), expected(all))
    XCTAssertEqual(digest(all, first: 7), expected(all))
    XCTAssertEqual(digest(all, piece: 100_000), expected(all))
  }

  func testDigest_holesBetweenMessages() {
    let data = content(FileDigest.batch)
    let zeros = 2 * Limits.leaf + 3
    let digest = FileDigest(usesLanes: FileDigest.hasLanes)
    for start in stride(from: 0, to: data.count, by: Limits.data) {
      digest.update(data[start..<start + Limits.data])
      if start == 5 * Limits.data { digest.update(zeros: UInt64(zeros)) }
    }
    let split = 6 * Limits.data
    let all = data[..<split] + [UInt8](repeating: 0, count: zeros) + data[split...]
    XCTAssertEqual(digest.finalize(), expected(Array(all)))
  }
}
