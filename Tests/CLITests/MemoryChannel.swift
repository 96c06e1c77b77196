import Foundation
import HyperEncoding
import HyperFileTransfer
import Synchronization

@testable import hyperswarm_cli

/// One end of a connection in memory. Ends when the other has ended and everything is read, or either is destroyed.
final class MemoryChannel: TransferChannel {
  private final class Queue: Sendable {
    let stream: AsyncStream<[UInt8]>
    let continuation: AsyncStream<[UInt8]>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    func next() async -> [UInt8]? {
      for await item in stream { return item }
      return nil
    }
  }

  let peer: Bytes32
  private let key: Bytes32
  private let inbox: Queue
  private let outbox: Queue
  private let sentCount = Atomic(0)
  /// Messages that may be sent before the connection breaks.
  private let lifetime: Int

  private init(key: Bytes32, peer: Bytes32, inbox: Queue, outbox: Queue, lifetime: Int) {
    self.key = key
    self.peer = peer
    self.inbox = inbox
    self.outbox = outbox
    self.lifetime = lifetime
  }

  static func pair(senderSends lifetime: Int = .max) -> (sender: MemoryChannel, receiver: MemoryChannel) {
    let (a, b) = (Queue(), Queue())
    let keys = (Bytes32(repeating: 1), Bytes32(repeating: 2))
    return (
      MemoryChannel(key: keys.0, peer: keys.1, inbox: a, outbox: b, lifetime: lifetime),
      MemoryChannel(key: keys.1, peer: keys.0, inbox: b, outbox: a, lifetime: .max)
    )
  }

  func pairing(isReceiver: Bool) -> Pairing.Channel {
    Pairing.Channel(
      handshakeHash: Bytes64(), receiver: isReceiver ? key : peer, sender: isReceiver ? peer : key)
  }

  func send(_ message: [UInt8]) async throws {
    guard sentCount.add(1, ordering: .relaxed).newValue <= lifetime else {
      destroy()
      throw TransferError.ended
    }
    guard case .enqueued = outbox.continuation.yield(message) else { throw TransferError.ended }
  }

  func receive() async throws -> [UInt8]? { await inbox.next() }
  func end() { outbox.continuation.finish() }

  func destroy() {
    outbox.continuation.finish()
    inbox.continuation.finish()
  }
}

/// A folder of a test, removed at its end.
final class TestFolder {
  let path: String

  init() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("hyperswarm-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    path = url.path
  }

  deinit {
    // Folders without permissions are there, too.
    if let names = FileManager.default.enumerator(atPath: path) {
      for case let name as String in names { chmod(path + "/" + name, 0o700) }
    }
    try? FileManager.default.removeItem(atPath: path)
  }

  func folder(_ name: String) throws -> String {
    try FileManager.default.createDirectory(atPath: path + "/" + name, withIntermediateDirectories: true)
    return path + "/" + name
  }

  @discardableResult
  func file(_ name: String, _ bytes: [UInt8], permissions: mode_t = 0o644, time: Int = 1_000_000_000) throws -> String {
    let file = path + "/" + name
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    chmod(file, permissions)
    setTime(file, time)
    return file
  }

  func setTime(_ file: String, _ seconds: Int) {
    let time = timespec(tv_sec: seconds, tv_nsec: 123_456_789)
    utimensat(AT_FDCWD, file, [time, time], 0)
  }

  func content(_ name: String) -> [UInt8]? { FileManager.default.contents(atPath: path + "/" + name).map(Array.init) }

  /// Names of everything below a folder, sorted.
  func names(_ folder: String = ".") -> [String] {
    (FileManager.default.enumerator(atPath: path + "/" + folder)?.compactMap { $0 as? String } ?? []).sorted()
  }
}
