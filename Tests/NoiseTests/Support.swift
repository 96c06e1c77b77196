import Foundation
import HyperNoise
import HyperRuntime
import XCTest

/// The system's calls, which the tests make with descriptors.
enum System {
  struct Failure: Error {
    let call: String
    let code = errno
  }

  #if canImport(Darwin)
    private static let byteStream = SOCK_STREAM
  #else
    private static let byteStream = Int32(SOCK_STREAM.rawValue)
  #endif

  static func socketPair() throws -> (Int32, Int32) {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, byteStream, 0, &ends) == 0 else { throw Failure(call: "socketpair") }
    return (ends[0], ends[1])
  }

  static func pipe() throws -> (reading: Int32, writing: Int32) {
    var ends: [Int32] = [-1, -1]
    guard Foundation.pipe(&ends) == 0 else { throw Failure(call: "pipe") }
    return (ends[0], ends[1])
  }

  static func close(_ descriptor: Int32) { _ = Foundation.close(descriptor) }

  /// Whether there is something to read.
  static func holdsBytes(_ descriptor: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLIN) != 0
  }

  /// Writes until there is no room; the descriptor does not block.
  static func fill(_ descriptor: Int32) {
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    let block = [UInt8](repeating: 0, count: 4096)
    while write(descriptor, block, block.count) > 0 {}
  }

  static func isOpen(_ descriptor: Int32) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }

  /// A TCP socket that listens on any port of the loopback.
  static func listen() throws -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, byteStream, 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, length) == 0 && Foundation.listen(descriptor, 4) == 0
          && getsockname(descriptor, address, &length) == 0
      }
    }
    guard descriptor >= 0, result else { throw Failure(call: "listen") }
    return (descriptor, UInt16(bigEndian: address.sin_port))
  }

  /// The next connection; blocks a thread of its own.
  static func accept(_ listener: Int32) async throws -> Int32 {
    let accepted = await withCheckedContinuation { continuation in
      Thread.detachNewThread { continuation.resume(returning: Foundation.accept(listener, nil, nil)) }
    }
    guard accepted >= 0 else { throw Failure(call: "accept") }
    return accepted
  }
}

extension DispatchSemaphore {
  /// For tasks, which may not block: the caller has a thread to spare.
  func waitBlocking() { wait() }
}

/// A pair of streams in memory, the one that begins first.
func streams(
  _ first: SecretStream.Options = .init(), _ second: SecretStream.Options = .init()
) throws -> (SecretStream, SecretStream) {
  let (a, b) = MemoryTransport.pair()
  return (
    try SecretStream(isInitiator: true, over: a, first), try SecretStream(isInitiator: false, over: b, second)
  )
}

func text(_ bytes: [UInt8]?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

func eventually(
  _ what: String, file: StaticString = #filePath, line: UInt = #line, _ condition: () async -> Bool
) async throws {
  for _ in 0..<2000 {
    if await condition() { return }
    try await Task.sleep(for: .milliseconds(5))
  }
  XCTFail("never: \(what)", file: file, line: line)
}

/// What `body` throws.
func failure(_ body: () async throws(SecretStreamError) -> Void) async -> SecretStreamError? {
  do throws(SecretStreamError) {
    try await body()
    return nil
  } catch {
    return error
  }
}
