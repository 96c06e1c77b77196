import HyperNoise
import XCTest

/// Messages that are written into the memory from which they are sent.
final class InPlaceWritingTests: XCTestCase {
  private func append(_ count: Int, _ byte: UInt8, to span: inout OutputRawSpan) {
    for index in 0..<count { span.append(byte &+ UInt8(truncatingIfNeeded: index)) }
  }

  private func expected(_ count: Int, _ byte: UInt8) -> [UInt8] {
    (0..<count).map { byte &+ UInt8(truncatingIfNeeded: $0) }
  }

  /// Also before the handshake is done, beside messages of the other forms, and with room that is not used.
  func testMessagesOfAllSizes() async throws {
    let (a, b) = try streams()
    let sizes = [1, 0, 32, 1000, 32_747, 32_748, 32_749, 65_536, 200_000]
    for (index, size) in sizes.enumerated() {
      try await a.write(capacity: size) { append(size, UInt8(index), to: &$0) }
    }
    try await a.opened()
    for (index, size) in sizes.enumerated() {
      try await a.write(capacity: size + 100 * index) { append(size, UInt8(index), to: &$0) }
      try await a.write([UInt8(index)])
      XCTAssertNoThrow(try a.writeWithoutWaiting(capacity: size) { append(size, 7, to: &$0) })
    }
    a.end()
    for (index, size) in sizes.enumerated() {
      let message = try await b.read()
      XCTAssertEqual(message, expected(size, UInt8(index)), "early, \(size)")
    }
    for (index, size) in sizes.enumerated() {
      let first = try await b.read()
      XCTAssertEqual(first, expected(size, UInt8(index)), "\(size)")
      let second = try await b.read()
      XCTAssertEqual(second, [UInt8(index)])
      let third = try await b.read()
      XCTAssertEqual(third, expected(size, 7), "\(size)")
    }
    let nothing = try await b.read()
    XCTAssertNil(nothing)
    b.end()
    _ = try await a.waitUntilClosed()
  }

  /// Bytes that lie elsewhere are written, and read where they were decrypted.
  func testCollectionsAndSpans() async throws {
    let (a, b) = try streams()
    let sizes = [1, 0, 1000, 32_748, 200_000]
    for size in sizes {
      let bytes = expected(size, 3)
      try await a.write(([9] + bytes).dropFirst())
      try await a.write(bytes.lazy.map { $0 })
      XCTAssertNoThrow(try a.writeWithoutWaiting(bytes[...]))
      try await a.write(bytes.span.bytes)
      XCTAssertNoThrow(try a.writeWithoutWaiting(bytes.span.bytes))
    }
    a.end()
    for size in sizes {
      let bytes = expected(size, 3)
      for _ in 0..<5 {
        let isEqual = try await b.withNextSpan { span in
          span.byteCount == size && span.withUnsafeBytes { $0.elementsEqual(bytes) }
        }
        XCTAssertEqual(isEqual, true, "\(size)")
      }
    }
    let nothing = try await b.withNextSpan { $0.byteCount }
    XCTAssertNil(nothing)
    let large = SecretStream.maximumMessageSize + 1
    let refused = await failure { () async throws(SecretStreamError) in
      try await b.write(repeatElement(1, count: large))
    }
    XCTAssertEqual(refused, .messageTooLarge(large))
    b.end()
    _ = try await a.waitUntilClosed()
  }

  func testBoundsAndTheEnd() async throws {
    let (a, b) = try streams()
    let large = SecretStream.maximumMessageSize + 1
    var isCalled = false
    let refused = await failure { () async throws(SecretStreamError) in
      try await a.write(capacity: large) { _ in isCalled = true }
    }
    XCTAssertEqual(refused, .messageTooLarge(large))
    XCTAssertFalse(isCalled)
    a.destroy()
    _ = try await a.waitUntilClosed()
    let late = await failure { () async throws(SecretStreamError) in try await a.write(capacity: 1) { $0.append(1) } }
    XCTAssertEqual(late, .closed)
    XCTAssertThrowsError(try a.writeWithoutWaiting(capacity: 1) { $0.append(1) })
    b.destroy()
  }

  /// A writer waits for a reader that does not read, as with messages of other forms; nothing is lost.
  func testTheWriterIsHeldBack() async throws {
    let (a, b) = try streams()
    try await a.opened()
    let count = 200
    let writer = Task {
      for index in 0..<count {
        try await a.write(capacity: 100_000) { $0.append(repeating: UInt8(index), count: 100_000, as: UInt8.self) }
      }
      a.end()
    }
    var received = 0
    for try await message in b.inbound {
      XCTAssertEqual(message.count, 100_000)
      XCTAssertEqual(message.first, UInt8(received))
      XCTAssertEqual(message.last, UInt8(received))
      received += 1
    }
    XCTAssertEqual(received, count)
    try await writer.value
    b.end()
    _ = try await a.waitUntilClosed()
  }
}
