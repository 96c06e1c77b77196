import Foundation
import HyperEncoding
import HyperEnvironment
import HyperRuntime
import XCTest

@testable import HyperUDX

/// Two nodes on one loop that the test runs on its own thread, with a socket each on 127.0.0.1.
final class Pair {
  let loop: UVEventLoop
  let a: UVEnvironment
  let b: UVEnvironment
  let socketA: UDXSocket
  let socketB: UDXSocket
  private var nextID: UInt32 = 1
  private(set) var isFinished = false

  init() throws {
    loop = try UVEventLoop()
    a = try UVEnvironment(loop: loop)
    b = try UVEnvironment(loop: loop)
    socketA = UDXSocket(environment: a.instance)
    socketB = UDXSocket(environment: b.instance)
    try socketA.bind(host: .loopback, port: 0)
    try socketB.bind(host: .loopback, port: 0)
  }

  func endpoint(_ socket: UDXSocket) -> Endpoint { socket.localEndpoint ?? Endpoint(host: .any, port: 0) }

  /// Two connected streams.
  func streams() throws -> (UDXStream, UDXStream) {
    let streamA = UDXStream(environment: a.instance, localID: nextID)
    let streamB = UDXStream(environment: b.instance, localID: nextID + 1)
    try streamA.connect(socket: socketA, remoteID: nextID + 1, to: endpoint(socketB))
    try streamB.connect(socket: socketB, remoteID: nextID, to: endpoint(socketA))
    nextID += 2
    return (streamA, streamB)
  }

  func finish() {
    guard !isFinished else { return }
    isFinished = true
    loop.beginShutdown(nil)
  }

  /// Runs the loop until `finish`, or for at most `seconds`, which is a failure.
  func run(seconds: UInt64 = 60, file: StaticString = #filePath, line: UInt = #line) {
    let guardTimer = loop.schedule(after: seconds * 1000) {
      XCTFail("not finished in time", file: file, line: line)
      self.finish()
    }
    loop.run()
    guardTimer.cancel()
  }
}

/// Reproducible bytes that never repeat within a few MiB.
struct ByteSource {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next(_ count: Int) -> OwnedBuffer {
    let buffer = OwnedBuffer(capacity: count)
    var offset = 0
    while offset < count {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      withUnsafeBytes(of: state) { word in
        (buffer.base + offset).copyMemory(from: word.baseAddress!, byteCount: min(8, count - offset))
      }
      offset += 8
    }
    buffer.count = count
    return buffer
  }

  mutating func nextArray(_ count: Int) -> [UInt8] {
    let buffer = next(count)
    // The buffer must outlive the copy.
    return withExtendedLifetime(buffer) { Array(buffer.bytes) }
  }
}

/// FNV-1a over 8-byte words with a carry for odd pieces: order- and content-sensitive, cheap in debug builds.
struct StreamDigest: Equatable {
  private(set) var count = 0
  private var hash: UInt64 = 0xcbf2_9ce4_8422_2325
  private var carry: [UInt8] = []

  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    count += bytes.count
    var offset = 0
    while !carry.isEmpty, carry.count < 8, offset < bytes.count {
      carry.append(bytes[offset])
      offset += 1
    }
    if carry.count == 8 {
      carry.withUnsafeBytes { mix($0.load(as: UInt64.self)) }
      carry.removeAll(keepingCapacity: true)
    }
    while offset + 8 <= bytes.count {
      mix(bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      offset += 8
    }
    while offset < bytes.count {
      carry.append(bytes[offset])
      offset += 1
    }
  }

  private mutating func mix(_ word: UInt64) { hash = (hash ^ word) &* 0x0000_0100_0000_01b3 }
}

/// Writes `total` bytes in pieces of `chunk`, as far as the stream lets it.
final class BulkWriter {
  let stream: any TransportStream
  let chunk: Int
  var remaining: Int
  var source: ByteSource
  var digest = StreamDigest()
  var acknowledged = 0
  var refused = 0
  var onDone: (() -> Void)?

  init(_ stream: any TransportStream, total: Int, chunk: Int, seed: UInt64) {
    self.stream = stream
    self.chunk = chunk
    remaining = total
    source = ByteSource(seed: seed)
    stream.onDrain = { [weak self] in self?.pump() }
  }

  func pump() {
    while remaining > 0 {
      let count = min(chunk, remaining)
      remaining -= count
      let buffer = source.next(count)
      digest.update(buffer.bytes)
      let more = stream.write(buffer) { [self] ok in
        if ok { acknowledged += count } else { refused += count }
      }
      if remaining == 0 {
        stream.end()
        onDone?()
      }
      if !more { return }
    }
  }
}

func openDescriptors() -> Int {
  (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
}
