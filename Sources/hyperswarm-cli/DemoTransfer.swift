import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

/// A file to send, with its hash.
struct SourceFile: Sendable {
  let path: String
  let count: Int
  let hash: Bytes32

  /// A new file of random bytes.
  init(generating count: Int, at path: String) throws {
    let random = try File(path: "/dev/urandom", flags: O_RDONLY)
    let file = try File(path: path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
    let hasher = Blake2bHasher()
    var left = count
    while left > 0 {
      let chunk = try random.read(min(left, 1 << 20))
      guard !chunk.isEmpty else { throw Failure("/dev/urandom ended", code: "FILE") }
      chunk.withUnsafeBytes { hasher.update($0) }
      try file.write(chunk)
      left -= chunk.count
    }
    self.path = path
    self.count = count
    hash = hasher.finalize()
  }

  /// An existing file.
  init(hashing path: String) throws {
    let file = try File(path: path, flags: O_RDONLY)
    let hasher = Blake2bHasher()
    var count = 0
    while true {
      let chunk = try file.read(1 << 20)
      if chunk.isEmpty { break }
      chunk.withUnsafeBytes { hasher.update($0) }
      count += chunk.count
    }
    self.path = path
    self.count = count
    hash = hasher.finalize()
  }
}

/// The demo's protocol, for the rate of the stream alone: the size as eight bytes, the file in messages, one message
/// back from the receiver.
enum DemoTransfer {
  static let messageSize = 65_536

  struct Received: Sendable {
    var count: Int
    var hash: Bytes32
    /// From the first message to the last.
    var time: Duration
  }

  static func send(_ source: SourceFile, over connection: HyperDHT.Connection) async throws {
    let file = try File(path: source.path, flags: O_RDONLY)
    try await connection.write((0..<8).map { UInt8(truncatingIfNeeded: source.count >> (8 * $0)) })
    while true {
      let chunk = try file.read(messageSize)
      if chunk.isEmpty { break }
      try await connection.write(chunk)
    }
    guard try await connection.read() != nil else {
      throw Failure("the receiver left before it had confirmed the file", code: "UNCONFIRMED")
    }
    connection.end()
  }

  static func receive(from connection: HyperDHT.Connection, into path: String) async throws -> Received {
    guard let header = try await connection.read(), header.count == 8 else {
      throw Failure("the sender did not announce a file", code: "PROTOCOL")
    }
    let total = header.reversed().reduce(0) { $0 << 8 | Int($1) }
    let file = try File(path: path, flags: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW)
    let clock = ContinuousClock()
    let start = clock.now
    var shown = start
    // A terminal's line may change often; a log gets a line per second.
    let pause: Duration = Console.isJSON || Console.isTerminal ? .milliseconds(100) : .seconds(1)
    var count = 0
    while count < total {
      guard let chunk = try await connection.read() else {
        throw Failure("the connection ended after \(count) of \(total) bytes", code: "TRUNCATED")
      }
      try file.write(chunk)
      count += chunk.count
      let now = clock.now
      if now - shown > pause || count == total {
        shown = now
        report(count, of: total, after: now - start)
      }
    }
    let time = clock.now - start
    if !Console.isJSON { Console.endProgress() }
    // What counts is what lies on the disk.
    let stored = try SourceFile(hashing: path)
    try await connection.write([1])
    connection.end()
    return Received(count: stored.count, hash: stored.hash, time: time)
  }

  private static func report(_ count: Int, of total: Int, after time: Duration) {
    let percent = total > 0 ? 100 * count / total : 100
    let rate = time.seconds > 0 ? Double(count) / time.seconds / 1e6 : 0
    if Console.isJSON {
      Console.event(
        "progress", "", [("bytes", .integer(count)), ("total", .integer(total)), ("megabytesPerSecond", .number(rate))])
    } else {
      let bar = String(repeating: "#", count: percent / 4) + String(repeating: ".", count: 25 - percent / 4)
      Console.progress(
        "transfer  [\(bar)] \(percent) %  \(count >> 20) of \(total >> 20) MiB  \(String(format: "%.1f", rate)) MB/s")
    }
  }
}

/// A file descriptor that closes itself.
final class File {
  private let descriptor: Int32
  private let path: String

  init(path: String, flags: Int32) throws {
    descriptor = open(path, flags | O_CLOEXEC, 0o600)
    self.path = path
    guard descriptor >= 0 else {
      throw Failure("cannot open \(path): \(String(cString: strerror(errno)))", code: "FILE")
    }
  }

  /// Up to `count` bytes; empty at the end.
  func read(_ count: Int) throws -> [UInt8] {
    var failure: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      var result: Int
      repeat { result = Foundation.read(descriptor, buffer.baseAddress, count) } while result < 0 && errno == EINTR
      if result < 0 { failure = errno }
      initialized = max(result, 0)
    }
    guard failure == 0 else {
      throw Failure("cannot read \(path): \(String(cString: strerror(failure)))", code: "FILE")
    }
    return bytes
  }

  func write(_ bytes: [UInt8]) throws {
    let error = writeAll(bytes, to: descriptor)
    guard error == 0 else { throw Failure("cannot write \(path): \(String(cString: strerror(error)))", code: "FILE") }
  }

  deinit { close(descriptor) }
}
